/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Bugs that others had, as tests: ranges, cursors, tables. (test_scenarios_tlb.c: translations that
 * outlive their mapping; test_scenarios_frames.c: frames, areas, epochs.) A number with # alone is
 * Asterinas'; what has a test elsewhere names the scenario there.
 *
 * What cannot happen here:
 *
 *   #2613            an end that is no position: here it is one (test_vm_space.c)
 *   c851f054b        mapping over a mapping panics: here it replaces, and map_new refuses
 *   #1621            nested flush handlers: a kicked CPU leaves its guest, it handles no queue
 *   #3672, #3673     RISC-V fences; #3871: the boot CPU's task state
 *   #2801, #3007     upgradable locks, sleeping locks: there are none
 *   #3920            DMA pools, VT-d caching mode, slab kinds, user-space atomics: there are none
 *   6c9b2baee        locks shared with interrupt handlers: handlers take none
 *   XSA-304          executable large pages: a policy of who maps, not of the tables
 *   XSA-321          tables that an IOMMU reads (pKVM-IA #20 as well): there is none
 *   XSA-388, -507    populate-on-demand, ballooning, paging out: there is none
 *   XSA-378          identity-mapped special ranges: a guest has none
 *   XSA-397          a dirty log that is torn down: the marks are in the entries
 *   XSA-410          preemption of long work: a space is destroyed by one whom nobody waits for
 *   seL4, Xvisor, NOVA b7665381   operands and flags of INVEPT: hv/, seen by the machine tests
 *   #895, #991, #1001, CVE-2021-29657 and all of guest copies: vmio/, not tables (test_vmio.c)
 */
#include <arch/pt_store.h>

#include "base/err.h"
#include "ept/stage2.h"
#include "mm/host_pt.h"
#include "tests/host/arena.h"
#include "tests/unit/fake_pt.h"
#include "tests/unit/test_scenarios.h"

#define RO	  (PT_READ | PT_MEM_WB)
#define SIZE_512G (UINT64_C(1) << 39)

static uint64_t top(void)
{
	return ops->limits->va_last + 1;
}

static void map_device(uint64_t at, uint64_t from, uint64_t len)
{
	struct vm_cursor c;

	open_at(&c, at, len, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(from), len, WB_RW), 0);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, at + len);
	vm_cursor_close(&c);
}

static int refused(uint64_t start, uint64_t end, enum vm_access access)
{
	struct vm_cursor c;
	int err = vm_cursor_open(&c, &space, gpa(start), gpa(end), access);

	CU_ASSERT_EQUAL(lock_held(), 0);
	CU_ASSERT_FALSE(epoch_inside());
	return err;
}

/* --- ranges and addresses --- */

/* #1285, #1323: the range `x..0` passed the check, as 0 - 1 wrapped. */
static void test_range_that_ends_at_0(void)
{
	const uint64_t starts[] = { 0, PAGE_SIZE, SIZE_2M, SIZE_1G, top() - PAGE_SIZE, top() };

	for (unsigned i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		CU_ASSERT_EQUAL(refused(starts[i], 0, VM_READ), -ERANGE);
		CU_ASSERT_EQUAL(refused(starts[i], 0, VM_CHANGE), -ERANGE);
	}
	CU_ASSERT_EQUAL(in_use(FRAME_STAGE2_TABLE), PAGE_SIZE);
}

/* #3580, #3610, vostd#603: is_valid_range said yes to reversed and to wrapping ranges. */
static void test_range_reversed(void)
{
	const uint64_t last = round_down(UINT64_MAX, PAGE_SIZE);
	const struct {
		uint64_t start, end;
	} bad[] = { { 0x2000, 0x1000 },
		    { SIZE_2M, SIZE_2M - PAGE_SIZE },
		    { top(), PAGE_SIZE },
		    { last, PAGE_SIZE },
		    { last, 0 },
		    { 0x1000, 0x1000 },
		    { 0, 0 },
		    { top(), top() },
		    { PAGE_SIZE, last },
		    { last, last },
		    { 0, last },
		    { 0, top() + PAGE_SIZE } };

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CU_ASSERT_EQUAL(refused(bad[i].start, bad[i].end, VM_READ), -ERANGE);
		CU_ASSERT_EQUAL(refused(bad[i].start, bad[i].end, VM_CHANGE), -ERANGE);
	}
	CU_ASSERT_EQUAL(refused(UINT64_MAX, 0, VM_CHANGE), -ERANGE);
	CU_ASSERT_EQUAL(in_use(FRAME_STAGE2_TABLE), PAGE_SIZE);
}

