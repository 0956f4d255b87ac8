/* SPDX-License-Identifier: MPL-2.0 */
/* Frames and their allocator: no page has two owners, and the last put happens once. */
#include <stdio.h>

#include "mm/frame_alloc.h"
#include "tests/host/arena.h"
#include "tests/host/random.h"
#include "tests/tsan/threads.h"

#define ARENA  (UINT64_C(8) << 20)
#define ROUNDS 20000
#define HANDED 64

static _Atomic(struct frame *) handed[HANDED]; /* frames on their way from one CPU to another */
static _Atomic uint8_t owned[ARENA / PAGE_SIZE];

static void tell(const char *text)
{
	printf("  audit: %s\n", text);
}

static void audit(void)
{
	CHECK(frame_audit(tell) == 0);
}

static void claim(const struct frame *f)
{
	for (uint64_t i = 0; i < frame_size(f) / PAGE_SIZE; i++)
		CHECK(atomic_exchange_explicit(&owned[frame_pfn(f) + i], 1, memory_order_relaxed) ==
		      0);
}

static void give_back(struct frame *f)
{
	for (uint64_t i = 0; i < frame_size(f) / PAGE_SIZE; i++)
		atomic_store_explicit(&owned[frame_pfn(f) + i], 0, memory_order_relaxed);
	frame_put(f);
}

static void alloc_worker(unsigned cpu)
{
	static const unsigned orders[] = { 0, 0, 0, 0, 0, 0, 1, 2, 4, FRAME_ORDER_2M };
	uint64_t rng = thread_seed(cpu);
	struct frame_account a;

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned order = orders[random_below(&rng, 10)];
		struct frame *f = frame_alloc(order, FRAME_GUEST, (unsigned)random_below(&rng, 2));

		if (f != NULL) {
			claim(f);
			/* Plain writes: the hand-over orders them after the last owner's. */
			*(volatile uint64_t *)hpa_ptr(frame_hpa(f)) = i;
		}
		f = atomic_exchange(&handed[random_below(&rng, HANDED)], f);
		if (f != NULL)
			give_back(f);
		if (i % 500 == 0)
			frame_alloc_drain();
		if (i % 300 == 0)
			frame_alloc_prezero(8);
		if (i % 1000 == 0)
			frame_account(&a);
	}
}

void test_frame_alloc(void)
{
	struct frame_account a;

	arena_init(ARENA);
	threads_run(THREADS, alloc_worker);
	host_cpu = 0;
	audit();
	for (unsigned i = 0; i < HANDED; i++)
		if (atomic_load(&handed[i]) != NULL)
			give_back(atomic_exchange(&handed[i], NULL));
	threads_settle(THREADS);
	audit();
	frame_account(&a);
	CHECK(a.by_kind[FRAME_GUEST] == 0);
	CHECK(a.largest_free == ARENA / 2);
	arena_fini();
}

/* --- the last two references go at the same time (#671) -------------------------------------- */

#define SHARED_FRAMES 512

static struct frame *shared[SHARED_FRAMES];
static _Atomic unsigned destroyed[ARENA / PAGE_SIZE];

static void note_end(struct frame *f)
{
	/* Plain: whoever ends the frame comes after all that its other holders did to it. */
	uint64_t *words = hpa_ptr(frame_hpa(f));

	for (unsigned cpu = 0; cpu < THREADS; cpu++)
		CHECK(words[cpu] == cpu + 1);
	atomic_fetch_add(&destroyed[frame_pfn(f)], 1);
}

static void put_worker(unsigned cpu)
{
	for (unsigned i = 0; i < SHARED_FRAMES; i++) {
		((uint64_t *)hpa_ptr(frame_hpa(shared[i])))[cpu] = cpu + 1;
		frame_get(shared[i]);
		frame_put(shared[i]);
		if (i % 2)
			frame_put(shared[i]);
		else
			frame_put_deferred(shared[i]);
	}
}

void test_frame_last_put(void)
{
	arena_init(ARENA);
	frame_set_destructor(FRAME_GUEST, note_end);
	for (unsigned round = 0; round < 10; round++) {
		for (unsigned i = 0; i < SHARED_FRAMES; i++) {
			shared[i] = frame_alloc(0, FRAME_GUEST, 0);
			frame_get_n(shared[i], THREADS - 1);
			atomic_store(&destroyed[frame_pfn(shared[i])], 0);
		}
		threads_run(THREADS, put_worker);
		threads_settle(THREADS);
		for (unsigned i = 0; i < SHARED_FRAMES; i++)
			CHECK(atomic_load(&destroyed[frame_pfn(shared[i])]) == 1);
	}
	frame_set_destructor(FRAME_GUEST, NULL);
	audit();
	arena_fini();
}
