/* SPDX-License-Identifier: MPL-2.0 */
/* Listing a guest's mappings while they change, and taking marks off. */
#include <CUnit/CUnit.h>
#include <pthread.h>
#include <sched.h>

#include "base/err.h"
#include "ept/stage2.h"
#include "hv/console/sweep.h"
#include "mm/frame_alloc.h"
#include "tests/host/arena.h"

#define SEEN_MAX 2048

static struct seen {
	struct pt_leaf leaves[SEEN_MAX];
	unsigned count;
} seen;

static void see(void *context, const struct pt_leaf *leaf)
{
	struct seen *s = context;

	CU_ASSERT_FATAL(s->count < SEEN_MAX);
	CU_ASSERT_FALSE(epoch_inside());
	s->leaves[s->count++] = *leaf;
}

static unsigned swept(struct vm_space *space, uint64_t from, uint64_t to)
{
	seen.count = 0;
	CU_ASSERT_EQUAL(sweep(space, from, to, see, &seen), 0);
	for (unsigned i = 1; i < seen.count; i++)
		CU_ASSERT(seen.leaves[i].va >= seen.leaves[i - 1].va + seen.leaves[i - 1].size);
	return seen.count;
}

static unsigned swept_marks(struct vm_space *space, uint64_t to, pt_attr_t marks)
{
	seen.count = 0;
	CU_ASSERT_EQUAL(sweep_marks(space, 0, to, marks, see, &seen), 0);
	return seen.count;
}

static void map_at(struct vm_space *space, uint64_t at, unsigned order)
{
	uint64_t size = PAGE_SIZE << order;
	struct frame *f = frame_alloc(order, FRAME_GUEST, 0);
	struct vm_cursor c;

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_EQUAL_FATAL(vm_cursor_open(&c, space, gpa(at), gpa(at + size), VM_CHANGE), 0);
	CU_ASSERT_EQUAL_FATAL(vm_map(&c, f, PT_RWX | PT_MEM_WB), 0);
	vm_cursor_close(&c);
}

static void mark_at(struct vm_space *space, uint64_t at, pt_attr_t marks)
{
	epoch_enter();
	CU_ASSERT_TRUE(vm_mark(space, gpa(at), marks));
	epoch_exit();
}

static void space_begin(struct vm_space *space)
{
	arena_init(UINT64_C(64) << 20);
	npt_setup(true, 46);
	CU_ASSERT_EQUAL_FATAL(vm_space_init(space, &npt_ops), 0);
}

static void space_end(struct vm_space *space)
{
	vm_space_destroy(space);
	epoch_drain();
	arena_fini();
}

#define TOP (npt_ops.limits->va_last + 1)

static void test_sweep(void)
{
	static const uint64_t small[] = {
		0, 0x1000, 0x1ff000, 0x345000, 0x40000000, 0x7fffff000000
	};
	struct vm_space space;

	space_begin(&space);
	CU_ASSERT_EQUAL(swept(&space, 0, TOP), 0);
	for (unsigned i = 0; i < 6; i++)
		map_at(&space, small[i], FRAME_ORDER_4K);
	map_at(&space, TOP - 0x1000, FRAME_ORDER_4K);
	map_at(&space, 0x40200000, FRAME_ORDER_2M);
	CU_ASSERT_EQUAL(swept(&space, 0, TOP), 8);
	for (unsigned i = 0; i < 5; i++)
		CU_ASSERT_EQUAL(seen.leaves[i].va, small[i]);
	CU_ASSERT(seen.leaves[5].va == 0x40200000 && seen.leaves[5].size == SIZE_2M);
	CU_ASSERT_EQUAL(seen.leaves[6].va, small[5]);
	CU_ASSERT_EQUAL(seen.leaves[7].va, TOP - 0x1000);
	/* Half-open ranges; a large page that the range cuts is shown whole, and once. */
	CU_ASSERT_EQUAL(swept(&space, 0x1000, 0x1ff000), 1);
	CU_ASSERT_EQUAL(swept(&space, 0x2000, 0x1ff000), 0);
	CU_ASSERT_EQUAL(swept(&space, 0x1000, 0x1000), 0);
	CU_ASSERT_EQUAL(swept(&space, 0x40201000, 0x40202000), 1);
	CU_ASSERT(seen.leaves[0].va == 0x40200000 && seen.leaves[0].size == SIZE_2M);
	CU_ASSERT_EQUAL(swept(&space, 0x401ff000, 0x40401000), 1);
	/* From the middle of a hole. */
	CU_ASSERT_EQUAL(swept(&space, 0x401000, TOP), 4);
	CU_ASSERT_EQUAL(seen.leaves[0].va, 0x40000000);
	space_end(&space);
}

/* More than fits into a piece, none twice and none forgotten. */
static void test_sweep_full(void)
{
	struct vm_space space;

	space_begin(&space);
	for (unsigned i = 0; i < 1500; i++)
		map_at(&space, 0x1ff000 + i * PAGE_SIZE, FRAME_ORDER_4K);
	CU_ASSERT_EQUAL_FATAL(swept(&space, 0, TOP), 1500);
	for (unsigned i = 0; i < 1500; i++)
		CU_ASSERT_EQUAL(seen.leaves[i].va, 0x1ff000 + i * PAGE_SIZE);
	space_end(&space);
}

