/* SPDX-License-Identifier: MPL-2.0 */
/* Bugs that others had, as tests: frames, segments, pools, epochs, kernel virtual areas. */
#include <arch/pt_store.h>

#include "mm/memmap.h"
#include "mm/pool.h"
#include "mm/segment.h"
#include "tests/unit/kvirt_world.h"

/* --- frames and what is made of them --- */

/* 14dc4752f: the frame just below the end of RAM was refused (>= for >). */
static void test_last_frame(void)
{
	const uint64_t bytes = 3 * SIZE_2M + 5 * PAGE_SIZE;
	struct frame *f, *all = NULL;
	bool seen = false;

	arena_init(bytes);
	CU_ASSERT_EQUAL(frame_limit, bytes / PAGE_SIZE);
	CU_ASSERT_PTR_NOT_NULL(frame_at(hpa(bytes - 1)));
	CU_ASSERT_PTR_NULL(frame_at(hpa(bytes)));
	while ((f = frame_alloc(FRAME_ORDER_4K, FRAME_GUEST, 0)) != NULL) {
		seen |= frame_hpa(f).hpa == bytes - PAGE_SIZE;
		*(struct frame **)frame_bytes(f) = all;
		all = f;
	}
	CU_ASSERT_TRUE(seen);
	while (all != NULL) {
		f = all;
		all = *(struct frame **)frame_bytes(f);
		frame_put(f);
	}
	CU_ASSERT_EQUAL(frame_audit(report), 0);
	arena_fini();
}

/* #1980: a frame buffer at a high physical address counted as RAM's end, and the metadata for all
 * that lies below it took more memory than there was. */
static void test_device_above_ram(void)
{
	static struct memmap map;
	const uint64_t ram = UINT64_C(1) << 30, high = UINT64_C(0x38) << 40;
	const enum mem_kind kinds[] = { MEM_RESERVED, MEM_BAD, MEM_NONE };

	for (unsigned i = 0; i < 3; i++) {
		map.count = 0;
		CU_ASSERT_EQUAL(memmap_add(&map, 0x100000, ram, MEM_RAM), 0);
		CU_ASSERT_EQUAL(memmap_add(&map, high, high + SIZE_2M, kinds[i]), 0);
		CU_ASSERT_EQUAL(memmap_normalize(&map, UINT64_C(1) << 46), 0);
		CU_ASSERT_EQUAL(memmap_ram_end(&map), ram);
	}
}

static void slice_far(void *offset)
{
	struct segment s, part;

	if (segment_alloc(4, 1, FRAME_KERNEL, 0, &s) != 0)
		return;
	part = segment_slice(&s, *(uint64_t *)offset, *(uint64_t *)offset);
	segment_drop(&part);
}

/* #3587: an empty slice at a far offset, which wrapped into the segment, was handed out. */
static void test_slice_far_away(void)
{
	/* In frames; the last two come back to the segment when they are made bytes. */
	uint64_t offsets[] = { 5, UINT64_MAX, -UINT64_C(4), UINT64_C(1) << 52,
			       (UINT64_C(1) << 52) + 2 };

	arena_init(ARENA);
	for (unsigned i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++)
		CU_ASSERT_TRUE(panics(slice_far, &offsets[i], "of 4 frames"));
	arena_fini();
}

/* #3911: objects whose size does not divide a page came out of a slab unaligned, or across its end.
 * Each is aligned, in one page, of its own, and zero. */
static void test_objects_that_do_not_fit(void)
{
	static const uint8_t zeroes[PAGE_SIZE];
	void *objects[300];

	arena_init(ARENA);
	for (uint64_t size = 8; size <= PAGE_SIZE; size = size * 3 / 2 / 8 * 8 + 8) {
		struct pool p;

		pool_init(&p, size);
		CU_ASSERT_EQUAL_FATAL(pool_reserve(&p, 300), 0);
		for (unsigned i = 0; i < 300; i++) {
			uint64_t at;

			objects[i] = pool_get(&p);
			at = (uint64_t)objects[i];
			CU_ASSERT_EQUAL(at % 8, 0);
			CU_ASSERT_EQUAL(at / PAGE_SIZE, (at + size - 1) / PAGE_SIZE);
			CU_ASSERT_EQUAL(memcmp(objects[i], zeroes, size), 0);
			memset(objects[i], 0xa5, size);
		}
		for (unsigned i = 0; i < 300; i++)
			pool_put(&p, objects[i]);
		pool_fini(&p);
		CU_ASSERT_EQUAL(in_use(FRAME_KERNEL), 0);
	}
	arena_fini();
}

/* --- epochs --- */

static unsigned ended;

static void item_ends(struct epoch_item *item)
{
	(void)item;
	ended++;
}

/* #3895: the depth of nested sections had few bits; when it wrapped, the section ended early and
 * what it was looking at was freed. */
