/* SPDX-License-Identifier: MPL-2.0 */
/* The operations of a cursor on many pages: each good case, each error, each panic. */
#include <stdio.h>

#include "base/err.h"
#include "mm/frame_block.h"
#include "tests/host/arena.h"
#include "tests/unit/space.h"

#define WB_RO  (PT_READ | PT_MEM_WB)
#define DEVICE (UINT64_C(64) << 30)

static void untracked(uint64_t at, uint64_t to, uint64_t len, pt_attr_t attr)
{
	struct vm_cursor c;

	open_at(&c, at, len, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(to), len, attr), 0);
	vm_cursor_close(&c);
}

/* --- next ------------------------------------------------------------------------------------- */

static void test_next(void)
{
	struct vm_cursor c;
	struct pt_leaf leaf;

	untracked(0x3000, DEVICE + 0x3000, 2 * PAGE_SIZE, WB_RW);
	untracked(2 * SIZE_2M, DEVICE + 2 * SIZE_2M, SIZE_2M, WB_RO);
	open_at(&c, 0, 3 * SIZE_2M, VM_READ);
	CU_ASSERT_TRUE(vm_next(&c, SIZE_2M, &leaf));
	CU_ASSERT_EQUAL(leaf.va, 0x3000);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, 0x4000);
	CU_ASSERT_TRUE(vm_next(&c, SIZE_2M, &leaf));
	CU_ASSERT_EQUAL(leaf.va, 0x4000);
	CU_ASSERT_EQUAL(leaf.hpa.hpa, DEVICE + 0x4000);
	/* Nothing more in so many bytes: it stands exactly behind them. */
	CU_ASSERT_FALSE(vm_next(&c, PAGE_SIZE, &leaf));
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, 0x6000);
	CU_ASSERT_TRUE(vm_next(&c, 3 * SIZE_2M - 0x6000, &leaf));
	CU_ASSERT_EQUAL(leaf.size, SIZE_2M);
	CU_ASSERT_EQUAL(leaf.attr, WB_RO);
	CU_ASSERT_FALSE(vm_next(&c, 0, &leaf));
	vm_cursor_close(&c);
}

/* A page that reaches beyond the length is told whole; the cursor stays within it. */
static void test_next_clipped(void)
{
	struct vm_cursor c;
	struct pt_leaf leaf;

	untracked(0, DEVICE, SIZE_2M, WB_RW);
	open_at(&c, 0x5000, 0x10000, VM_READ);
	CU_ASSERT_TRUE(vm_next(&c, 0x3000, &leaf));
	CU_ASSERT_EQUAL(leaf.va, 0);
	CU_ASSERT_EQUAL(leaf.size, SIZE_2M);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, 0x8000);
	vm_cursor_close(&c);
}

/* --- map_frames ------------------------------------------------------------------------------- */

static void test_map_frames(void)
{
	const unsigned orders[] = { 0, 0, 0, FRAME_ORDER_2M, 0 };
	uint64_t at = SIZE_2M - 3 * PAGE_SIZE, done;
	struct frame *f[5];
	struct vm_cursor c;
	struct pt_leaf leaf;

	for (unsigned i = 0; i < 5; i++)
		f[i] = guest_block(orders[i]);
	open_at(&c, at, 3 * SIZE_2M, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_map_frames(&c, f, 5, WB_RW, &done), 0);
	CU_ASSERT_EQUAL(done, 5);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, 2 * SIZE_2M + PAGE_SIZE);
	CU_ASSERT_EQUAL(vm_map_frames(&c, f, 0, WB_RW, &done), 0);
	CU_ASSERT_EQUAL(done, 0);
	vm_cursor_close(&c);
	for (unsigned i = 0; i < 5; i++) {
		CU_ASSERT_TRUE(look(at, &leaf));
		CU_ASSERT_EQUAL(leaf.hpa.hpa, frame_hpa(f[i]).hpa);
		CU_ASSERT_EQUAL(leaf.size, frame_size(f[i]));
		CU_ASSERT_EQUAL(leaf.attr, WB_RW | PT_TRACKED);
		CU_ASSERT_EQUAL(frame_refs(f[i]), 1);
		at += leaf.size;
	}
}

