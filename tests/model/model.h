/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Random operations on a VmSpace, against two models.
 *
 *   pages   what each page of a window should translate to, marks included
 *   CPUs    two, whose TLB and paging-structure cache never forget by themselves. They enter the
 *           space, walk the real tables with a decoder that shares nothing with the engine
 *           (tests/host/mmu.h), stay inside until they are kicked, go on using what they hold while
 *           a change is under way, and flush only when tlb_enter says so.
 *
 * Real CPUs and emulators flush more than they must, so only this can show a flush that is missing.
 */
#ifndef TESTS_MODEL_MODEL_H
#define TESTS_MODEL_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "mm/pt_ops.h"
#include "mm/vm_space.h"
#include "tests/host/mmu.h"

/* The window, from `base` of the format on: crosses one gigabyte border below, one above, and has
 * two whole gigabytes. */
#define WINDOW_FIRST (SIZE_1G - 4 * SIZE_2M)
#define WINDOW_END   (3 * SIZE_1G + 4 * SIZE_2M)
#define PAGES	     ((WINDOW_END - WINDOW_FIRST) / PAGE_SIZE)

struct page {
	uint64_t hpa;
	pt_attr_t attr; /* PT_ACCESSED and PT_DIRTY included */
	bool mapped;
};

struct world {
	struct vm_space space;
	const struct pt_ops *ops;
	enum mmu_format format;
	struct mmu mmu;
	uint64_t base; /* address of page 0 */
	uint64_t rng, step, failures, collapses;
	bool looks_only; /* no marks are set in the middle of the operation that runs now */
};

extern struct world world;
extern struct page pages[PAGES];

/* Tells what is wrong, with format, seed and step. */
__attribute__((format(printf, 1, 2))) void fail(const char *fmt, ...);

uint64_t below(uint64_t n);

/* The page at an address, as if the format's base were 0. */
static inline uint64_t window_page(uint64_t raw)
{
	return (raw - WINDOW_FIRST) / PAGE_SIZE;
}

static inline gpa_t page_gpa(uint64_t page)
{
	return gpa(world.base + page * PAGE_SIZE);
}

static inline uint64_t gpa_page(uint64_t raw)
{
	return (raw - world.base) / PAGE_SIZE;
}

/* --- pages.c -------------------------------------------------------------------------------- */

void pages_reset(void);
/* [first, first + count) is mapped to consecutive memory, or to nothing. */
void pages_map(uint64_t first, uint64_t count, uint64_t hpa, pt_attr_t attr);
void pages_unmap(uint64_t first, uint64_t count);
uint64_t pages_mapped(uint64_t first, uint64_t count);
/* Does the engine, by its cursor and by what a CPU sees, agree on [first, first + count)? */
void pages_check(uint64_t first, uint64_t count);
/* Is `t`, of a walk or a TLB, what the tables should give for `page`, or less? */
bool pages_allow(uint64_t page, const struct mmu_page *t);
/* A CPU has set marks in the leaf that covers `leaf`. */
void pages_mark(const struct mmu_page *leaf, pt_attr_t marks);

/* --- cpus.c --------------------------------------------------------------------------------- */

void cpus_reset(void);
/* Goes in, uses some pages near `page`, leaves; at random. */
void cpus_run(uint64_t page);
/* All outside. */
void cpus_leave(void);
/* Around an operation on [first, first + count): the CPUs inside go on meanwhile. */
void cpus_begin(uint64_t first, uint64_t count);
/* The model has been brought up to date: was all that they saw meanwhile either old or new? */
void cpus_saw_old_or_new(void);
/* The operation is over, flushed: nobody inside may hold more than the tables give. */
void cpus_end(void);
/* How often the CPUs did what this is about. */
struct cpus_counts {
	uint64_t hits, walks, faults, kicks, meanwhile, entries;
};
extern struct cpus_counts cpus_counts;

#endif
