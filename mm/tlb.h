/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Stale translations. Each table has a domain: a generation number, and for each CPU the generation
 * up to which that CPU's TLB is known to hold nothing stale.
 *
 *      CPU 0 (changes the table)              CPU 1 (runs the guest)
 *      entry := absent                        in guest, `inside` set, seen = 6
 *      tlb_bump: generation 6 -> 7
 *      CPU 1 is inside and has seen 6: kick   exit; tlb_leave: inside cleared
 *      tlb_wait: CPU 1 no longer inside       ...
 *      frame may go to the allocator          tlb_enter: 7 is odd -> 8; 8 != 6 -> flush, seen = 8
 *
 * Odd: something has changed, and nobody has entered, or watched, since. Those who change more
 * leave the number as it is, so that CPUs which change a table that nobody is running on share
 * nothing that is written. A CPU that has seen 2n has flushed after every change that found 2n - 1
 * or less.
 *
 *      CPU 0 changes, finds 7, leaves it      CPU 1 enters
 *      entry := absent
 *      full barrier                           inside set; 7 -> 8; flush, seen = 8
 *      generation is 7: not yet 8, so CPU 1
 *      flushes after the entry was absent
 *
 * A CPU that is not inside is never interrupted: it flushes before it enters again. The kick must
 * make a CPU leave the guest, or never enter it, for every CPU that has set `inside` (hv/ closes
 * the window between the check and the entry).
 */
#ifndef MM_TLB_H
#define MM_TLB_H

#include <arch/this_cpu.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

struct tlb_domain {
	_Atomic uint64_t generation;	 /* starts even; odd: no CPU has entered since a change */
	_Atomic uint64_t inside;	 /* CPUs that may be using translations right now */
	_Atomic uint64_t seen[MAX_CPUS]; /* generation up to which a CPU has flushed */
	_Atomic uint64_t flushes, kicks; /* for the `tlb` command */
	/* Nestling's own space has ways of its own (mm/kspace_tlb.h); NULL for a guest's. */
	uint64_t (*stamp)(hva_t start, uint64_t pages);
	void (*sync)(uint64_t generation);
};

/* Starts at 2, or after every generation of the domains that have ended: who remembers one of
 * another table that was at the same address never takes it for one of this. */
void tlb_domain_init(struct tlb_domain *d);

/* Makes stale what was cached, for good: nobody enters any more. */
void tlb_domain_end(struct tlb_domain *d);

/*
 * This CPU is about to use translations of `d`. Returns true when it must throw away all of its
 * translations of `d` first (and counts on it). Call tlb_leave when it has stopped.
 * Precondition: a kick that arrives from now on is not lost until the guest is entered.
 */
static inline bool tlb_enter(struct tlb_domain *d)
{
	unsigned cpu = cpu_id();
	uint64_t generation;

	/*
	 * "Inside" must be visible before the generation is read: whoever bumps it afterwards sees
	 * us and kicks; whoever bumped it before is seen by us. A locked instruction orders the
	 * two.
	 */
	atomic_fetch_or(&d->inside, UINT64_C(1) << cpu);
	generation = atomic_load(&d->generation);
	while ((generation & 1) != 0)
		if (atomic_compare_exchange_weak(&d->generation, &generation, generation + 1))
			generation++;
	if (atomic_load_explicit(&d->seen[cpu], memory_order_relaxed) == generation)
		return false;
	atomic_store_explicit(&d->seen[cpu], generation, memory_order_release);
	atomic_fetch_add_explicit(&d->flushes, 1, memory_order_relaxed);
	return true;
}

/*
 * The generation for software that remembers a translation: while it stays, none has been taken
 * away since. Like a CPU that enters, whoever watches makes an odd generation even first, as an odd
 * one would not change with the next flush.
 */
static inline uint64_t tlb_watch(struct tlb_domain *d)
{
	uint64_t generation = atomic_load_explicit(&d->generation, memory_order_acquire);

	while (__builtin_expect((generation & 1) != 0, 0))
		if (atomic_compare_exchange_weak(&d->generation, &generation, generation + 1))
			generation++;
	return generation;
}

static inline void tlb_leave(struct tlb_domain *d)
{
	atomic_fetch_and_explicit(&d->inside, ~(UINT64_C(1) << cpu_id()), memory_order_release);
}

/*
 * Makes everything that was cached until now stale, that is before this CPU's last stores. Returns
 * the generation (odd) that CPUs must have passed.
 */
static inline uint64_t tlb_bump(struct tlb_domain *d)
{
	uint64_t generation;

	cpu_barrier(); /* the stores to the table come first */
	generation = atomic_load(&d->generation);
	while ((generation & 1) == 0)
		if (atomic_compare_exchange_weak(&d->generation, &generation, generation + 1))
			generation++;
	return generation;
}

/* False: some CPU may still use a translation that was removed before `generation`. */
bool tlb_passed(const struct tlb_domain *d, uint64_t generation);

/* Kicks each CPU of `inside` that is inside with an older generation. */
void tlb_kick_each(struct tlb_domain *d, uint64_t generation, uint64_t inside);

/* Kicks each CPU that is inside with an older generation; does not wait.
 * Precondition: this CPU is not inside `d`. */
static inline void tlb_kick_stale(struct tlb_domain *d, uint64_t generation)
{
	uint64_t inside = atomic_load(&d->inside);

	if (inside != 0)
		tlb_kick_each(d, generation, inside);
}

/* Waits until no CPU is inside with an older generation. Those that are have been kicked. */
static inline void tlb_wait(const struct tlb_domain *d, uint64_t generation)
{
	while (atomic_load(&d->inside) != 0 && !tlb_passed(d, generation))
		cpu_relax();
}

/* How to make a CPU leave its guest. Set once at boot by hv/; until then nobody is inside. */
void tlb_set_kick(void (*kick)(unsigned cpu));

#endif
