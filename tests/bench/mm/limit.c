/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The physical limits: what has to be loaded and stored, in plain loops over tables of the same
 * shape, with nothing around it. No locks but where one is what is measured.
 */
#include <arch/layout.h>
#include <arch/this_cpu.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

#include "base/panic.h"
#include "tests/bench/mm/bench.h"

#define LEAF	UINT64_C(0x8f7)
#define TABLE	UINT64_C(0x807)
#define ADDRESS UINT64_C(0x000ffffffffff000)
#define LARGE	UINT64_C(0x80)

/* Tables of its own, above what the frame allocator has handed out by then: a stack of pages. */
#define POOL_PAGES 2048
static uint64_t pool[POOL_PAGES][512] __attribute__((aligned(SIZE_2M)));
static unsigned pool_free[POOL_PAGES], pool_count;
static uint64_t *root;
static _Atomic uint32_t leaf_lock[BENCH_PAGES / 512];

static uint64_t *page_take(void)
{
	return pool[pool_free[--pool_count]];
}

static uint64_t *page_zeroed(void)
{
	uint64_t *page = page_take(), count = 512;
	void *at = page;

	__asm__ volatile("rep stosq" : "+D"(at), "+c"(count) : "a"(0) : "memory");
	return page;
}

static void pool_reset(void)
{
	madvise(pool, sizeof(pool), MADV_HUGEPAGE);
	for (unsigned i = 0; i < POOL_PAGES; i++)
		pool_free[i] = POOL_PAGES - 1 - i;
	pool_count = POOL_PAGES;
	root = page_zeroed();
}

static inline uint64_t *below_of(uint64_t raw)
{
	return (uint64_t *)(raw & ADDRESS);
}

/* The table of `level` that covers va, made where it is not. */
static inline uint64_t *walk_make(uint64_t va, unsigned level)
{
	uint64_t *table = root;

	for (unsigned at = 4; at > level; at--) {
		uint64_t *e = &table[va >> (3 + 9 * at) & 511];

		if (*e == 0)
			*e = (uint64_t)page_zeroed() | TABLE;
		table = below_of(*e);
	}
	return table;
}

static inline uint64_t *walk(uint64_t va)
{
	uint64_t *table = root;

	for (unsigned at = 4; at > 1; at--)
		table = below_of(*(volatile uint64_t *)&table[va >> (3 + 9 * at) & 511]);
	return table;
}

static void map_all(void)
{
	for (uint64_t i = 0; i < BENCH_PAGES; i += 512) {
		volatile uint64_t *leaf = walk_make(BENCH_VA + i * PAGE_SIZE, 1);
		uint64_t at = (BENCH_PA + i * PAGE_SIZE) | LEAF;

		for (unsigned j = 0; j < 512; j++, at += PAGE_SIZE)
			if (leaf[j] == 0)
				leaf[j] = at;
	}
}

static void mapped(void)
{
	pool_reset();
	map_all();
}

static void clear_all(void)
{
	uint64_t present = 0;

	for (uint64_t i = 0; i < BENCH_PAGES; i += 512) {
		volatile uint64_t *leaf = walk(BENCH_VA + i * PAGE_SIZE);

		for (unsigned j = 0; j < 512; j++)
			if (leaf[j] != 0) {
				leaf[j] = 0;
				present++;
			}
	}
	bench_sink = present;
}

static void protect_all(void)
{
	for (uint64_t i = 0; i < BENCH_PAGES; i += 512) {
		volatile uint64_t *leaf = walk(BENCH_VA + i * PAGE_SIZE);

		for (unsigned j = 0; j < 512; j++) {
			uint64_t raw = leaf[j];

			if (raw != 0)
				leaf[j] = raw & ~UINT64_C(2);
		}
	}
}

static void leaf_lock_pair(uint64_t page, bool lock)
{
	_Atomic uint32_t *l = &leaf_lock[page / 512];

	if (lock)
		while (atomic_exchange_explicit(l, 1, memory_order_acquire) != 0)
			cpu_relax();
	else
		atomic_store_explicit(l, 0, memory_order_release);
}

static void map_random(void)
{
	const uint32_t *order = bench_order(0);

	for (uint64_t i = 0; i < BENCH_PAGES; i++) {
		uint64_t page = order[i], va = BENCH_VA + page * PAGE_SIZE;
		uint64_t *leaf = walk_make(va, 1);

		leaf_lock_pair(page, true);
		*(volatile uint64_t *)&leaf[va >> 12 & 511] = (BENCH_PA + page * PAGE_SIZE) | LEAF;
		leaf_lock_pair(page, false);
	}
}

static void unmap_random(void)
{
	const uint32_t *order = bench_order(1);

	for (uint64_t i = 0; i < BENCH_PAGES; i++) {
		uint64_t page = order[i], va = BENCH_VA + page * PAGE_SIZE;
		uint64_t *leaf = walk(va);

		leaf_lock_pair(page, true);
		*(volatile uint64_t *)&leaf[va >> 12 & 511] = 0;
		leaf_lock_pair(page, false);
	}
}