static void test_depth_does_not_wrap(void)
{
	const unsigned depths[] = { 255, 256, 65535, 65536, 100000 };
	struct epoch_item item;

	arena_init(ARENA);
	for (unsigned i = 0; i < 5; i++) {
		ended = 0;
		for (unsigned k = 0; k < depths[i]; k++)
			epoch_enter();
		CU_ASSERT_TRUE(epoch_inside());
		host_cpu = 1;
		epoch_defer(&item, item_ends);
		for (unsigned k = 0; k < 8; k++)
			epoch_poll();
		CU_ASSERT_EQUAL(ended, 0);
		host_cpu = 0;
		for (unsigned k = 1; k < depths[i]; k++)
			epoch_exit();
		host_cpu = 1;
		epoch_poll();
		CU_ASSERT_EQUAL(ended, 0);
		host_cpu = 0;
		epoch_exit();
		CU_ASSERT_FALSE(epoch_inside());
		host_cpu = 1;
		epoch_drain();
		CU_ASSERT_EQUAL(ended, 1);
		host_cpu = 0;
	}
	arena_fini();
}

/* --- kernel virtual areas --- */

/* [inferred] in OSTD: an area of size 0, an offset equal to the size, a failure half-way that kept
 * the addresses, and a query at the end, each went wrong in its own way. */
static void test_area_edges(void)
{
	struct kvirt_area *area;
	struct frame *f;
	struct pt_leaf leaf;
	uint64_t first;

	begin();
	area = new_area(1, &f);
	first = kvirt_start(area).hva;
	CU_ASSERT_EQUAL(kvirt_query(area, kvirt_end(area), &leaf), -ERANGE);
	CU_ASSERT_EQUAL(kvirt_query(area, hva(first - 1), &leaf), -ERANGE);
	CU_ASSERT_EQUAL(kvirt_query(area, hva(kvirt_end(area).hva - 1), &leaf), 0);
	CU_ASSERT_EQUAL(leaf.hpa.hpa, frame_hpa(f).hpa);
	kvirt_drop(area);
	settle();
	f = new_frame(FRAME_ORDER_4K, 2);
	CU_ASSERT_EQUAL(kvirt_map_frames(0, 0, &f, 1, RW, &area), -EINVAL);
	CU_ASSERT_EQUAL(kvirt_map_frames(PAGE_SIZE, PAGE_SIZE, &f, 1, RW, &area), -ERANGE);
	CU_ASSERT_EQUAL(kvirt_map_frames(-PAGE_SIZE, 0, &f, 1, RW, &area), -ENOSPC);
	for (int64_t skip = 0; skip < 3; skip++) {
		frame_alloc_fail_after(skip);
		if (kvirt_map_frames(4 * SIZE_2M, 3 * SIZE_2M, &f, 1, RW, &area) == 0) {
			frame_get(f);
			kvirt_drop(area);
			settle();
		}
		frame_alloc_fail_after(-1);
		CU_ASSERT_EQUAL(frame_refs(f), 1);
	}
	/* No address has been lost: the next area is where the first one was. */
	CU_ASSERT_EQUAL_FATAL(kvirt_map_frames(PAGE_SIZE, 0, &f, 1, RW, &area), 0);
	CU_ASSERT_EQUAL(kvirt_start(area).hva, first);
	kvirt_drop(area);
	end();
}

static unsigned interrupted, under_lock;

/* An NMI that asks for a flush strikes every CPU, this one too, at each store to a table. */
static void nmi_at_store(const volatile void *entry, uint64_t raw)
{
	(void)entry;
	(void)raw;
	interrupted++;
	under_lock += lock_held() != 0;
	for (unsigned cpu = 0; cpu < CPUS; cpu++)
		flush_on(cpu);
}

/* #1602, 5313689d6: an interrupt struck while the queue of flushes was locked, and its handler
 * waited for that lock. Here the handler takes none: it strikes in the middle of everything. */
static void test_flush_in_the_middle(void)
{
	struct kvirt_area *areas[8];
	struct frame *f;

	begin();
	interrupted = under_lock = 0;
	host_pt_store = nmi_at_store;
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 8; i++) {
			areas[i] = new_area(round * 8 + i + 1, &f);
			CU_ASSERT_EQUAL(read_on(1, kvirt_start(areas[i]).hva), round * 8 + i + 1);
		}
		for (unsigned i = 0; i < 8; i++) {
			uint64_t at = kvirt_start(areas[i]).hva;

			kvirt_drop(areas[i]);
			flush_on(1);
			CU_ASSERT_EQUAL(read_on(1, at), 0);
			kvirt_reap(1);
		}
		settle();
	}
	host_pt_store = NULL;
	CU_ASSERT(interrupted > 64 && under_lock > 64);
	end();
}

void suite_scenarios_frames(void);
void suite_scenarios_frames(void)
{
	CU_pSuite s = CU_add_suite("scenarios: frames, areas, epochs", NULL, NULL);

	CU_add_test(s, "last frame", test_last_frame);
	CU_add_test(s, "device above RAM", test_device_above_ram);
	CU_add_test(s, "slice far away", test_slice_far_away);
	CU_add_test(s, "objects that do not fit", test_objects_that_do_not_fit);
	CU_add_test(s, "depth does not wrap", test_depth_does_not_wrap);
	CU_add_test(s, "area edges", test_area_edges);
	CU_add_test(s, "flush in the middle", test_flush_in_the_middle);
}
