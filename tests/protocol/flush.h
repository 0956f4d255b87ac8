/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The flush ledger as a model: mm/tlb.h, and what vm_cursor_close does with it.
 *
 *      changers                     table, 2 entries          CPUs, each with a TLB of one entry
 *      lock the page                [frame, writable]         kicked := 0
 *      change its entry                  ▲                    tlb_enter: inside, generation (odd:
 *      tlb_bump: odd, if it is even      │                      one more), seen
 *      tlb_kick_stale: who is inside     │ loads an entry,    flush if it has to
 *        with an older generation        │ and later fills    enter, unless it was kicked
 *      tlb_wait for them                 └─────────────────── in the guest
 *      frame to the allocator                                 leaves when kicked, or as it likes
 *      unlock                                                 tlb_leave
 *
 * One step is one access to the shared words, one look of a CPU's walker at the table, one filling
 * of its TLB. What a TLB holds counts while its CPU is in the guest.
 *
 * Left out: more than two CPUs, pages and changers; tables that go to the allocator (the frame
 * stands for them: both are released after the same tlb_wait); orders of memory.
 */
#ifndef TESTS_PROTOCOL_FLUSH_H
#define TESTS_PROTOCOL_FLUSH_H

#include "tests/protocol/explore.h"

#define CPUS	   2
#define CHANGERS   2
#define PAGES	   2
#define FRAMES	   3
#define ERRANDS	   2
#define CPU_ACTORS 4 /* itself, its walker for each page, its wish to leave */

enum errand {
	ERRAND_NONE,
	TAKE_0, /* unmap page 0 */
	TAKE_1,
	PROTECT_0, /* take its right to write */
	PROTECT_1,
	REPLACE_0, /* map a new frame there, writable */
	REPLACE_1,
	ERRANDS_ALL,
};

enum flush_mutation {
	FLUSH_SOUND,
	GENERATION_FIRST,
	NO_WAIT,
	BUMP_FIRST,
	PUT_BEFORE_SYNC,
	NO_KICK,
	KICK_CLEARED_LATE,
	NO_FLUSH,
	LEAVE_EARLY,
	UNLOCK_BEFORE_FLUSH,
	ODD_KEPT,
	INSIDE_FIRST,
	NEVER_BUMPED,
};

struct flush_setup {
	unsigned cpus, pages; /* pages that the guest touches */
	uint8_t errands[CHANGERS][ERRANDS];
	bool restless; /* CPUs leave the guest without being kicked as well */
	enum flush_mutation mutation;
};

struct translation {
	uint8_t frame : 3, page : 1, write : 1; /* frame + 1; 0: none */
};

struct cpu {
	uint8_t pc : 4, kicked : 1;
	uint8_t seen : 4, generation : 4;
	struct translation tlb, walk; /* walk: loaded, not yet filled */
};

struct changer {
	uint8_t pc : 4, errand : 2, cpu : 2;
	uint8_t generation : 4, inside : 2;
	uint8_t frame : 3; /* + 1; 0: none. Taken out, or fresh */
};

struct flush {
	struct cpu cpu[CPUS];
	struct changer changer[CHANGERS];
	struct translation entry[PAGES]; /* the table; `page` is not used */
	uint8_t locked[PAGES];		 /* changer + 1 */
	uint8_t use[FRAMES];		 /* page + 1 for which it is used, 0: the allocator's */
	uint8_t generation : 4, inside : 2;
	uint8_t revoked : 2; /* bit per page: protected and flushed. The protocol does not know */
} __attribute__((aligned(8)));

_Static_assert(sizeof(struct flush) <= EXPLORE_STATE, "a state fits");

extern struct flush_setup flush_setup;

/* The model of what flush_setup says. */
extern const struct model flush_model;

/* A step of a CPU: 0 itself, 1 + p its walker at page p, 1 + PAGES it wishes to leave. */
bool cpu_step(struct flush *f, unsigned cpu, unsigned part);

/* Makes it leave the guest, or not enter it. */
void cpu_kick(struct flush *f, unsigned cpu);

/* Can translations of this CPU's TLB be used now? */
bool cpu_in_guest(const struct flush *f, unsigned cpu);

static inline bool flush_mutated(enum flush_mutation m)
{
	return flush_setup.mutation == m;
}

#endif
