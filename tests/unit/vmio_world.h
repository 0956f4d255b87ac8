/* SPDX-License-Identifier: MPL-2.0 */
/* A guest for tests of vmio: RAM that is brought in page by page, the last page read-only. */
#ifndef TESTS_UNIT_VMIO_WORLD_H
#define TESTS_UNIT_VMIO_WORLD_H

#include "vmio/vmio.h"

#define VMIO_RAM (UINT64_C(64) * PAGE_SIZE)

extern struct vm_space vmio_space;
extern unsigned vmio_faults; /* pages brought in */
extern bool vmio_out_of_memory;
extern const struct vm_use vmio_use;

void vmio_begin(void);
void vmio_end(void);

/* A reader or writer over the guest, active. */
struct vm_reader vmio_reader(uint64_t at, uint64_t len);
struct vm_writer vmio_writer(uint64_t at, uint64_t len);

/* Disposed of and removed. */
void vmio_gone(struct vm_io *io);

int vmio_put(uint64_t at, const void *bytes, size_t len);
int vmio_get(uint64_t at, void *bytes, size_t len);

void vmio_unmap(uint64_t at, uint64_t len);
void vmio_protect(uint64_t at, uint64_t len, pt_attr_t rights);
/* Maps a new zeroed block in the place of what is there, and says where it is in our memory. */
void *vmio_map(uint64_t at, unsigned order, pt_attr_t rights);
/* The marks and rights of the page; 0 when there is none. */
pt_attr_t vmio_attr(uint64_t at);

#endif
