/* SPDX-License-Identifier: MPL-2.0 */
/*
 * W1 to W7 on an EPT, through the interface that everybody uses (mm/vm_space.h). What a flush costs
 * a real machine is not in it; what Nestling does to know whether one is needed is.
 */
#include <stdlib.h>

#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "mm/vm_space.h"
#include "tests/bench/mm/bench.h"

#define RW    (PT_RW | PT_MEM_WB)
#define RO    (PT_READ | PT_MEM_WB)
#define SMALL UINT64_C(32768) /* pages of a window of W6 */
#define TABLE UINT64_C(512)   /* pages of one leaf table */

static struct vm_space space;
static struct frame **frames;

static void fresh(void)
{
	if (vm_space_init(&space, &ept_ops) != 0)
		panic("no memory");
}

static void gone(void)
{
	vm_space_destroy(&space);
	epoch_drain();
}

static void open_pages(struct vm_cursor *c, uint64_t first, uint64_t count)
{
	if (vm_cursor_open(c, &space, gpa(BENCH_VA + first * PAGE_SIZE),
			   gpa(BENCH_VA + (first + count) * PAGE_SIZE), VM_CHANGE) != 0)
		panic("a cursor cannot be opened");
}

static void must(int err)
{
	if (err != 0)
		panic("error %d", err);
}

/* --- W1: all of a gigabyte, one cursor, one call ---------------------------------------------- */

static void map_all(void)
{
	struct vm_cursor c;

	open_pages(&c, 0, BENCH_PAGES);
	must(vm_map_untracked(&c, hpa(BENCH_PA), BENCH_PAGES * PAGE_SIZE, RW));
	vm_cursor_close(&c);
}

static void mapped(void)
{
	fresh();
	map_all();
}

static void unmap_all(void)
{
	struct vm_cursor c;
	uint64_t pages;

	open_pages(&c, 0, BENCH_PAGES);
	must(vm_unmap(&c, BENCH_PAGES * PAGE_SIZE, &pages));
	vm_cursor_close(&c);
	if (pages != BENCH_PAGES)
		panic("%llu pages", (unsigned long long)pages);
}

/* With the tables freed, and what they owned. */
static void unmap_and_free(void)
{
	unmap_all();
	epoch_drain();
}

/* All but the first page of each leaf table, so that no table can be taken out as a whole. */
static void clear_all(void)
{
	for (uint64_t i = 0; i < BENCH_PAGES; i += TABLE) {
		struct vm_cursor c;
		uint64_t pages;

		open_pages(&c, i + 1, TABLE - 1);
		must(vm_unmap(&c, (TABLE - 1) * PAGE_SIZE, &pages));
		vm_cursor_close(&c);
	}
}

static void frames_take(void)
{
	frames = hpa_ptr(frame_hpa(frame_alloc(FRAME_ORDER_2M, FRAME_KERNEL, 0)));
	for (uint64_t i = 0; i < BENCH_PAGES; i++)
		frames[i] = frame_alloc(FRAME_ORDER_4K, FRAME_GUEST, 0);
}

static void frames_give(void)
{
	frame_put(frame_at(hva_to_hpa(hva_of(frames))));
}

static int by_address(const void *a, const void *b)
{
	const struct frame *const *x = a, *const *y = b;

	return (*x > *y) - (*x < *y);
}

static void fresh_frames(void)
{
	fresh();
	frames_take();
	qsort(frames, BENCH_PAGES, sizeof(*frames), by_address);
}

static void fresh_shuffled(void)
{
	const uint32_t *order = bench_order(0);

	fresh_frames();
	for (uint64_t i = 0; i < BENCH_PAGES; i++) {
		struct frame *f = frames[i];

		frames[i] = frames[order[i]];
		frames[order[i]] = f;
	}
}

static void map_tracked(void)
{
	struct vm_cursor c;
	uint64_t done;

	open_pages(&c, 0, BENCH_PAGES);
	must(vm_map_frames(&c, frames, BENCH_PAGES, RW, &done));
	vm_cursor_close(&c);
}

static void map_tracked_each(void)
{
	struct vm_cursor c;

	open_pages(&c, 0, BENCH_PAGES);
	for (uint64_t i = 0; i < BENCH_PAGES; i++)
		must(vm_map(&c, frames[i], RW));
	vm_cursor_close(&c);
}

static void gone_frames(void)
{
	gone();
	frames_give();
}

static void mapped_tracked(void)
{
	fresh_frames();
	map_tracked();
}

/* --- W2: random order, a fresh cursor for each page ------------------------------------------- */

/* In one epoch section, as a CPU handles all that a guest's exit brings; cursors' own nest in it.
 */
static void in_section(void (*run)(void))
{
	epoch_enter();
	run();
	epoch_exit();
}

static void map_random_each(void)
{
	const uint32_t *order = bench_order(0);

	for (uint64_t i = 0; i < BENCH_PAGES; i++) {
		struct vm_cursor c;

		open_pages(&c, order[i], 1);
		must(vm_map_untracked(&c, hpa(BENCH_PA + order[i] * PAGE_SIZE), PAGE_SIZE, RW));
		vm_cursor_close(&c);
	}
}