/* #3617: at the top of the space the check for room wrapped, and largest_pages never came to an
 * end. Also #1882: the last address of a table's width was refused, or the next one taken. */
static void test_map_at_the_top(void)
{
	const uint64_t last = top() - PAGE_SIZE;
	struct pt_leaf leaf;
	struct vm_cursor c;

	open_at(&c, top() - 2 * SIZE_2M, 2 * SIZE_2M, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(last)), 0);
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(0), 2 * PAGE_SIZE, WB_RW), -ERANGE);
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(0), -PAGE_SIZE, WB_RW), -ERANGE);
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(0), -(last + 1) & -PAGE_SIZE, WB_RW), -ERANGE);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, last);
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(0x5000), PAGE_SIZE, WB_RW), 0);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, top());
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(0), PAGE_SIZE, WB_RW), -ERANGE);
	vm_cursor_close(&c);
	CU_ASSERT_TRUE(look(top() - 1, &leaf));
	CU_ASSERT_EQUAL(leaf.hpa.hpa, 0x5000);
	CU_ASSERT_FALSE(look(top(), &leaf));
	map_fresh(top() - SIZE_2M, FRAME_ORDER_2M, WB_RW);
	CU_ASSERT_EQUAL(unmap_now(top() - SIZE_1G, SIZE_1G), 512);
}

static void len_wraps(void *what)
{
	struct vm_cursor c;
	struct pt_fragment gone;
	struct pt_leaf leaf;
	uint64_t pages;

	open_at(&c, 0x200000, 0x4000, VM_CHANGE);
	vm_jump(&c, gpa(0x202000));
	switch (*(unsigned *)what) {
	case 0:
		vm_unmap(&c, -UINT64_C(0x202000), &pages);
		break;
	case 1:
		vm_find_next(&c, -UINT64_C(0x202000));
		break;
	case 2:
		vm_next(&c, -UINT64_C(0x201000), &leaf);
		break;
	case 3:
		vm_take_next(&c, -UINT64_C(0x202000), &gone);
		break;
	case 4:
		vm_protect(&c, -UINT64_C(0x201000), RO, &pages);
		break;
	case 5:
		vm_protect_next(&c, -UINT64_C(0x202000), RO, &leaf);
		break;
	case 6:
		vm_clear_marks_next(&c, -PAGE_SIZE, PT_DIRTY, &leaf);
		break;
	default:
		vm_unmap(&c, 0x3000, &pages); /* by one page */
	}
}

/* #3159: a length that wraps, or reaches beyond the cursor's range, silently did nothing. */
static void test_length_wraps(void)
{
	for (unsigned what = 0; what < 8; what++)
		CU_ASSERT_TRUE(panics(len_wraps, &what, "precondition failed: "));
}

