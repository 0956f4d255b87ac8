/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A guest's memory for walks through its tables: a real space with a page of stage 2 for each page,
 * and beside it the same bytes as an array for the reference. Every translation is made by both,
 * and what they answer and what they leave in memory is compared.
 *
 *      pages 0 .. 15 may be written, 16 .. 19 only read, 20 and up are not there
 */
#ifndef TESTS_HOST_GVA_WORLD_H
#define TESTS_HOST_GVA_WORLD_H

#include "vmio/gva.h"

#define GVA_WORLD_WRITABLE 16
#define GVA_WORLD_PAGES	   20

/* One at a time. The arena is set up before, and epoch_drain and arena_fini are called after. */
extern struct vm_space gva_world;
void gva_world_init(void);
void gva_world_fini(void);

/* All bytes become 0. */
void gva_world_clear(void);

/* Bytes of a word in the space's memory and in the array. The address is aligned. */
void gva_world_put(uint64_t at, unsigned size, uint64_t value);
uint64_t gva_world_get(uint64_t at, unsigned size);

/* The word in the space's memory, for those who change it behind the array's back. */
void *gva_world_word(uint64_t at);

/*
 * Somebody else changes the tables while they are walked: before access `first` of a walk (from 1),
 * and then each `period` accesses (0: once), the `bits` of the word of 8 bytes at `at` are flipped.
 * Holds until the end of the next gva_world_agrees. `n` of them; they stay the caller's.
 */
struct gva_change {
	unsigned first, period;
	uint64_t at, bits;
};
void gva_world_change(const struct gva_change *changes, unsigned n);

/* Translates by both: true when they agree on everything. Else what differs is printed. */
bool gva_world_agrees(const struct gva_mode *mode, uint64_t va, struct gva_access access,
		      struct gva_result *out);

bool gva_world_same(const struct gva_result *a, const struct gva_result *b);

#endif