/* What it meets is replaced and given back, more than the ledger holds. */
static void test_map_frames_replaces(void)
{
	struct frame *f[200];
	struct vm_cursor c;
	uint64_t done;

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 200; i++)
			f[i] = guest_block(0);
		open_at(&c, 0, SIZE_2M, VM_CHANGE);
		CU_ASSERT_EQUAL(vm_map_frames(&c, f, 200, WB_RW, &done), 0);
		CU_ASSERT_EQUAL(done, 200);
		vm_cursor_close(&c);
	}
	epoch_drain();
	CU_ASSERT_EQUAL(in_use(FRAME_GUEST), 200 * PAGE_SIZE);
}

/* An error stops at the block that it is about; those before it are mapped, the others ours. */
static void test_map_frames_errors(void)
{
	struct frame *f[3] = { guest_block(0), guest_block(FRAME_ORDER_2M), guest_block(0) };
	struct vm_cursor c;
	uint64_t done;

	open_at(&c, 0, 4 * SIZE_2M, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_map_frames(&c, f, 3, WB_RW, &done), -EINVAL); /* not aligned there */
	CU_ASSERT_EQUAL(done, 1);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, PAGE_SIZE);
	vm_cursor_close(&c);
	open_at(&c, SIZE_2M, PAGE_SIZE, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_map_frames(&c, f + 1, 1, WB_RW, &done), -ERANGE);
	CU_ASSERT_EQUAL(done, 0);
	if (ops->limits->name[0] != 'f') /* the fake format can express everything */
		CU_ASSERT_EQUAL(vm_map_frames(&c, f + 2, 1, PT_WRITE | PT_MEM_WB, &done), -EINVAL);
	CU_ASSERT_EQUAL(done, 0);
	vm_cursor_close(&c);
	frame_put(f[1]);
	frame_put(f[2]);
}

/* --- map_new ---------------------------------------------------------------------------------- */

/* Two vCPUs that fault on one large page: the second one's small page must not split it, nor fail
 * for want of a table to split it with. */
static void test_map_new_under_a_large_page(void)
{
	struct frame *f = guest_block(0);
	struct vm_cursor c;
	struct pt_leaf leaf;
	uint64_t tables;

	map_fresh(SIZE_2M, FRAME_ORDER_2M, WB_RW);
	tables = in_use(FRAME_STAGE2_TABLE);
	for (unsigned i = 0; i < 2; i++) {
		open_at(&c, SIZE_2M + i * PAGE_SIZE, PAGE_SIZE, VM_CHANGE);
		frame_alloc_fail_after(i == 0 ? -1 : 0);
		CU_ASSERT_EQUAL(vm_map_new(&c, f, WB_RW), -EEXIST);
		frame_alloc_fail_after(-1);
		vm_cursor_close(&c);
	}
	frame_put(f);
	CU_ASSERT_TRUE(look(SIZE_2M, &leaf));
	CU_ASSERT_EQUAL(leaf.size, SIZE_2M);
	CU_ASSERT_EQUAL(in_use(FRAME_STAGE2_TABLE), tables);
}

/* --- take_next -------------------------------------------------------------------------------- */