/* 9ed6b760b: a jump within the last 2 MiB went astray, as the node's end wrapped. */
static void test_jump_in_the_last_table(void)
{
	const uint64_t first = top() - 2 * SIZE_2M;
	const uint64_t to[] = { top() - PAGE_SIZE, first, top(), top() - SIZE_2M, top(), first };
	struct vm_cursor c;
	struct pt_leaf leaf;

	map_device(top() - PAGE_SIZE, 0x7000, PAGE_SIZE);
	map_device(first, 0x6000, PAGE_SIZE);
	open_at(&c, first, 2 * SIZE_2M, VM_READ);
	for (unsigned i = 0; i < sizeof(to) / sizeof(to[0]); i++) {
		uint64_t expected = to[i] == first		 ? 0x6000
				    : to[i] == top() - PAGE_SIZE ? 0x7000
								 : 0;

		CU_ASSERT_EQUAL(vm_jump(&c, gpa(to[i])), 0);
		CU_ASSERT_EQUAL(vm_query(&c, &leaf), to[i] == top() ? -EFAULT : 0);
		CU_ASSERT_EQUAL(to[i] == top() ? 0 : leaf.hpa.hpa, expected);
	}
	/* #3166: what is not a multiple of the page size is refused, and the cursor stays. */
	for (uint64_t odd = 1; odd < PAGE_SIZE; odd <<= 1)
		CU_ASSERT_EQUAL(vm_jump(&c, gpa(first + odd)), -EINVAL);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, first);
	vm_cursor_close(&c);
}

/* The same where the addresses themselves end: host tables reach almost to 2^64. */
static void test_jump_at_the_end_of_64_bits(void)
{
	struct pt pt = { .ops = &host_pt_ops };
	const struct pt_ops *h = &host_pt_ops;
	const uint64_t end = h->limits->va_last + 1, first = round_down(end, SIZE_2M);
	struct flusher flusher;
	struct pt_cursor c;
	struct pt_leaf leaf;
	uint64_t pages = 0;

	flusher_init(&flusher, &pt);
	CU_ASSERT_EQUAL_FATAL(h->init(&pt), 0);
	CU_ASSERT_EQUAL_FATAL(h->open(&c, &pt, first, end, true), 0);
	CU_ASSERT_EQUAL(h->jump(&c, end - PAGE_SIZE), 0);
	CU_ASSERT_EQUAL(h->map(&c, hpa(0x5000), 1, WB_RW, &flusher), 0);
	CU_ASSERT_EQUAL(h->jump(&c, first), 0);
	CU_ASSERT_TRUE(h->find_next(&c, end - first));
	CU_ASSERT_EQUAL(h->query(&c, &leaf), 0);
	CU_ASSERT_EQUAL(leaf.va, end - PAGE_SIZE);
	CU_ASSERT_EQUAL(h->jump(&c, end), 0);
	CU_ASSERT_EQUAL(h->jump(&c, 0), -ERANGE);
	CU_ASSERT_EQUAL(h->jump(&c, first), 0);
	CU_ASSERT_EQUAL(h->unmap(&c, end, &flusher, &pages), 0);
	CU_ASSERT_EQUAL(pages, 1);
	CU_ASSERT_FALSE(h->find_next(&c, 0));
	h->close(&c);
	flusher_dispatch(&flusher);
	flusher_sync(&flusher);
	flusher_fini(&flusher);
	CU_ASSERT_EQUAL(h->open(&c, &pt, first, 0, true), -ERANGE);
	CU_ASSERT_EQUAL(h->open(&c, &pt, first, end + PAGE_SIZE, true), -ERANGE);
	h->destroy(&pt);
	epoch_drain();
	CU_ASSERT_EQUAL(in_use(FRAME_HOST_TABLE), 0);
}

/* Hedron d8a2da3: memory above the CPU's physical addresses was mapped, an entry that no CPU takes.
 * 14dc4752f: and the last page below them was refused. */
static void test_end_of_physical_addresses(void)
{
	const uint64_t limit = ops->limits->hpa_limit, last = limit - PAGE_SIZE;
	struct vm_cursor c;
	struct mmu_page t;

	open_at(&c, 0, SIZE_1G, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(limit), PAGE_SIZE, WB_RW), -ERANGE);
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(last), 2 * PAGE_SIZE, WB_RW), -ERANGE);
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(-PAGE_SIZE), 2 * PAGE_SIZE, WB_RW), -ERANGE);
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(limit), SIZE_2M, WB_RW), -ERANGE);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, 0);
	CU_ASSERT_FALSE(vm_find_next(&c, SIZE_1G));
	vm_jump(&c, gpa(0));
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(last), PAGE_SIZE, WB_RW), 0);
	vm_jump(&c, gpa(SIZE_2M));
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(limit - SIZE_2M), SIZE_2M, WB_RW), 0);
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(fresh_look(0, &t), MMU_DONE);
	CU_ASSERT_EQUAL(t.hpa, last);
	CU_ASSERT_EQUAL(fresh_look(SIZE_2M, &t), MMU_DONE);
	CU_ASSERT_EQUAL(t.size, SIZE_2M);
}

