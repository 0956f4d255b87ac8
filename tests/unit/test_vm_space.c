/* SPDX-License-Identifier: MPL-2.0 */
/* VmSpace and its cursors, over each format. The names of scenarios say which bug they remember. */
#include <CUnit/CUnit.h>
#include <stdio.h>

#include "base/contract.h"
#include "base/err.h"
#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "mm/pt_ops.h"
#include "mm/vm_space.h"
#include "tests/host/arena.h"
#include "tests/unit/fake_pt.h"
#include "tests/unit/space.h"

static void test_open_refuses(void)
{
	struct vm_cursor c;
	uint64_t top = ops->limits->va_last + 1;

	CU_ASSERT_EQUAL(vm_cursor_open(&c, &space, gpa(0x1000), gpa(0x1000), VM_READ), -ERANGE);
	CU_ASSERT_EQUAL(vm_cursor_open(&c, &space, gpa(0x2000), gpa(0x1000), VM_READ), -ERANGE);
	CU_ASSERT_EQUAL(vm_cursor_open(&c, &space, gpa(0x2000), gpa(0), VM_CHANGE), -ERANGE);
	CU_ASSERT_EQUAL(vm_cursor_open(&c, &space, gpa(UINT64_MAX), gpa(0), VM_READ), -ERANGE);
	CU_ASSERT_EQUAL(vm_cursor_open(&c, &space, gpa(0), gpa(top + PAGE_SIZE), VM_READ), -ERANGE);
	CU_ASSERT_EQUAL(vm_cursor_open(&c, &space, gpa(top), gpa(top + PAGE_SIZE), VM_READ),
			-ERANGE);
	CU_ASSERT_EQUAL(vm_cursor_open(&c, &space, gpa(0x123), gpa(0x2000), VM_READ), -EINVAL);
	CU_ASSERT_EQUAL(vm_cursor_open(&c, &space, gpa(0), gpa(0x2001), VM_READ), -EINVAL);
	/* Both wrong: the range is told first. */
	CU_ASSERT_EQUAL(vm_cursor_open(&c, &space, gpa(0x2001), gpa(0x1001), VM_READ), -ERANGE);
	open_at(&c, top - PAGE_SIZE, PAGE_SIZE, VM_CHANGE);
	vm_cursor_close(&c);
}

static void test_map_query_unmap(void)
{
	hpa_t where = map_fresh(0x201000, 0, WB_RW);
	struct vm_cursor c;
	struct pt_leaf leaf;

	CU_ASSERT_TRUE(look(0x201fff, &leaf));
	CU_ASSERT_EQUAL(leaf.va, 0x201000);
	CU_ASSERT_EQUAL(leaf.hpa.hpa, where.hpa);
	CU_ASSERT_EQUAL(leaf.size, PAGE_SIZE);
	CU_ASSERT_EQUAL(leaf.attr, WB_RW | PT_TRACKED);
	CU_ASSERT_FALSE(look(0x200fff, &leaf));
	CU_ASSERT_FALSE(look(0x202000, &leaf));

	open_at(&c, 0x200000, 0x4000, VM_READ);
	CU_ASSERT_EQUAL(vm_query(&c, &leaf), 0);
	CU_ASSERT_EQUAL(leaf.attr, 0);
	CU_ASSERT_TRUE(vm_find_next(&c, 0x4000));
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, 0x201000);
	CU_ASSERT_EQUAL(vm_query(&c, &leaf), 0);
	CU_ASSERT_EQUAL(leaf.hpa.hpa, where.hpa);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, 0x201000);
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(0x202000)), 0);
	CU_ASSERT_FALSE(vm_find_next(&c, 0x1000));
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, 0x203000);
	vm_cursor_close(&c);

	CU_ASSERT_EQUAL(unmap_now(0x200000, 0x4000), 1);
	CU_ASSERT_FALSE(look(0x201000, &leaf));
	CU_ASSERT_EQUAL(unmap_now(0x200000, 0x4000), 0);
	epoch_drain();
	CU_ASSERT_EQUAL(in_use(FRAME_GUEST), 0);
}