static void test_take_next(void)
{
	struct pt_fragment f;
	struct vm_cursor c;
	hpa_t where;

	where = map_fresh(0x5000, 0, WB_RW);
	untracked(SIZE_2M, DEVICE, 3 * PAGE_SIZE, WB_RO);
	untracked(2 * SIZE_2M, DEVICE + 2 * SIZE_2M, SIZE_2M, WB_RW);
	open_at(&c, 0x5000, 3 * SIZE_2M - 0x5000, VM_CHANGE);
	/* A page of a table that is only partly in the range. */
	CU_ASSERT_EQUAL(vm_take_next(&c, 3 * SIZE_2M - 0x5000, &f), 0);
	CU_ASSERT(!f.table && f.va == 0x5000 && f.size == PAGE_SIZE && f.pages == 1);
	CU_ASSERT(f.hpa.hpa == where.hpa && f.attr == (WB_RW | PT_TRACKED));
	/* A whole table. */
	CU_ASSERT_EQUAL(vm_take_next(&c, 3 * SIZE_2M - 0x6000, &f), 0);
	CU_ASSERT(f.table && f.va == SIZE_2M && f.size == SIZE_2M && f.pages == 3);
	CU_ASSERT(f.hpa.hpa == 0 && f.attr == 0);
	/* A large page, of which only the first half is asked for: split. */
	CU_ASSERT_EQUAL(vm_take_next(&c, SIZE_2M / 2, &f), 0);
	CU_ASSERT(!f.table && f.va == 2 * SIZE_2M && f.size == PAGE_SIZE && f.pages == 1);
	CU_ASSERT_EQUAL(f.hpa.hpa, DEVICE + 2 * SIZE_2M);
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(3 * SIZE_2M - PAGE_SIZE)), 0);
	CU_ASSERT_EQUAL(vm_take_next(&c, PAGE_SIZE, &f), 0);
	CU_ASSERT_EQUAL(vm_take_next(&c, 0, &f), -ENOENT);
	vm_cursor_close(&c);
	epoch_drain();
	CU_ASSERT_EQUAL(in_use(FRAME_GUEST), 0);
	CU_ASSERT_EQUAL(unmap_now(0, 4 * SIZE_2M), 510);
}

static void test_take_nothing(void)
{
	struct pt_fragment f;
	struct vm_cursor c;

	open_at(&c, 0, SIZE_1G, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_take_next(&c, SIZE_2M, &f), -ENOENT);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, SIZE_2M);
	vm_cursor_close(&c);
}

/* --- protect ---------------------------------------------------------------------------------- */

static void test_protect(void)
{
	struct vm_cursor c;
	struct pt_leaf leaf;
	uint64_t pages;

	untracked(0, DEVICE, 2 * SIZE_2M, WB_RW | PT_ACCESSED | PT_DIRTY);
	untracked(2 * SIZE_2M, DEVICE, 5 * PAGE_SIZE, WB_RW);
	open_at(&c, SIZE_2M - PAGE_SIZE, 4 * SIZE_2M, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_protect(&c, 2 * SIZE_2M, WB_RO, &pages), 0);
	CU_ASSERT_EQUAL(pages, 1 + 512 + 5);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, 3 * SIZE_2M - PAGE_SIZE);
	vm_cursor_close(&c);
	CU_ASSERT(look(SIZE_2M - 2 * PAGE_SIZE, &leaf));
	CU_ASSERT_EQUAL(leaf.attr, WB_RW | PT_ACCESSED | PT_DIRTY);
	CU_ASSERT_EQUAL(leaf.size, PAGE_SIZE);
	CU_ASSERT(look(SIZE_2M - PAGE_SIZE, &leaf));
	CU_ASSERT_EQUAL(leaf.attr, WB_RO | PT_ACCESSED | PT_DIRTY);
	CU_ASSERT(look(SIZE_2M, &leaf));
	CU_ASSERT_EQUAL(leaf.size, SIZE_2M);
	CU_ASSERT_EQUAL(leaf.attr, WB_RO | PT_ACCESSED | PT_DIRTY);
	CU_ASSERT(look(2 * SIZE_2M + 4 * PAGE_SIZE, &leaf));
	CU_ASSERT_EQUAL(leaf.attr, WB_RO);
}

/* A gigabyte of which only a part is protected, that is in 2 MiB pages: by the bits of their level.
 */
static void test_protect_splits_by_level(void)
{
	struct vm_cursor c;
	struct pt_leaf leaf;
	uint64_t pages;

	untracked(SIZE_1G, DEVICE, SIZE_1G, WB_RW);
	open_at(&c, SIZE_1G + SIZE_2M, SIZE_2M, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_protect(&c, SIZE_2M, WB_RO, &pages), 0);
	CU_ASSERT_EQUAL(pages, 512);
	vm_cursor_close(&c);
	CU_ASSERT_TRUE(look(SIZE_1G + SIZE_2M, &leaf));
	CU_ASSERT_EQUAL(leaf.size, SIZE_2M);
	CU_ASSERT_EQUAL(leaf.attr, WB_RO);
	CU_ASSERT_TRUE(look(SIZE_1G, &leaf));
	CU_ASSERT_EQUAL(leaf.attr, WB_RW);
}