/* Jailhouse 93255692: the mask of a large page was 32 bits wide, so memory above 4 GiB was
 * truncated when the page was mapped, or split. */
static void test_split_above_4_gib(void)
{
	const uint64_t at = UINT64_C(5) << 32, from = UINT64_C(0x2a5c) << 32 | 0xc0000000;
	struct pt_leaf leaf;
	struct mmu_page t;

	map_device(at, from, SIZE_1G);
	for (unsigned step = 0; step < 3; step++) {
		for (uint64_t i = 0; i < SIZE_1G; i += SIZE_1G / 64 + PAGE_SIZE) {
			bool gone = step != 0 && i / SIZE_2M == 17;

			CU_ASSERT_EQUAL(fresh_look(at + i, &t), gone ? MMU_FAULT : MMU_DONE);
			CU_ASSERT(gone || t.hpa + (at + i - t.gpa) == from + i);
		}
		if (step == 0)
			CU_ASSERT_EQUAL(unmap_now(at + 17 * SIZE_2M, SIZE_2M), 512);
		if (step == 1)
			CU_ASSERT_EQUAL(unmap_now(at + 31 * SIZE_2M + 0x3000, PAGE_SIZE), 1);
	}
	CU_ASSERT_TRUE(look(at + 31 * SIZE_2M + 0x4000, &leaf));
	CU_ASSERT_EQUAL(leaf.hpa.hpa, from + 31 * SIZE_2M + 0x4000);
}

/* --- cursors --- */

/* #3731, #3732: a cursor over exactly one slot of 1 GiB was locked a level too low to map it. */
static void test_exact_gigabyte(void)
{
	struct pt_leaf leaf;
	struct vm_cursor c;

	map_device(5 * SIZE_1G, 8 * SIZE_1G, SIZE_1G);
	CU_ASSERT_TRUE(look(5 * SIZE_1G, &leaf));
	CU_ASSERT_EQUAL(leaf.size, SIZE_1G);
	/* And where smaller pages are in the way. */
	map_fresh(6 * SIZE_1G + SIZE_2M, 0, WB_RW);
	map_fresh(6 * SIZE_1G + 9 * SIZE_2M, FRAME_ORDER_2M, WB_RW);
	open_at(&c, 6 * SIZE_1G, SIZE_1G, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(9 * SIZE_1G), SIZE_1G, WB_RW), 0);
	vm_cursor_close(&c);
	CU_ASSERT_TRUE(look(7 * SIZE_1G - 1, &leaf));
	CU_ASSERT_TRUE(leaf.size == SIZE_1G || leaf.size == SIZE_2M);
	CU_ASSERT_EQUAL(leaf.hpa.hpa + (7 * SIZE_1G - leaf.va), 10 * SIZE_1G);
	epoch_drain();
	CU_ASSERT_EQUAL(in_use(FRAME_GUEST), 0);
}

/* 78831bc80: take_next told where the cursor was afterwards, not where the page had been. */
static void test_take_tells_where_it_was(void)
{
	hpa_t small = map_fresh(0x203000, 0, WB_RW), large = map_fresh(SIZE_1G, 9, WB_RW);
	struct pt_fragment gone;
	struct vm_cursor c;

	open_at(&c, 0x200000, SIZE_1G + SIZE_2M - 0x200000, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_take_next(&c, 0x4000, &gone), 0);
	CU_ASSERT_EQUAL(gone.va, 0x203000);
	CU_ASSERT_EQUAL(gone.hpa.hpa, small.hpa);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, 0x204000);
	CU_ASSERT_EQUAL(vm_take_next(&c, SIZE_1G + SIZE_2M - 0x204000, &gone), 0);
	CU_ASSERT_EQUAL(gone.va, gone.table ? 0x400000 : SIZE_1G);
	CU_ASSERT_EQUAL(gone.hpa.hpa, large.hpa);
	CU_ASSERT_EQUAL(gone.va + gone.size, vm_cursor_at(&c).gpa);
	vm_cursor_close(&c);
}