static void query(void)
{
	const uint32_t *at = bench_lookups();
	uint64_t sum = 0;

	for (uint64_t i = 0; i < BENCH_LOOKUPS; i++) {
		uint64_t va = BENCH_VA + (uint64_t)at[i] * PAGE_SIZE, *table = root;

		for (unsigned level = 4;; level--) {
			uint64_t raw = *(volatile uint64_t *)&table[va >> (3 + 9 * level) & 511];

			if (level == 1) {
				sum += raw & ADDRESS;
				break;
			}
			table = below_of(raw);
		}
	}
	bench_sink = sum;
}

static void map_large(void)
{
	for (uint64_t i = 0; i < 512; i++) {
		uint64_t va = BENCH_VA + i * SIZE_2M;
		volatile uint64_t *table = walk_make(va, 2);

		if (table[va >> 21 & 511] == 0)
			table[va >> 21 & 511] = (UINT64_C(0x100000000) + i * SIZE_2M) | LEAF |
						LARGE;
	}
}

static void mapped_large(void)
{
	pool_reset();
	map_large();
}

static void split_large(void)
{
	for (uint64_t i = 0; i < 512; i++) {
		uint64_t va = BENCH_VA + i * SIZE_2M;
		volatile uint64_t *e = &walk_make(va, 2)[va >> 21 & 511];
		uint64_t *leaf = page_take(), raw = *e & ~LARGE;

		for (unsigned j = 0; j < 512; j++, raw += PAGE_SIZE)
			*(volatile uint64_t *)&leaf[j] = raw;
		leaf[7] = 0;
		*e = (uint64_t)leaf | TABLE;
	}
}

/* A stack of frames without anything around it. */
static uint32_t stack[4096];
static unsigned stack_top;

static void stack_fill(void)
{
	for (stack_top = 0; stack_top < 64; stack_top++)
		stack[stack_top] = stack_top;
}

/* What each frame is, and how many of a kind are in use: an allocator must know that much. */
static struct slot {
	volatile uint32_t refs;
	volatile uint8_t kind;
} __attribute__((aligned(32))) slots[BENCH_PAGES];
static volatile int64_t used[8];

static inline uint32_t frame_pop(uint8_t kind)
{
	volatile unsigned *top = &stack_top;
	unsigned n = *top;
	uint32_t frame;

	if (n == 0)
		panic("the limit has run out of frames");
	frame = *(volatile uint32_t *)&stack[n - 1];
	*top = n - 1;
	if (slots[frame].refs != 0)
		panic("the limit's frame %u is in use", frame);
	slots[frame].refs = 1;
	slots[frame].kind = kind;
	used[kind]++;
	return frame;
}

static inline void frame_push(uint32_t frame)
{
	volatile unsigned *top = &stack_top;
	unsigned n = *top;

	if (slots[frame].refs != 1)
		panic("the limit's frame %u is not in use", frame);
	slots[frame].refs = 0;
	used[slots[frame].kind]--;
	*(volatile uint32_t *)&stack[n] = frame;
	*top = n + 1;
}

static void pair_0(void)
{
	for (uint64_t i = 0; i < BENCH_PAGES; i++)
		frame_push(frame_pop(i & 7));
}

const struct work limit_works[] = {
	{ "limit.W1.map", NULL, BENCH_PAGES, pool_reset, map_all, NULL },
	{ "limit.W1.unmap", NULL, BENCH_PAGES, mapped, clear_all, NULL },
	{ "limit.W2.map", NULL, BENCH_PAGES, pool_reset, map_random, NULL },
	{ "limit.W2.unmap", NULL, BENCH_PAGES, mapped, unmap_random, NULL },
	{ "limit.W3", NULL, BENCH_LOOKUPS, mapped, query, NULL },
	{ "limit.W4", NULL, BENCH_PAGES, mapped, protect_all, NULL },
	{ "limit.W5.map", NULL, 512, pool_reset, map_large, NULL },
	{ "limit.W5.split", NULL, 512, mapped_large, split_large, NULL },
	{ "limit.W9.pair0", NULL, BENCH_PAGES, stack_fill, pair_0, NULL },
	{ 0 },
};

/* --- one contended lock word ------------------------------------------------------------------ */

static struct {
	_Atomic uint32_t next, serving;
} __attribute__((aligned(64))) ticket;

static void handover(unsigned thread)
{
	(void)thread;
	for (uint64_t i = 0; i < 200000; i++) {
		uint32_t me = atomic_fetch_add_explicit(&ticket.next, 1, memory_order_relaxed);

		while (atomic_load_explicit(&ticket.serving, memory_order_acquire) != me)
			cpu_relax();
		atomic_store_explicit(&ticket.serving, me + 1, memory_order_release);
	}
}

static struct {
	_Atomic uint32_t word;
} __attribute__((aligned(64))) tas;

static void handover_tas(unsigned thread)
{
	(void)thread;
	for (uint64_t i = 0; i < 200000; i++) {
		while (atomic_exchange_explicit(&tas.word, 1, memory_order_acquire) != 0)
			while (atomic_load_explicit(&tas.word, memory_order_relaxed) != 0)
				cpu_relax();
		atomic_store_explicit(&tas.word, 0, memory_order_release);
	}
}

const struct pair_work limit_pairs[] = {
	{ "limit.W7", NULL, 200000, NULL, handover_tas, NULL },
	{ "limit.W7.fair", NULL, 200000, NULL, handover, NULL },
	{ 0 },
};
