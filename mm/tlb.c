/* SPDX-License-Identifier: MPL-2.0 */
#include "mm/tlb.h"

#include <stddef.h>

#include "base/contract.h"

static void (*tlb_kick)(unsigned cpu);

void tlb_set_kick(void (*kick)(unsigned cpu))
{
	tlb_kick = kick;
}

/* Odd: the highest generation of all domains that have ended. */
static _Atomic uint64_t last_generation = 1;

void tlb_domain_init(struct tlb_domain *d)
{
	atomic_store(&d->generation, atomic_load(&last_generation) + 1);
	atomic_store(&d->inside, 0);
	atomic_store(&d->flushes, 0);
	atomic_store(&d->kicks, 0);
	d->stamp = NULL;
	d->sync = NULL;
	for (unsigned i = 0; i < MAX_CPUS; i++)
		atomic_store_explicit(&d->seen[i], 0, memory_order_relaxed);
}

void tlb_domain_end(struct tlb_domain *d)
{
	uint64_t generation = tlb_bump(d), last = atomic_load(&last_generation);

	while (last < generation &&
	       !atomic_compare_exchange_weak(&last_generation, &last, generation))
		;
}

/* May `cpu` be using translations that are older than `generation`? */
static bool tlb_stale(const struct tlb_domain *d, unsigned cpu, uint64_t generation)
{
	return (atomic_load(&d->inside) >> cpu & 1) != 0 &&
	       atomic_load_explicit(&d->seen[cpu], memory_order_acquire) < generation;
}

bool tlb_passed(const struct tlb_domain *d, uint64_t generation)
{
	for (unsigned cpu = 0; cpu < MAX_CPUS; cpu++)
		if (tlb_stale(d, cpu, generation))
			return false;
	return true;
}

void tlb_kick_each(struct tlb_domain *d, uint64_t generation, uint64_t inside)
{
	REQUIRES((inside >> cpu_id() & 1) == 0);
	for (uint64_t left = inside; left != 0; left &= left - 1) {
		unsigned cpu = (unsigned)__builtin_ctzll(left);

		if (!tlb_stale(d, cpu, generation))
			continue;
		MUST(tlb_kick != NULL, "CPU %u is inside a guest and nobody can kick it", cpu);
		atomic_fetch_add_explicit(&d->kicks, 1, memory_order_relaxed);
		tlb_kick(cpu);
	}
}