/* 1ed023f41: of a subtree of three levels that was taken out not every node was marked and
 * unlocked: who waited for one of them went on in a table that nobody could reach. */
static void test_subtree_of_three_levels(void)
{
	const uint64_t at = SIZE_512G + 3 * SIZE_1G;
	struct pt_step steps[PT_MAX_LEVELS];
	struct frame *nodes[3];
	struct pt_fragment gone;
	struct vm_cursor c;

	map_fresh(at + 0x5000, 0, WB_RW);
	map_fresh(at + SIZE_1G, FRAME_ORDER_2M, WB_RW);
	open_at(&c, SIZE_512G, SIZE_512G, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_walk(&space, gpa(at), steps), ops->limits->levels);
	for (unsigned i = 0; i < 3; i++)
		nodes[i] = frame_at(steps[ops->limits->levels - 3 + i].table);
	CU_ASSERT_EQUAL(vm_take_next(&c, SIZE_512G, &gone), 0);
	CU_ASSERT_TRUE(gone.table);
	CU_ASSERT_EQUAL(gone.va, SIZE_512G);
	CU_ASSERT_EQUAL(gone.pages, 1 + 512);
	for (unsigned i = 0; i < 3; i++) {
		CU_ASSERT_FALSE(rw_is_held(&nodes[i]->lock));
		CU_ASSERT_EQUAL(nodes[i]->lock.user[1], 1);
	}
	vm_cursor_close(&c);
	epoch_drain();
	CU_ASSERT_EQUAL(in_use(FRAME_GUEST), 0);
	for (unsigned i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(frame_state(nodes[i]), FRAME_STATE_FREE);
	map_fresh(at, 0, WB_RW);
}

/* What the engine says of a page, and what a CPU finds. */
static void same(struct vm_cursor *c, uint64_t at, hpa_t where, unsigned rights, bool dirty)
{
	struct pt_leaf leaf;
	struct mmu_page t;

	CU_ASSERT_EQUAL(vm_jump(c, gpa(at)), 0);
	CU_ASSERT_EQUAL(vm_query(c, &leaf), 0);
	CU_ASSERT_EQUAL(leaf.hpa.hpa, where.hpa);
	CU_ASSERT_EQUAL(leaf.attr & PT_RIGHTS, rights);
	CU_ASSERT_EQUAL((leaf.attr & PT_DIRTY) != 0, dirty);
	CU_ASSERT_EQUAL(fresh_look(at, &t), MMU_DONE);
	CU_ASSERT_EQUAL(t.hpa, where.hpa);
	CU_ASSERT_EQUAL(t.rights, rights);
	CU_ASSERT_EQUAL(t.dirty, dirty);
	CU_ASSERT_EQUAL(vm_jump(c, gpa(at)), 0);
}

/* 6a4d8d113: after protect or replace the cursor's copy of the entry was the old one, so that the
 * second operation on it worked with what was no longer there. */
static void test_twice_on_one_entry(void)
{
	hpa_t first = map_fresh(0x5000, 0, WB_RW);
	struct frame *f = guest_block(0);
	struct pt_leaf old;
	struct vm_cursor c;

	open_at(&c, 0, SIZE_2M, VM_CHANGE);
	CU_ASSERT_TRUE(vm_mark(&space, gpa(0x5000), PT_ACCESSED | PT_DIRTY));
	same(&c, 0x5000, first, PT_RW, true);
	CU_ASSERT_EQUAL(vm_protect_next(&c, PAGE_SIZE, RO, &old), 0);
	same(&c, 0x5000, first, PT_READ, true);
	CU_ASSERT_EQUAL(vm_clear_marks_next(&c, PAGE_SIZE, PT_DIRTY, &old), 0);
	CU_ASSERT_EQUAL(old.attr & PT_RIGHTS, PT_READ);
	same(&c, 0x5000, first, PT_READ, false);
	CU_ASSERT_EQUAL(vm_protect_next(&c, PAGE_SIZE, PT_RWX | PT_MEM_WB, &old), 0);
	CU_ASSERT_EQUAL(old.attr & PT_DIRTY, 0);
	same(&c, 0x5000, first, PT_RWX, false);
	CU_ASSERT_EQUAL(vm_map(&c, f, WB_RW), 0);
	same(&c, 0x5000, frame_hpa(f), PT_RW, false);
	CU_ASSERT_EQUAL(vm_protect_next(&c, PAGE_SIZE, PT_MEM_WB, &old), 0);
	CU_ASSERT_EQUAL(old.hpa.hpa, frame_hpa(f).hpa);
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(0x5000)), 0);
	CU_ASSERT_EQUAL(vm_query(&c, &old), 0);
	CU_ASSERT_EQUAL(old.attr & PT_RIGHTS, 0);
	vm_cursor_close(&c);
}

