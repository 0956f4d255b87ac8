/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Grace periods. Code that follows pointers without a lock does so inside an epoch section; what a
 * writer has unlinked is freed only when every section that was open at that time has ended.
 *
 *      CPU 0 (walks)                     CPU 1 (unmaps)
 *      epoch_enter                                                       global epoch  local 0
 *      load entry -> node N                                                   7           7
 *                                        clear entry; epoch_defer(N)          7           7
 *                                        epoch_poll: CPU 0 is at 7 -> 8       8           7
 *      lock N, see it is stray, retry    epoch_poll: CPU 0 is at 7, waits     8           7
 *      epoch_exit                                                             8           -
 *                                        epoch_poll -> 9, -> 10: N is freed  10           -
 *
 * No timer is needed: a CPU outside a section (idle, or inside a guest) never holds anybody up, and
 * the epoch is advanced by those who defer. Items are links inside the objects themselves; every 64
 * that a CPU defers push the epoch on, and what has ripened is freed with the next one. What is
 * deferred within one section waits for its end.
 */
#ifndef BASE_EPOCH_H
#define BASE_EPOCH_H

#include <arch/this_cpu.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/contract.h"

/* Lives inside the deferred object. `free` runs once, on the CPU that deferred it: in epoch_poll,
 * epoch_drain, or a later epoch_defer, whose caller may hold locks of page-table nodes. It may
 * defer again. */
struct epoch_item {
	struct epoch_item *next;
	void (*free)(struct epoch_item *item);
};

/* What each CPU says of itself; the rest of its state is in base/epoch.c. */
struct epoch_cpu {
	_Atomic uint64_t local; /* 0: outside; else epoch << 1 | 1, as seen when it entered */
	unsigned depth;		/* sections nest; its own CPU's only */
} __attribute__((aligned(64)));

extern _Atomic uint64_t epoch_global;
extern struct epoch_cpu epoch_cpus[MAX_CPUS];

/* Opens a section on this CPU; sections nest. A full barrier when the outermost opens. */
static inline void epoch_enter(void)
{
	struct epoch_cpu *c = &epoch_cpus[cpu_id()];

	if (c->depth++ != 0)
		return;
	/* Exchange, not store: the announcement is visible before anything is read in the section.
	 */
	atomic_exchange_explicit(&c->local,
				 atomic_load_explicit(&epoch_global, memory_order_relaxed) << 1 | 1,
				 memory_order_seq_cst);
}

static inline void epoch_exit(void)
{
	struct epoch_cpu *c = &epoch_cpus[cpu_id()];

	REQUIRES(c->depth != 0);
	if (--c->depth == 0)
		atomic_store_explicit(&c->local, 0, memory_order_release);
}

/* Is this CPU inside a section? */
static inline bool epoch_inside(void)
{
	return epoch_cpus[cpu_id()].depth != 0;
}

/* Takes an unlinked object; it is freed after a grace period. Allowed inside a section. */
void epoch_defer(struct epoch_item *item, void (*free)(struct epoch_item *item));

/* Advances the epoch if every open section has seen it, and frees what this CPU deferred and what
 * has ripened. Never waits. Returns how many items it freed. */
unsigned epoch_poll(void);

/* Frees everything that this CPU has deferred, waiting for the sections of other CPUs.
 * Precondition: this CPU is outside any section and holds no lock. */
void epoch_drain(void);

/* Returns when every section that is open now has ended, with all that it did. Sections that begin
 * meanwhile do not hold it up. Precondition: as epoch_drain. */
void epoch_wait(void);

/* Items that this CPU has deferred and not yet freed. */
uint64_t epoch_pending(void);

#endif
