/* SPDX-License-Identifier: MPL-2.0 */
#include "mm/kspace_tlb.h"

#include <stddef.h>

#include "base/contract.h"
#include "base/host_tlb.h"
#include "base/lock.h"

/*
 * What each of the last generations made stale, one word each, so that a CPU that reads it while it
 * is being replaced sees the old or the new one:
 *
 *   63 page number of the start 28 | 27 pages, 0 for everything 22 | 21 generation / LOG_SIZE 0
 */
#define LOG_SIZE       64
#define LOG_PAGE_SHIFT 28
#define LOG_PAGE_BITS  36
#define LOG_SIZE_SHIFT 22

/* How often to look before somebody who does not answer is interrupted again. */
#define KICK_AGAIN 100000

static struct tlb_domain *domain;
static struct spinlock stamp_lock = SPINLOCK_INIT(LOCK_LEAF); /* generations, one by one */
static _Atomic uint64_t stale_log[LOG_SIZE];

_Static_assert(LOG_PAGE_SHIFT + LOG_PAGE_BITS == 64, "48 bits of address, without the page's 12");
_Static_assert(KSPACE_TLB_PAGES < 1u << (LOG_PAGE_SHIFT - LOG_SIZE_SHIFT), "6 bits");

static uint64_t log_tag(uint64_t generation)
{
	return generation / LOG_SIZE & ((UINT64_C(1) << LOG_SIZE_SHIFT) - 1);
}

static uint64_t log_pages(uint64_t word)
{
	return word >> LOG_SIZE_SHIFT & ((UINT64_C(1) << (LOG_PAGE_SHIFT - LOG_SIZE_SHIFT)) - 1);
}

/* The address, sign-extended as the CPU wants it. */
static uint64_t log_start(uint64_t word)
{
	int64_t page = (int64_t)word >> LOG_PAGE_SHIFT;

	return (uint64_t)page << PAGE_SHIFT;
}

void kspace_tlb_init(struct tlb_domain *d)
{
	domain = d;
	if (d != NULL) {
		d->stamp = kspace_tlb_stamp;
		d->sync = kspace_tlb_sync_to;
	}
	for (unsigned i = 0; i < LOG_SIZE; i++)
		atomic_store_explicit(&stale_log[i], 0, memory_order_relaxed);
}

void kspace_tlb_online(void)
{
	uint64_t generation;

	/* Visible first: whoever stamps from here on waits for us, and whoever has, is flushed. */
	atomic_fetch_or(&domain->inside, UINT64_C(1) << cpu_id());
	generation = atomic_load(&domain->generation);
	host_tlb_flush_all();
	atomic_store_explicit(&domain->seen[cpu_id()], generation, memory_order_release);
}

/* Page by page what the generations after `seen` made stale; false: better everything at once. */
static bool flush_pages(uint64_t seen, uint64_t generation)
{
	uint64_t total = 0;

	if (generation - seen > LOG_SIZE)
		return false;
	for (uint64_t g = seen + 1; g <= generation; g++) {
		uint64_t word = atomic_load_explicit(&stale_log[g % LOG_SIZE],
						     memory_order_relaxed);
		uint64_t pages = log_pages(word);

		total += pages;
		if ((word & ((UINT64_C(1) << LOG_SIZE_SHIFT) - 1)) != log_tag(g) || pages == 0 ||
		    total > KSPACE_TLB_PAGES)
			return false;
		for (uint64_t i = 0; i < pages; i++)
			host_tlb_flush_page(hva(log_start(word) + i * PAGE_SIZE));
	}
	return true;
}

bool kspace_tlb_flush(void)
{
	unsigned cpu = cpu_id();
	uint64_t generation, seen;

	if (domain == NULL || (atomic_load(&domain->inside) >> cpu & 1) == 0)
		return false;
	/* Acquire: the entries, and the log, were written before the generation was. */
	generation = atomic_load_explicit(&domain->generation, memory_order_acquire);
	seen = atomic_load_explicit(&domain->seen[cpu], memory_order_relaxed);
	if (seen == generation)
		return false;
	if (!flush_pages(seen, generation))
		host_tlb_flush_all();
	atomic_fetch_add_explicit(&domain->flushes, 1, memory_order_relaxed);
	/* An interrupt may have come in between and have seen a later generation: leave that. */
	atomic_compare_exchange_strong_explicit(&domain->seen[cpu], &seen, generation,
						memory_order_release, memory_order_relaxed);
	return true;
}

uint64_t kspace_tlb_stamp(hva_t start, uint64_t pages)
{
	uint64_t counted = pages <= KSPACE_TLB_PAGES ? pages : 0, generation;

	spin_lock(&stamp_lock);
	generation = atomic_load_explicit(&domain->generation, memory_order_relaxed) + 1;
	atomic_store_explicit(&stale_log[generation % LOG_SIZE],
			      start.hva >> PAGE_SHIFT << LOG_PAGE_SHIFT |
				      counted << LOG_SIZE_SHIFT | log_tag(generation),
			      memory_order_relaxed);
	/* A locked instruction: the entries and the log are visible before the number is. */
	atomic_exchange(&domain->generation, generation);
	spin_unlock(&stamp_lock);
	return generation;
}

bool kspace_tlb_passed(uint64_t generation)
{
	return tlb_passed(domain, generation);
}

static void kick_stale(uint64_t generation)
{
	uint64_t inside = atomic_load(&domain->inside);

	for (uint64_t left = inside; left != 0; left &= left - 1) {
		unsigned cpu = (unsigned)__builtin_ctzll(left);

		if (cpu == cpu_id() || atomic_load(&domain->seen[cpu]) >= generation)
			continue;
		atomic_fetch_add_explicit(&domain->kicks, 1, memory_order_relaxed);
		host_tlb_kick(cpu);
	}
}

void kspace_tlb_sync_to(uint64_t generation)
{
	for (unsigned tries = 0; !kspace_tlb_passed(generation); tries++) {
		/* Ours first, and again: who waits for us while we wait must not wait for ever. */
		kspace_tlb_flush();
		if (tries % KICK_AGAIN == 0)
			kick_stale(generation);
		cpu_relax();
	}
}

void kspace_tlb_sync(void)
{
	kspace_tlb_sync_to(atomic_load(&domain->generation));
}