/* A cursor at the end of its range is legal; so is going back (asterinas #2709). */
static void test_end_of_range(void)
{
	struct vm_cursor c;
	struct pt_leaf leaf;

	map_fresh(0x3ff000, 0, WB_RW);
	open_at(&c, 0x200000, 0x200000, VM_READ);
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(0x3ff000)), 0);
	CU_ASSERT_EQUAL(vm_query(&c, &leaf), 0);
	CU_ASSERT_NOT_EQUAL(leaf.attr, 0);
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(0x400000)), 0);
	CU_ASSERT_EQUAL(vm_query(&c, &leaf), -EFAULT);
	CU_ASSERT_FALSE(vm_find_next(&c, 0));
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(0x200000)), 0);
	CU_ASSERT_TRUE(vm_find_next(&c, 0x200000));
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, 0x3ff000);
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(0x401000)), -ERANGE);
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(0x1ff000)), -ERANGE);
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(0x200001)), -EINVAL);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, 0x3ff000);
	vm_cursor_close(&c);
}

/* Nothing found: the cursor stands at start + len exactly, however large the hole (#3617). */
static void test_find_next_stops_at_len(void)
{
	struct vm_cursor c;

	open_at(&c, 0x1000, UINT64_C(1) << 40, VM_READ);
	CU_ASSERT_FALSE(vm_find_next(&c, 0x5000));
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, 0x6000);
	CU_ASSERT_FALSE(vm_find_next(&c, (UINT64_C(1) << 40) - 0x5000));
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, 0x1000 + (UINT64_C(1) << 40));
	vm_cursor_close(&c);
}

/* A cursor over exactly one large slot may map a large page there (#3731). */
static void test_exact_huge_slot(void)
{
	struct pt_leaf leaf;
	hpa_t where = map_fresh(0x40000000, FRAME_ORDER_2M, WB_RW);

	CU_ASSERT_TRUE(look(0x40000000 + 0x12345, &leaf));
	CU_ASSERT_EQUAL(leaf.size, SIZE_2M);
	CU_ASSERT_EQUAL(leaf.hpa.hpa, where.hpa);
	CU_ASSERT_EQUAL(unmap_now(0x40000000, SIZE_2M), 512);
}

/* A leaf table that was emptied page by page does not block a large page. */
static void test_empty_table_in_the_way(void)
{
	struct pt_leaf leaf;
	hpa_t where;

	map_fresh(0x200000, 0, WB_RW);
	CU_ASSERT_EQUAL(unmap_now(0x200000, PAGE_SIZE), 1);
	where = map_fresh(0x200000, FRAME_ORDER_2M, WB_RW);
	CU_ASSERT_TRUE(look(0x3fffff, &leaf));
	CU_ASSERT_EQUAL(leaf.size, SIZE_2M);
	CU_ASSERT_EQUAL(leaf.hpa.hpa, where.hpa);
	epoch_drain();
	CU_ASSERT_EQUAL(in_use(FRAME_STAGE2_TABLE), (ops->limits->levels - 1) * PAGE_SIZE);
}

/* Mapping over something replaces it, and the old memory comes back after the flush. */
static void test_map_replaces(void)
{
	hpa_t first = map_fresh(0x200000, 0, WB_RW), second = map_fresh(0x200000, 0, WB_RW);
	struct pt_leaf leaf;

	CU_ASSERT_NOT_EQUAL(first.hpa, second.hpa);
	CU_ASSERT_TRUE(look(0x200000, &leaf));
	CU_ASSERT_EQUAL(leaf.hpa.hpa, second.hpa);
	map_fresh(0x201000, 0, WB_RW);
	map_fresh(0x200000, FRAME_ORDER_2M, WB_RW);
	epoch_drain();
	CU_ASSERT_EQUAL(in_use(FRAME_GUEST), SIZE_2M);
}

static void test_map_refuses(void)
{
	struct frame *small = guest_block(0), *large = guest_block(FRAME_ORDER_2M);
	struct vm_cursor c;

	open_at(&c, 0x201000, 0x5000, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_map(&c, large, WB_RW), -EINVAL); /* not aligned */
	vm_cursor_close(&c);
	open_at(&c, 0x200000, 0x5000, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_map(&c, large, WB_RW), -ERANGE); /* does not fit */
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(0x205000)), 0);
	CU_ASSERT_EQUAL(vm_map(&c, small, WB_RW), -ERANGE); /* at the end */
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(0), PAGE_SIZE, WB_RW), -ERANGE);
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(0x200000)), 0);
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(123), PAGE_SIZE, WB_RW), -EINVAL);
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(UINT64_C(1) << 46), PAGE_SIZE, WB_RW), -ERANGE);
	if (ops != &fake_pt_ops)
		CU_ASSERT_EQUAL(vm_map(&c, small, PT_WRITE | PT_MEM_WB), -EINVAL);
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(frame_refs(small), 1);
	CU_ASSERT_EQUAL(frame_refs(large), 1);
	frame_put(small);
	frame_put(large);
}