static void unmap_random_each(void)
{
	const uint32_t *order = bench_order(1);

	for (uint64_t i = 0; i < BENCH_PAGES; i++) {
		struct vm_cursor c;
		uint64_t pages;

		open_pages(&c, order[i], 1);
		must(vm_unmap(&c, PAGE_SIZE, &pages));
		vm_cursor_close(&c);
	}
}

static void map_random(void)
{
	in_section(map_random_each);
}

static void unmap_random(void)
{
	in_section(unmap_random_each);
}

static void map_random_tracked_each(void)
{
	const uint32_t *order = bench_order(0);

	for (uint64_t i = 0; i < BENCH_PAGES; i++) {
		struct vm_cursor c;

		open_pages(&c, order[i], 1);
		must(vm_map(&c, frames[order[i]], RW));
		vm_cursor_close(&c);
	}
}

static void map_random_tracked(void)
{
	in_section(map_random_tracked_each);
}

/* --- W3: lookups without a lock --------------------------------------------------------------- */

static void query(void)
{
	const uint32_t *at = bench_lookups();
	uint64_t sum = 0;

	epoch_enter();
	for (uint64_t i = 0; i < BENCH_LOOKUPS; i++) {
		struct pt_hit hit = vm_lookup(&space, gpa(BENCH_VA + at[i] * PAGE_SIZE));

		if (hit.level != 0)
			sum += hit.hpa.hpa;
	}
	epoch_exit();
	bench_sink = sum;
}

static void query_section(void)
{
	const uint32_t *at = bench_lookups();
	uint64_t sum = 0;

	for (uint64_t i = 0; i < BENCH_LOOKUPS; i++) {
		struct pt_hit hit;

		epoch_enter();
		hit = vm_lookup(&space, gpa(BENCH_VA + at[i] * PAGE_SIZE));
		if (hit.level != 0)
			sum += hit.hpa.hpa;
		epoch_exit();
	}
	bench_sink = sum;
}

/* --- W4 --------------------------------------------------------------------------------------- */

static void protect_all(void)
{
	struct vm_cursor c;
	uint64_t pages;

	open_pages(&c, 0, BENCH_PAGES);
	must(vm_protect(&c, BENCH_PAGES * PAGE_SIZE, RO, &pages));
	vm_cursor_close(&c);
	if (pages != BENCH_PAGES)
		panic("%llu pages", (unsigned long long)pages);
}

/* As a guest leaves them that has written to each page. */
static void mapped_dirty(void)
{
	struct vm_cursor c;

	fresh();
	open_pages(&c, 0, BENCH_PAGES);
	must(vm_map_untracked(&c, hpa(BENCH_PA), BENCH_PAGES * PAGE_SIZE,
			      RW | PT_ACCESSED | PT_DIRTY));
	vm_cursor_close(&c);
}

/* --- W5: large pages -------------------------------------------------------------------------- */

static void map_large(void)
{
	for (uint64_t i = 0; i < BENCH_PAGES; i += TABLE) {
		struct vm_cursor c;

		open_pages(&c, i, TABLE);
		must(vm_map_untracked(&c, hpa(UINT64_C(0x100200000) + i * PAGE_SIZE), SIZE_2M, RW));
		vm_cursor_close(&c);
	}
}

/* Not a multiple of 1 GiB, so that nothing larger fits. */
static void map_large_all(void)
{
	struct vm_cursor c;

	open_pages(&c, 0, BENCH_PAGES);
	must(vm_map_untracked(&c, hpa(UINT64_C(0x100200000)), BENCH_PAGES * PAGE_SIZE, RW));
	vm_cursor_close(&c);
}

static void map_large_one_cursor(void)
{
	struct vm_cursor c;

	open_pages(&c, 0, BENCH_PAGES);
	for (uint64_t i = 0; i < BENCH_PAGES; i += TABLE)
		must(vm_map_untracked(&c, hpa(UINT64_C(0x100200000) + i * PAGE_SIZE), SIZE_2M, RW));
	vm_cursor_close(&c);
}

static void mapped_large(void)
{
	fresh();
	map_large();
}

/* 4 KiB pages that could be 2 MiB pages. */
static void mapped_joinable(void)
{
	struct vm_cursor c;

	fresh();
	open_pages(&c, 0, BENCH_PAGES);
	for (uint64_t i = 0; i < BENCH_PAGES; i++)
		must(vm_map_untracked(&c, hpa(UINT64_C(0x100200000) + i * PAGE_SIZE), PAGE_SIZE,
				      RW));
	vm_cursor_close(&c);
}

static void collapse_each(void)
{
	for (uint64_t i = 0; i < BENCH_PAGES; i += TABLE) {
		struct vm_cursor c;

		open_pages(&c, i, TABLE);
		must(vm_collapse(&c, SIZE_2M));
		vm_cursor_close(&c);
	}
}