/* Only what takes something away is flushed. */
static void test_protect_flushes(void)
{
	uint64_t generation, pages;
	struct vm_cursor c;

	for (unsigned size = 0; size < 2; size++) {
		uint64_t len = size ? SIZE_2M : 7 * PAGE_SIZE;

		untracked(0, DEVICE, len, WB_RO);
		for (unsigned step = 0; step < 3; step++) {
			static const pt_attr_t to[] = { WB_RW, WB_RW, WB_RO };

			tlb_enter(&space.pt.tlb);
			tlb_leave(&space.pt.tlb);
			generation = atomic_load(&space.pt.tlb.generation);
			open_at(&c, 0, len, VM_CHANGE);
			CU_ASSERT_EQUAL(vm_protect(&c, len, to[step], &pages), 0);
			CU_ASSERT_EQUAL(pages, len / PAGE_SIZE);
			vm_cursor_close(&c);
			CU_ASSERT_EQUAL(atomic_load(&space.pt.tlb.generation) != generation,
					step == 2);
		}
		CU_ASSERT_EQUAL(unmap_now(0, SIZE_2M), len / PAGE_SIZE);
	}
}

static void test_protect_refuses(void)
{
	struct vm_cursor c;
	struct pt_leaf leaf;
	uint64_t pages = 77;

	if (ops->limits->name[0] == 'f')
		return;
	untracked(0, DEVICE, SIZE_2M, WB_RW);
	open_at(&c, 0, SIZE_2M, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_protect(&c, SIZE_2M, PT_WRITE | PT_MEM_WB, &pages), -EINVAL);
	CU_ASSERT_EQUAL(pages, 0);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, 0);
	vm_cursor_close(&c);
	CU_ASSERT(look(0, &leaf));
	CU_ASSERT_EQUAL(leaf.attr, WB_RW);
}

/* --- collapse --------------------------------------------------------------------------------- */

static void split_by_protect(uint64_t at)
{
	struct vm_cursor c;
	struct pt_leaf old;

	for (unsigned i = 0; i < 2; i++) {
		open_at(&c, at, PAGE_SIZE, VM_CHANGE);
		CU_ASSERT_EQUAL(vm_protect_next(&c, PAGE_SIZE, i == 0 ? WB_RO : WB_RW, &old), 0);
		vm_cursor_close(&c);
	}
}

static int collapse_at(uint64_t at, uint64_t size)
{
	struct vm_cursor c;
	int err;

	open_at(&c, at, size, VM_CHANGE);
	err = vm_collapse(&c, size);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, err == 0 ? at + size : at);
	vm_cursor_close(&c);
	return err;
}

/* A block that was split comes back: one page, one reference, the marks of all. */
static void test_collapse_block(void)
{
	struct frame *f = guest_block(FRAME_ORDER_2M);
	struct vm_cursor c;
	struct pt_leaf leaf;

	open_at(&c, SIZE_2M, SIZE_2M, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_map(&c, f, WB_RW), 0);
	vm_cursor_close(&c);
	split_by_protect(SIZE_2M + 0x7000);
	CU_ASSERT_EQUAL(frame_refs(f), 512);
	epoch_enter();
	vm_mark(&space, gpa(SIZE_2M + 0x9000), PT_ACCESSED | PT_DIRTY);
	epoch_exit();
	CU_ASSERT_EQUAL(collapse_at(SIZE_2M, SIZE_2M), 0);
	CU_ASSERT_EQUAL(frame_refs(f), 1);
	CU_ASSERT(look(SIZE_2M + 0x1234, &leaf));
	CU_ASSERT_EQUAL(leaf.size, SIZE_2M);
	CU_ASSERT_EQUAL(leaf.hpa.hpa, frame_hpa(f).hpa);
	CU_ASSERT_EQUAL(leaf.attr, WB_RW | PT_TRACKED | PT_ACCESSED | PT_DIRTY);
	epoch_drain();
	CU_ASSERT_EQUAL(collapse_at(SIZE_2M, SIZE_2M), -ENOENT); /* is one already */
}

/* Lock-free walkers that are in the table when it goes still find what is true. (Found by
 * exploring the protocol: the table was emptied under them.) */
