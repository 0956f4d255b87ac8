/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Kernel virtual areas that come and go on all CPUs at once, in so few addresses that they run out,
 * while the CPUs read each other's areas through TLBs that forget nothing by themselves. Whoever
 * knows of an area and has not flushed since must read that area's memory, or nothing. The reads
 * are plain: memory that is reused before a CPU has flushed is a data race, too.
 */
#include <stdio.h>

#include "mm/frame_alloc.h"
#include "mm/host_pt.h"
#include "mm/kspace_tlb.h"
#include "mm/kvirt.h"
#include "tests/host/arena.h"
#include "tests/host/host_tlb.h"
#include "tests/host/random.h"
#include "tests/tsan/threads.h"

#define ARENA  (UINT64_C(8) << 20)
#define START  KAREA_BASE
#define PAGES  32
#define SLOTS  8
#define ROUNDS 8000
#define LARGE  4 /* pages of the largest area */

static struct pt pt;
/* Areas that anybody may read, or take out and drop: serial number << 16 | first page; 0: none. */
static _Atomic uint64_t slots[SLOTS];
static _Atomic uint64_t serials;
static _Atomic unsigned done;
static _Atomic bool interrupted[THREADS];
static _Atomic uint64_t synced, mapped, reads;

static void kick(unsigned cpu)
{
	atomic_store(&interrupted[cpu], true);
	atomic_fetch_add(&synced, 1);
}

static void tell(const char *text)
{
	printf("  audit: %s\n", text);
}

static uint64_t slot_va(uint64_t word)
{
	return START + (word & 0xffff) * PAGE_SIZE;
}

static void put(unsigned slot, uint64_t *rng)
{
	unsigned n = 1 + (unsigned)random_below(rng, LARGE);
	uint64_t serial = atomic_fetch_add(&serials, 1) + 1, none = 0, word;
	struct frame *frames[LARGE];
	struct kvirt_area *area;

	for (unsigned i = 0; i < n; i++) {
		frames[i] = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL, 0);
		if (frames[i] == NULL)
			abort();
		*(uint64_t *)hpa_ptr(frame_hpa(frames[i])) = serial;
	}
	if (kvirt_map_frames(n * PAGE_SIZE, 0, frames, n, PT_RW | PT_MEM_WB, &area) != 0) {
		while (n-- != 0)
			frame_put(frames[n]);
		return;
	}
	atomic_fetch_add(&mapped, 1);
	word = serial << 16 | (kvirt_start(area).hva - START) / PAGE_SIZE;
	if (!atomic_compare_exchange_strong(&slots[slot], &none, word))
		kvirt_drop(area);
}

static void take(unsigned slot)
{
	uint64_t word = atomic_exchange(&slots[slot], 0);
	struct kvirt_area *area;

	if (word == 0)
		return;
	area = kvirt_find(hva(slot_va(word)));
	CHECK(area != NULL && kvirt_start(area).hva == slot_va(word));
	kvirt_drop(area);
}

static void look(unsigned slot)
{
	uint64_t word = atomic_load(&slots[slot]), at;

	if (word == 0)
		return;
	if (host_tlb_access(slot_va(word), TLB_READ, &at)) {
		CHECK(*(volatile uint64_t *)hpa_ptr(hpa(at)) == word >> 16);
		atomic_fetch_add_explicit(&reads, 1, memory_order_relaxed);
	} else {
		CHECK(atomic_load(&slots[slot]) != word);
	}
}

static void interrupts(unsigned cpu)
{
	if (atomic_exchange(&interrupted[cpu], false))
		kspace_tlb_flush();
}

static void turn(unsigned cpu, uint64_t *rng)
{
	unsigned slot = (unsigned)random_below(rng, SLOTS);

	interrupts(cpu);
	switch (random_below(rng, 16)) {
	case 0:
		kspace_tlb_flush();
		kvirt_reap(2);
		epoch_poll();
		break;
	case 1:
	case 2:
	case 3:
		put(slot, rng);
		break;
	case 4:
	case 5:
		take(slot);
		break;
	default:
		look(slot);
	}
}

static void worker(unsigned cpu)
{
	uint64_t rng = thread_seed(cpu);

	for (unsigned i = 0; i < ROUNDS; i++)
		turn(cpu, &rng);
	/* Others may still wait for this CPU to flush. */
	atomic_fetch_add(&done, 1);
	while (atomic_load(&done) < THREADS) {
		interrupts(cpu);
		cpu_relax();
	}
}

static void settle(void)
{
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned cpu = THREADS; cpu-- != 0;) {
			host_cpu = cpu;
			kspace_tlb_flush();
		}
		kvirt_reap(UINT32_MAX);
	}
	threads_settle(THREADS);
}

void test_kvirt(void)
{
	struct frame_account account;

	arena_init(ARENA);
	pt.ops = &host_pt_ops;
	CHECK(host_pt_ops.init(&pt) == 0);
	kspace_tlb_init(&pt.tlb);
	CHECK(kvirt_init(&pt, START, START + PAGES * PAGE_SIZE) == 0);
	host_tlb_begin(frame_hpa(pt.root).hpa, kick);
	for (unsigned cpu = THREADS; cpu-- != 0;) {
		host_cpu = cpu;
		kspace_tlb_online();
	}
	atomic_store(&done, 0);
	threads_run(THREADS, worker);
	/* Otherwise it has not been what it is meant to be. */
	CHECK(synced != 0 && mapped > ROUNDS / 10 && reads > ROUNDS / 4);
	for (unsigned slot = 0; slot < SLOTS; slot++)
		take(slot);
	settle();
	CHECK(kvirt_quarantined() == 0 && kvirt_audit(tell) == 0);
	kvirt_fini();
	atomic_store(&pt.tlb.inside, 0);
	host_pt_ops.destroy(&pt);
	threads_settle(THREADS);
	frame_account(&account);
	CHECK(account.by_kind[FRAME_KERNEL] == 0 && account.by_kind[FRAME_HOST_TABLE] == 0);
	CHECK(frame_audit(tell) == 0);
	host_tlb_begin(0, NULL);
	kspace_tlb_init(NULL);
	arena_fini();
}
