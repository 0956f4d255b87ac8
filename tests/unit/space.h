/* SPDX-License-Identifier: MPL-2.0 */
/* A VmSpace to try things on, over each format in turn; what the tests of its operations share. */
#ifndef TESTS_UNIT_SPACE_H
#define TESTS_UNIT_SPACE_H

#include <CUnit/CUnit.h>

#include "mm/frame_alloc.h"
#include "mm/vm_space.h"

#define WB_RW (PT_RW | PT_MEM_WB)

extern struct vm_space space;
extern const struct pt_ops *ops; /* its format */

/* Runs `test` with an empty space of each format; afterwards the space must be sound, and
 * destroying it give everything back. */
void on_each(void (*test)(void));

/* Bytes of a kind in use. */
uint64_t in_use(enum frame_kind kind);

void open_at(struct vm_cursor *c, uint64_t start, uint64_t len, enum vm_access access);
struct frame *guest_block(unsigned order);
/* Maps a fresh block at `at`; its host address. */
hpa_t map_fresh(uint64_t at, unsigned order, pt_attr_t attr);
uint64_t unmap_now(uint64_t at, uint64_t len);
/* What is mapped at `at`, found without a lock. */
bool look(uint64_t at, struct pt_leaf *leaf);

#endif