static void test_sweep_marks(void)
{
	struct vm_space space;
	struct pt_leaf leaf;
	uint64_t generation;

	space_begin(&space);
	for (unsigned i = 0; i < 1000; i++)
		map_at(&space, 0x1ff000 + i * PAGE_SIZE, FRAME_ORDER_4K);
	map_at(&space, 0x40200000, FRAME_ORDER_2M);
	/* Nothing is marked: nothing to show, nothing to flush. */
	generation = atomic_load(&space.pt.tlb.generation);
	CU_ASSERT_EQUAL(swept_marks(&space, TOP, PT_DIRTY), 0);
	CU_ASSERT_EQUAL(atomic_load(&space.pt.tlb.generation), generation);
	for (unsigned i = 0; i < 1000; i++)
		mark_at(&space, 0x1ff000 + i * PAGE_SIZE, PT_ACCESSED | (i % 2 ? PT_DIRTY : 0));
	mark_at(&space, 0x40234000, PT_DIRTY);
	CU_ASSERT_EQUAL(swept_marks(&space, TOP, PT_DIRTY), 501);
	CU_ASSERT_EQUAL(seen.leaves[0].va, 0x200000);
	CU_ASSERT(seen.leaves[500].va == 0x40200000 && seen.leaves[500].size == SIZE_2M);
	CU_ASSERT(seen.leaves[0].attr & PT_DIRTY);
	CU_ASSERT(atomic_load(&space.pt.tlb.generation) > generation);
	/* Taken off, and only that one; large pages stay large. */
	CU_ASSERT_EQUAL(swept_marks(&space, TOP, PT_DIRTY), 0);
	CU_ASSERT_EQUAL(swept_marks(&space, TOP, PT_ACCESSED), 1000);
	CU_ASSERT_EQUAL(swept(&space, 0, TOP), 1001);
	CU_ASSERT_EQUAL(seen.leaves[1000].size, SIZE_2M);
	mark_at(&space, 0x1ff000, PT_DIRTY);
	CU_ASSERT_EQUAL(swept_marks(&space, TOP, PT_DIRTY), 1);
	CU_ASSERT_EQUAL(seen.leaves[0].va, 0x1ff000);
	epoch_enter();
	CU_ASSERT_TRUE(vm_translate(&space, gpa(0x1ff000), &leaf));
	epoch_exit();
	CU_ASSERT_EQUAL(leaf.attr & (PT_DIRTY | PT_RWX), PT_RWX);
	space_end(&space);
}

/* The largest pages are taken in one piece, and stay in one. */
static void test_sweep_marks_large(void)
{
	struct vm_space space;
	struct vm_cursor c;

	space_begin(&space);
	CU_ASSERT_EQUAL_FATAL(vm_cursor_open(&c, &space, gpa(SIZE_1G), gpa(2 * SIZE_1G), VM_CHANGE),
			      0);
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(4 * SIZE_1G), SIZE_1G, PT_RW | PT_MEM_UC), 0);
	vm_cursor_close(&c);
	mark_at(&space, SIZE_1G + 0x1234000, PT_DIRTY | PT_ACCESSED);
	CU_ASSERT_EQUAL(swept_marks(&space, TOP, PT_DIRTY), 1);
	CU_ASSERT(seen.leaves[0].va == SIZE_1G && seen.leaves[0].size == SIZE_1G);
	CU_ASSERT_EQUAL(swept(&space, SIZE_1G + 0x5000, SIZE_1G + 0x6000), 1);
	CU_ASSERT(seen.leaves[0].va == SIZE_1G && seen.leaves[0].size == SIZE_1G);
	CU_ASSERT_EQUAL(seen.leaves[0].attr & (PT_ACCESSED | PT_DIRTY), PT_ACCESSED);
	space_end(&space);
}

/* A copy under way when its page's mark is taken off has ended when the sweep returns. */
static struct vm_space copied;
static _Atomic bool swept_all;

static void *sweep_elsewhere(void *nothing)
{
	host_cpu = 1;
	CU_ASSERT_EQUAL(swept_marks(&copied, TOP, PT_DIRTY), 1);
	atomic_store(&swept_all, true);
	return nothing;
}

static bool dirty(void)
{
	struct pt_leaf leaf = { 0 };

	CU_ASSERT_TRUE(vm_translate(&copied, gpa(0x5000), &leaf));
	return (leaf.attr & PT_DIRTY) != 0;
}

static void test_waits_for_copies(void)
{
	pthread_t sweeper;

	space_begin(&copied);
	map_at(&copied, 0x5000, FRAME_ORDER_4K);
	mark_at(&copied, 0x5000, PT_DIRTY);
	atomic_store(&swept_all, false);
	epoch_enter();
	pthread_create(&sweeper, NULL, sweep_elsewhere, NULL);
	while (dirty())
		sched_yield();
	for (unsigned i = 0; i < 1000; i++)
		sched_yield();
	CU_ASSERT_FALSE(atomic_load(&swept_all));
	epoch_exit();
	pthread_join(sweeper, NULL);
	CU_ASSERT_TRUE(atomic_load(&swept_all));
	space_end(&copied);
}

void suite_sweep(void);
void suite_sweep(void)
{
	CU_pSuite s = CU_add_suite("sweep", NULL, NULL);

	CU_add_test(s, "sweep", test_sweep);
	CU_add_test(s, "sweep_full", test_sweep_full);
	CU_add_test(s, "sweep_marks", test_sweep_marks);
	CU_add_test(s, "sweep_marks_large", test_sweep_marks_large);
	CU_add_test(s, "waits for copies", test_waits_for_copies);
}