static void test_collapse_under_walkers(void)
{
	struct pt_step before[PT_MAX_LEVELS];
	struct pt_leaf leaf;
	unsigned n;

	untracked(0, DEVICE, SIZE_2M, WB_RW);
	split_by_protect(0);
	epoch_enter();
	n = vm_walk(&space, gpa(0x7000), before);
	CU_ASSERT_EQUAL(before[n - 1].level, 1);
	CU_ASSERT_EQUAL(collapse_at(0, SIZE_2M), 0);
	CU_ASSERT_EQUAL(((uint64_t *)hpa_ptr(before[n - 1].table))[before[n - 1].index],
			before[n - 1].raw);
	CU_ASSERT(look(0x7000, &leaf));
	CU_ASSERT_EQUAL(leaf.size, SIZE_2M);
	epoch_exit();
	epoch_drain();
}

/* Frames of their own become one block, unless somebody else holds one. */
static void test_collapse_frames(void)
{
	struct frame *f = guest_block(FRAME_ORDER_2M), *part[512];
	struct vm_cursor c;
	struct pt_leaf leaf;
	uint64_t done;

	CU_ASSERT_EQUAL_FATAL(frame_split(f), 0);
	for (unsigned i = 0; i < 512; i++)
		part[i] = f + i;
	open_at(&c, SIZE_2M, SIZE_2M, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_map_frames(&c, part, 512, WB_RW, &done), 0);
	vm_cursor_close(&c);
	frame_get(part[77]);
	CU_ASSERT_EQUAL(collapse_at(SIZE_2M, SIZE_2M), -EBUSY);
	CU_ASSERT(look(SIZE_2M, &leaf));
	CU_ASSERT_EQUAL(leaf.size, PAGE_SIZE);
	for (unsigned i = 0; i < 512; i++)
		CU_ASSERT_EQUAL(frame_refs(part[i]), 1 + (i == 77));
	frame_put(part[77]);
	CU_ASSERT_EQUAL(collapse_at(SIZE_2M, SIZE_2M), 0);
	CU_ASSERT(look(SIZE_2M, &leaf));
	CU_ASSERT_EQUAL(leaf.size, SIZE_2M);
	CU_ASSERT_EQUAL(frame_size(f), SIZE_2M);
	CU_ASSERT_EQUAL(frame_refs(f), 1);
	CU_ASSERT_PTR_EQUAL(frame_head(part[77]), f);
}

/* 2 MiB pages to a gigabyte, and small ones to both sizes. */
static void test_collapse_gigabyte(void)
{
	struct pt_leaf leaf;

	untracked(SIZE_1G, DEVICE, SIZE_1G, WB_RW);
	split_by_protect(SIZE_1G + 5 * SIZE_2M + 0x3000);
	CU_ASSERT_EQUAL(collapse_at(SIZE_1G, SIZE_1G), -ENOENT); /* one of them is a table */
	CU_ASSERT_EQUAL(collapse_at(SIZE_1G + 5 * SIZE_2M, SIZE_2M), 0);
	CU_ASSERT_EQUAL(collapse_at(SIZE_1G, SIZE_1G), 0);
	CU_ASSERT(look(SIZE_1G + 1, &leaf));
	CU_ASSERT_EQUAL(leaf.size, SIZE_1G);
	CU_ASSERT_EQUAL(leaf.hpa.hpa, DEVICE);
}