static void collapse(void)
{
	in_section(collapse_each);
}

static void split_large_each(void)
{
	for (uint64_t i = 0; i < BENCH_PAGES; i += TABLE) {
		struct vm_cursor c;
		uint64_t pages;

		open_pages(&c, i + 7, 1);
		must(vm_unmap(&c, PAGE_SIZE, &pages));
		vm_cursor_close(&c);
	}
}

static void split_large(void)
{
	in_section(split_large_each);
}

const struct work table_works[] = {
	{ "W1.map.untracked", "limit.W1.map", BENCH_PAGES, fresh, map_all, gone },
	{ "W1.map.tracked", "limit.W1.map", BENCH_PAGES, fresh_frames, map_tracked, gone_frames },
	{ "W1.map.tracked.each", "limit.W1.map", BENCH_PAGES, fresh_frames, map_tracked_each,
	  gone_frames },
	{ "W1.map.tracked.shuffled", "limit.W1.map", BENCH_PAGES, fresh_shuffled, map_tracked,
	  gone_frames },
	{ "W1.unmap", "limit.W1.unmap", BENCH_PAGES, mapped, unmap_and_free, gone },
	{ "W1.unmap.clear", "limit.W1.unmap", BENCH_PAGES, mapped, clear_all, gone },
	{ "W1.unmap.detach", "limit.W1.unmap", BENCH_PAGES, mapped, unmap_all, gone },
	{ "W1.unmap.tracked", "limit.W1.unmap", BENCH_PAGES, mapped_tracked, unmap_and_free,
	  gone_frames },
	{ "W2.map", "limit.W2.map", BENCH_PAGES, fresh, map_random, gone },
	{ "W2.map.section", "limit.W2.map", BENCH_PAGES, fresh, map_random_each, gone },
	{ "W2.map.tracked", "limit.W2.map", BENCH_PAGES, fresh_frames, map_random_tracked,
	  gone_frames },
	{ "W2.unmap", "limit.W2.unmap", BENCH_PAGES, mapped, unmap_random, gone },
	{ "W2.unmap.section", "limit.W2.unmap", BENCH_PAGES, mapped, unmap_random_each, gone },
	{ "W3.query", "limit.W3", BENCH_LOOKUPS, mapped, query, gone },
	{ "W3.query.section", "limit.W3", BENCH_LOOKUPS, mapped, query_section, gone },
	{ "W4.protect", "limit.W4", BENCH_PAGES, mapped_dirty, protect_all, gone },
	{ "W4.protect.clean", "limit.W4", BENCH_PAGES, mapped, protect_all, gone },
	{ "W5.map", "limit.W5.map", BENCH_PAGES / TABLE, fresh, map_large_all, gone },
	{ "W5.map.each", "limit.W5.map", BENCH_PAGES / TABLE, fresh, map_large_one_cursor, gone },
	{ "W5.map.cursor", "limit.W5.map", BENCH_PAGES / TABLE, fresh, map_large, gone },
	{ "W5.collapse", NULL, BENCH_PAGES / TABLE, mapped_joinable, collapse, gone },
	{ "W5.split", "limit.W5.split", BENCH_PAGES / TABLE, mapped_large, split_large, gone },
	{ 0 },
};

/* --- W6b, W7: two threads --------------------------------------------------------------------- */

/* Each in a window of its own, a gigabyte apart. */
static void separate(unsigned thread)
{
	uint64_t base = thread * BENCH_PAGES;

	for (uint64_t i = base; i < base + SMALL; i++) {
		struct vm_cursor c;

		open_pages(&c, i, 1);
		must(vm_map_untracked(&c, hpa(BENCH_PA + i * PAGE_SIZE), PAGE_SIZE, RW));
		vm_cursor_close(&c);
	}
	for (uint64_t i = base; i < base + SMALL; i++) {
		struct vm_cursor c;
		uint64_t pages;

		open_pages(&c, i, 1);
		must(vm_unmap(&c, PAGE_SIZE, &pages));
		vm_cursor_close(&c);
	}
}

/* Every other page of one leaf table, 40 rounds. */
static void same_table(unsigned thread)
{
	for (unsigned round = 0; round < 40; round++) {
		for (uint64_t i = thread; i < TABLE; i += 2) {
			struct vm_cursor c;

			open_pages(&c, i, 1);
			must(vm_map_untracked(&c, hpa(BENCH_PA + i * PAGE_SIZE), PAGE_SIZE, RW));
			vm_cursor_close(&c);
		}
		for (uint64_t i = thread; i < TABLE; i += 2) {
			struct vm_cursor c;
			uint64_t pages;

			open_pages(&c, i, 1);
			must(vm_unmap(&c, PAGE_SIZE, &pages));
			vm_cursor_close(&c);
		}
	}
}

const struct pair_work table_pairs[] = {
	{ "W6b", NULL, 2 * SMALL, fresh, separate, gone },
	{ "W7", "limit.W7.fair", 40 * TABLE, fresh, same_table, gone },
	{ 0 },
};
