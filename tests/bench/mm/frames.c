/* SPDX-License-Identifier: MPL-2.0 */
/* W9: the frame allocator. A pair is one allocation and its end, by the last frame_put. */
#include "base/panic.h"
#include "mm/frame_alloc.h"
#include "mm/frame_unique.h"
#include "tests/bench/mm/bench.h"

#define BULK  UINT64_C(65536)
#define BATCH 512

static struct frame *held[2][BULK];

static struct frame *take(unsigned order)
{
	struct frame *f = frame_alloc(order, FRAME_GUEST, 0);

	if (f == NULL)
		panic("no memory");
	return f;
}

static void pairs(unsigned order, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		frame_put(take(order));
}

static void pair_0(void)
{
	pairs(FRAME_ORDER_4K, BENCH_PAGES);
}

/* The same for who shares it with nobody: no locked instruction. */
static void pair_0_unique(void)
{
	for (uint64_t i = 0; i < BENCH_PAGES; i++) {
		struct frame *f = frame_alloc_unique(FRAME_ORDER_4K, FRAME_GUEST, 0);

		if (f == NULL)
			panic("no memory");
		frame_unique_drop(f);
	}
}

static void pair_9(void)
{
	pairs(FRAME_ORDER_2M, BENCH_PAGES);
}

static void bulk_alloc(void)
{
	for (uint64_t i = 0; i < BULK; i++)
		held[0][i] = take(FRAME_ORDER_4K);
}

static void bulk_free(void)
{
	for (uint64_t i = 0; i < BULK; i++)
		frame_put(held[0][i]);
}

static void bulk_free_random(void)
{
	const uint32_t *order = bench_order(0);

	for (uint64_t i = 0; i < BENCH_PAGES; i++)
		if (order[i] < BULK)
			frame_put(held[0][order[i]]);
}

static void batches(unsigned thread)
{
	for (unsigned round = 0; round < 64; round++) {
		for (unsigned i = 0; i < BATCH; i++)
			held[thread][i] = take(FRAME_ORDER_4K);
		for (unsigned i = 0; i < BATCH; i++)
			frame_put(held[thread][i]);
	}
}

const struct work frame_works[] = {
	{ "W9.pair0", "limit.W9.pair0", BENCH_PAGES, NULL, pair_0, NULL },
	{ "W9.pair0.unique", "limit.W9.pair0", BENCH_PAGES, NULL, pair_0_unique, NULL },
	{ "W9.pair9", "limit.W9.pair0", BENCH_PAGES, NULL, pair_9, NULL },
	{ "W9.bulk.alloc", NULL, BULK, NULL, bulk_alloc, bulk_free },
	{ "W9.bulk.free", NULL, BULK, bulk_alloc, bulk_free, NULL },
	{ "W9.bulk.free.random", NULL, BULK, bulk_alloc, bulk_free_random, NULL },
	{ 0 },
};

const struct pair_work frame_pairs[] = {
	{ "W9.batch512", NULL, 64 * BATCH, NULL, batches, NULL },
	{ 0 },
};