static void test_collapse_refuses(void)
{
	struct vm_cursor c;
	struct pt_leaf leaf;

	CU_ASSERT_EQUAL(collapse_at(0, SIZE_2M), -ENOENT); /* nothing there */
	untracked(0, DEVICE, SIZE_2M, WB_RW);
	CU_ASSERT_EQUAL(collapse_at(0, SIZE_2M), -ENOENT); /* large already */
	split_by_protect(0);
	CU_ASSERT_EQUAL(collapse_at(0, PAGE_SIZE), -EINVAL);
	CU_ASSERT_EQUAL(collapse_at(0, 3 * PAGE_SIZE), -EINVAL);
	open_at(&c, 0, SIZE_2M, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(PAGE_SIZE)), 0);
	CU_ASSERT_EQUAL(vm_collapse(&c, SIZE_2M), -EINVAL); /* not aligned */
	vm_cursor_close(&c);
	open_at(&c, 0, SIZE_2M - PAGE_SIZE, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_collapse(&c, SIZE_2M), -ERANGE);
	vm_cursor_close(&c);
	/* One page has other rights; is another page's memory; is missing. */
	untracked(0x9000, DEVICE + 0x9000, PAGE_SIZE, WB_RO);
	CU_ASSERT_EQUAL(collapse_at(0, SIZE_2M), -ENOENT);
	untracked(0x9000, DEVICE + 0xa000, PAGE_SIZE, WB_RW);
	CU_ASSERT_EQUAL(collapse_at(0, SIZE_2M), -ENOENT);
	CU_ASSERT_EQUAL(unmap_now(0x9000, PAGE_SIZE), 1);
	CU_ASSERT_EQUAL(collapse_at(0, SIZE_2M), -ENOENT);
	untracked(0x9000, DEVICE + 0x9000, PAGE_SIZE, WB_RW);
	CU_ASSERT(look(0x9000, &leaf));
	CU_ASSERT_EQUAL(leaf.size, PAGE_SIZE);
	CU_ASSERT_EQUAL(collapse_at(0, SIZE_2M), 0);
	/* Neighbours, but from an odd place on. */
	untracked(2 * SIZE_2M, DEVICE + PAGE_SIZE, SIZE_2M, WB_RW);
	CU_ASSERT_EQUAL(collapse_at(2 * SIZE_2M, SIZE_2M), -ENOENT);
}

/* --- panics ----------------------------------------------------------------------------------- */

static void misuse(void *what)
{
	struct pt_fragment f;
	struct vm_cursor c;
	struct pt_leaf leaf;
	uint64_t pages;

	open_at(&c, 0, SIZE_2M, *(int *)what < 4 ? VM_READ : VM_CHANGE);
	switch (*(int *)what) {
	case 0:
		vm_protect(&c, PAGE_SIZE, WB_RO, &pages);
		break;
	case 1:
		vm_take_next(&c, PAGE_SIZE, &f);
		break;
	case 2:
		vm_collapse(&c, SIZE_2M);
		break;
	case 3:
		vm_next(&c, 2 * SIZE_2M, &leaf);
		break;
	case 4:
		vm_protect(&c, PAGE_SIZE + 1, WB_RO, &pages);
		break;
	case 5:
		vm_take_next(&c, 2 * SIZE_2M, &f);
		break;
	default:
		vm_unmap(&c, 2 * SIZE_2M, &pages);
	}
}

/* A block that no leaf maps. */
static void odd_block(void *context)
{
	struct frame *f = guest_block(3);
	struct vm_cursor c;
	uint64_t done;

	(void)context;
	open_at(&c, 0, SIZE_1G, VM_CHANGE);
	vm_map_frames(&c, &f, 1, WB_RW, &done);
}

static void test_misuse(void)
{
	for (int i = 0; i < 7; i++)
		if (!panics(misuse, &i, i < 3 ? "c->change" : "len"))
			CU_FAIL("misuse does not panic");
	CU_ASSERT_TRUE(panics(odd_block, NULL, "order % 9 == 0"));
}

#define EACH(name)                    \
	static void each_##name(void) \
	{                             \
		on_each(test_##name); \
	}
#define ALL(X)                        \
	X(next)                       \
	X(next_clipped)               \
	X(map_frames)                 \
	X(map_frames_replaces)        \
	X(map_frames_errors)          \
	X(take_next)                  \
	X(take_nothing)               \
	X(map_new_under_a_large_page) \
	X(protect_splits_by_level)    \
	X(protect)                    \
	X(protect_flushes)            \
	X(protect_refuses)            \
	X(collapse_under_walkers)     \
	X(collapse_frames)            \
	X(collapse_block)             \
	X(collapse_gigabyte)          \
	X(collapse_refuses)           \
	X(misuse)

ALL(EACH)

void suite_vm_ranges(void);
void suite_vm_ranges(void)
{
	CU_pSuite s = CU_add_suite("vm_ranges", NULL, NULL);

#define ADD(name) CU_add_test(s, #name, each_##name);
	ALL(ADD)
}