/* [inferred] in OSTD: a read-only cursor made tables on its way, so that a guest that is looked at
 * in many places makes the host's memory shrink. */
static void test_looking_makes_no_tables(void)
{
	struct vm_cursor c;
	struct pt_leaf leaf;

	for (uint64_t at = PAGE_SIZE; at < top() / 2; at = at * 3 & -PAGE_SIZE) {
		open_at(&c, at, PAGE_SIZE, VM_READ);
		CU_ASSERT_EQUAL(vm_query(&c, &leaf), 0);
		CU_ASSERT_EQUAL(leaf.attr, 0);
		CU_ASSERT_FALSE(vm_find_next(&c, PAGE_SIZE));
		vm_cursor_close(&c);
		open_at(&c, at, at, VM_READ);
		CU_ASSERT_FALSE(vm_next(&c, at, &leaf));
		vm_cursor_close(&c);
		CU_ASSERT_FALSE(look(at, &leaf));
	}
	CU_ASSERT_EQUAL(in_use(FRAME_STAGE2_TABLE), PAGE_SIZE);
}

static void waits(void *what)
{
	struct vm_cursor c;

	open_at(&c, 0, SIZE_2M, *(int *)what == 2 ? VM_READ : VM_CHANGE);
	if (*(int *)what == 0)
		vm_space_destroy(&space);
	else
		epoch_drain();
}

/* #1530: something that waits is called with a cursor open, whose locks others wait for. (#1539:
 * in the drop of the last reference.) */
static void test_waiting_under_a_cursor(void)
{
	for (int what = 0; what < 3; what++)
		CU_ASSERT_TRUE(panics(waits, &what, "!epoch_inside()"));
}

#define EACH(name)                    \
	static void each_##name(void) \
	{                             \
		on_each(test_##name); \
	}
#define ALL(X)                        \
	X(range_that_ends_at_0)       \
	X(range_reversed)             \
	X(map_at_the_top)             \
	X(length_wraps)               \
	X(jump_in_the_last_table)     \
	X(jump_at_the_end_of_64_bits) \
	X(end_of_physical_addresses)  \
	X(split_above_4_gib)          \
	X(exact_gigabyte)             \
	X(take_tells_where_it_was)    \
	X(subtree_of_three_levels)    \
	X(twice_on_one_entry)         \
	X(looking_makes_no_tables)    \
	X(waiting_under_a_cursor)

ALL(EACH)

void suite_scenarios(void);
void suite_scenarios(void)
{
	CU_pSuite s = CU_add_suite("scenarios", NULL, NULL);

#define ADD(name) CU_add_test(s, #name, each_##name);
	ALL(ADD)
}