/* Unmapping part of a large page splits it; the rest translates as before (Jailhouse 7cffb9b7). */
static void test_partial_unmap_splits(void)
{
	hpa_t where = map_fresh(0x600000, FRAME_ORDER_2M, WB_RW);
	struct frame *block = frame_at(where);
	struct pt_leaf leaf;

	CU_ASSERT_EQUAL(unmap_now(0x607000, 0x3000), 3);
	CU_ASSERT_EQUAL(frame_refs(block), 509);
	for (uint64_t at = 0x600000; at < 0x800000; at += PAGE_SIZE) {
		bool hole = at >= 0x607000 && at < 0x60a000;

		CU_ASSERT_EQUAL(look(at, &leaf), !hole);
		if (!hole)
			CU_ASSERT_EQUAL(leaf.hpa.hpa, where.hpa + (at - 0x600000));
	}
	/* From the middle of one large page to the middle of another. */
	map_fresh(0xa00000, FRAME_ORDER_2M, WB_RW);
	CU_ASSERT_EQUAL(unmap_now(0x700000, 0x400000), 512);
	epoch_drain();
	CU_ASSERT_EQUAL(in_use(FRAME_GUEST), 2 * SIZE_2M);
	CU_ASSERT_EQUAL(unmap_now(0, 0x40000000), 256 - 3 + 256);
	epoch_drain();
	CU_ASSERT_EQUAL(in_use(FRAME_GUEST), 0);
}

static void test_protect(void)
{
	hpa_t where = map_fresh(0x600000, FRAME_ORDER_2M, WB_RW);
	struct pt_leaf leaf;
	struct vm_cursor c;
	uint64_t generation = atomic_load(&space.pt.tlb.generation);

	open_at(&c, 0x600000, 0x200000, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(0x601000)), 0);
	CU_ASSERT_EQUAL(vm_protect_next(&c, 0x1000, PT_READ | PT_MEM_WB, &leaf), 0);
	CU_ASSERT_EQUAL(leaf.va, 0x601000);
	CU_ASSERT_EQUAL(leaf.size, PAGE_SIZE);
	CU_ASSERT_EQUAL(leaf.attr & PT_RIGHTS, PT_RW);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, 0x602000);
	vm_cursor_close(&c);
	CU_ASSERT(atomic_load(&space.pt.tlb.generation) > generation);
	CU_ASSERT_TRUE(look(0x601000, &leaf));
	CU_ASSERT_EQUAL(leaf.attr, PT_READ | PT_MEM_WB | PT_TRACKED);
	CU_ASSERT_EQUAL(leaf.hpa.hpa, where.hpa + 0x1000);
	CU_ASSERT_TRUE(look(0x602000, &leaf));
	CU_ASSERT_EQUAL(leaf.attr, WB_RW | PT_TRACKED);

	/* Giving rights needs no flush; nothing left in range is -ENOENT. */
	generation = atomic_load(&space.pt.tlb.generation);
	open_at(&c, 0x601000, 0x1000, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_protect_next(&c, 0x1000, WB_RW | PT_EXEC, &leaf), 0);
	CU_ASSERT_EQUAL(vm_protect_next(&c, 0, WB_RW, &leaf), -ENOENT);
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(atomic_load(&space.pt.tlb.generation), generation);
}

/* A page without any right is still a mapping: it is found, counted and freed. */
static void test_no_rights_is_not_absent(void)
{
	struct pt_leaf leaf;
	struct vm_cursor c;

	map_fresh(0x5000, 0, WB_RW);
	open_at(&c, 0, 0x10000, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_protect_next(&c, 0x10000, PT_MEM_WB, &leaf), 0);
	vm_cursor_close(&c);
	CU_ASSERT_TRUE(look(0x5000, &leaf));
	CU_ASSERT_EQUAL(leaf.attr & PT_RIGHTS, 0);
	CU_ASSERT_EQUAL(unmap_now(0, 0x10000), 1);
	epoch_drain();
	CU_ASSERT_EQUAL(in_use(FRAME_GUEST), 0);
}

static void test_marks(void)
{
	struct pt_leaf leaf;
	struct vm_cursor c;

	map_fresh(0x5000, 0, WB_RW);
	epoch_enter();
	CU_ASSERT_TRUE(vm_mark(&space, gpa(0x5008), PT_ACCESSED | PT_DIRTY));
	CU_ASSERT_FALSE(vm_mark(&space, gpa(0x6000), PT_DIRTY));
	epoch_exit();
	open_at(&c, 0, 0x10000, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_protect_next(&c, 0x10000, PT_READ | PT_MEM_WB, &leaf), 0);
	CU_ASSERT_EQUAL(leaf.attr & (PT_ACCESSED | PT_DIRTY), PT_ACCESSED | PT_DIRTY);
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(0)), 0);
	CU_ASSERT_EQUAL(vm_clear_marks_next(&c, 0x10000, PT_DIRTY, &leaf), 0);
	CU_ASSERT_EQUAL(leaf.attr & (PT_ACCESSED | PT_DIRTY), PT_ACCESSED | PT_DIRTY);
	vm_cursor_close(&c);
	CU_ASSERT_TRUE(look(0x5000, &leaf));
	CU_ASSERT_EQUAL(leaf.attr & (PT_ACCESSED | PT_DIRTY), PT_ACCESSED);
}

/* Read-only cursors over one range do not exclude each other, and allocate nothing. */
static void test_readers_share(void)
{
	uint64_t before = in_use(FRAME_STAGE2_TABLE);
	struct vm_cursor a, b;

	open_at(&a, 0x123000, 0x1000, VM_READ);
	open_at(&b, 0x123000, 0x1000, VM_READ);
	vm_cursor_close(&a);
	vm_cursor_close(&b);
	CU_ASSERT_EQUAL(in_use(FRAME_STAGE2_TABLE), before);
}

/* The largest pages that fit are chosen, and every page is where it should be. */
static void test_map_untracked_picks_sizes(void)
{
	const uint64_t at = 0x3fdff000, len = SIZE_1G + 0x403000, from = SIZE_1G * 8 + at;
	struct vm_cursor c;
	struct pt_leaf leaf;
	uint64_t seen = 0, large = 0, pages;

	open_at(&c, at, len, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(from), len, PT_RW | PT_MEM_UC), 0);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, at + len);
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(at)), 0);
	while (vm_find_next(&c, at + len - vm_cursor_at(&c).gpa)) {
		CU_ASSERT_EQUAL(vm_query(&c, &leaf), 0);
		CU_ASSERT_EQUAL(leaf.va, at + seen);
		CU_ASSERT_EQUAL(leaf.hpa.hpa, from + seen);
		CU_ASSERT_EQUAL(leaf.attr, PT_RW | PT_MEM_UC);
		seen += leaf.size;
		large += leaf.size == SIZE_1G;
		CU_ASSERT_EQUAL_FATAL(vm_jump(&c, gpa(leaf.va + leaf.size)), 0);
	}
	CU_ASSERT_EQUAL(seen, len);
	CU_ASSERT_EQUAL(large, 1);
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(at)), 0);
	CU_ASSERT_EQUAL(vm_unmap(&c, len, &pages), 0);
	CU_ASSERT_EQUAL(pages, len / PAGE_SIZE);
	vm_cursor_close(&c);
}

/* More than a ledger full of single pages: each comes back, none before its flush. */
static void test_unmap_many(void)
{
	for (uint64_t i = 0; i < 700; i++)
		map_fresh(0x1ff000 + i * PAGE_SIZE, 0, WB_RW);
	CU_ASSERT_EQUAL(unmap_now(0x1ff000, 300 * PAGE_SIZE), 300);
	CU_ASSERT_EQUAL(unmap_now(0, SIZE_1G), 400);
	epoch_drain();
	CU_ASSERT_EQUAL(in_use(FRAME_GUEST), 0);
}

/* Every allocation of an operation fails once; the view is as before each time (#3162). */
static void test_out_of_memory(void)
{
	struct frame *f = guest_block(0);
	struct pt_leaf leaf;
	struct vm_cursor c;
	int64_t skip = 0;
	bool mapped = false;

	map_fresh(0x40000000, FRAME_ORDER_2M, WB_RW);
	for (; !mapped; skip++) {
		int err;

		frame_alloc_fail_after(skip);
		err = vm_cursor_open(&c, &space, gpa(0x200000), gpa(0x200000 + SIZE_2M), VM_CHANGE);
		if (err == 0) {
			err = vm_map(&c, f, WB_RW);
			mapped = err == 0;
			vm_cursor_close(&c);
		}
		frame_alloc_fail_after(-1);
		CU_ASSERT(err == 0 || err == -ENOMEM);
		CU_ASSERT_EQUAL(look(0x200000, &leaf), mapped);
		CU_ASSERT_EQUAL(lock_held(), 0);
	}
	CU_ASSERT(skip > 1);
	/* The same for a split. */
	open_at(&c, 0x40000000, SIZE_2M, VM_CHANGE);
	frame_alloc_fail_after(0);
	CU_ASSERT_EQUAL(vm_protect_next(&c, PAGE_SIZE, PT_READ | PT_MEM_WB, &leaf), -ENOMEM);
	frame_alloc_fail_after(-1);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, 0x40000000);
	vm_cursor_close(&c);
	CU_ASSERT_TRUE(look(0x40000000, &leaf));
	CU_ASSERT_EQUAL(leaf.size, SIZE_2M);
}

/* With nodes reserved, mapping cannot fail for want of memory. */
static void test_reserve(void)
{
	struct frame *f = guest_block(0);
	struct vm_cursor c;
	uint64_t tables;

	open_at(&c, 0, UINT64_C(1) << 40, VM_CHANGE);
	tables = in_use(FRAME_STAGE2_TABLE);
	frame_alloc_fail_after(2);
	CU_ASSERT_EQUAL(vm_reserve(&c, 8), -ENOMEM);
	frame_alloc_fail_after(-1);
	CU_ASSERT_EQUAL(in_use(FRAME_STAGE2_TABLE), tables);
	CU_ASSERT_EQUAL(vm_reserve(&c, 8), 0);
	frame_alloc_fail_after(0);
	CU_ASSERT_EQUAL(vm_map(&c, f, WB_RW), 0);
	frame_alloc_fail_after(-1);
	vm_cursor_close(&c);
	CU_ASSERT(in_use(FRAME_STAGE2_TABLE) <= tables + 4 * PAGE_SIZE);
}

/* One frame at several addresses lives until its last mapping is gone. */
static void test_alias(void)
{
	struct frame *f = guest_block(0);
	struct vm_cursor c;

	frame_get(f);
	open_at(&c, 0, SIZE_2M, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_map(&c, f, WB_RW), 0);
	CU_ASSERT_EQUAL(vm_map(&c, f, PT_READ | PT_MEM_WB), 0);
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(frame_refs(f), 2);
	CU_ASSERT_EQUAL(unmap_now(0, PAGE_SIZE), 1);
	epoch_drain();
	CU_ASSERT_EQUAL(frame_refs(f), 1);
	CU_ASSERT_EQUAL(unmap_now(0, SIZE_2M), 1);
	epoch_drain();
	CU_ASSERT_EQUAL(in_use(FRAME_GUEST), 0);
}

/* Addresses above the table's width are refused, not folded (XSA-301). */
static void test_no_folding(void)
{
	struct pt_leaf leaf;
	struct pt_step steps[PT_MAX_LEVELS];
	uint64_t top = ops->limits->va_last + 1;

	map_fresh(0x5000, 0, WB_RW);
	CU_ASSERT_FALSE(look(top + 0x5000, &leaf));
	epoch_enter();
	CU_ASSERT_EQUAL(vm_walk(&space, gpa(top + 0x5000), steps), 0);
	CU_ASSERT_EQUAL(vm_walk(&space, gpa(0x5000), steps), ops->limits->levels);
	CU_ASSERT_EQUAL(steps[ops->limits->levels - 1].is, PT_STEP_LEAF);
	epoch_exit();
}

#define EACH(name)                    \
	static void each_##name(void) \
	{                             \
		on_each(test_##name); \
	}
#define ALL(X)                       \
	X(open_refuses)              \
	X(map_query_unmap)           \
	X(end_of_range)              \
	X(find_next_stops_at_len)    \
	X(exact_huge_slot)           \
	X(empty_table_in_the_way)    \
	X(map_replaces)              \
	X(map_refuses)               \
	X(partial_unmap_splits)      \
	X(protect)                   \
	X(no_rights_is_not_absent)   \
	X(marks)                     \
	X(readers_share)             \
	X(map_untracked_picks_sizes) \
	X(unmap_many)                \
	X(out_of_memory)             \
	X(reserve)                   \
	X(alias)                     \
	X(no_folding)

ALL(EACH)

void suite_vm_space(void);
void suite_vm_space(void)
{
	CU_pSuite s = CU_add_suite("vm_space", NULL, NULL);

#define ADD(name) CU_add_test(s, #name, each_##name);
	ALL(ADD)
}
