/* SPDX-License-Identifier: MPL-2.0 */
/* Bugs that others had, as tests: entries, splits and joins, what a format can say. */
#include <arch/pt_store.h>

#include "base/err.h"
#include "ept/stage2.h"
#include "tests/unit/fake_pt.h"
#include "tests/unit/test_scenarios.h"

#define RO (PT_READ | PT_MEM_WB)

static uint64_t generation(void)
{
	return atomic_load(&space.pt.tlb.generation);
}

/* --- at each moment old or new --- */

#define WATCHED 4

static struct {
	uint64_t at[WATCHED];
	struct mmu_page before[WATCHED];
	uint64_t hpa; /* where at[0] may also go from now on; 0: nowhere */
	unsigned rights;
	unsigned stores, wrong;
} watch;

static void watch_store(const volatile void *entry, uint64_t raw)
{
	(void)entry;
	(void)raw;
	watch.stores++;
	for (unsigned i = 0; i < WATCHED; i++) {
		const struct mmu_page *old = &watch.before[i];
		uint64_t was = old->hpa + (watch.at[i] - old->gpa), is;
		struct mmu_page t;

		if (fresh_look(watch.at[i], &t) != MMU_DONE) {
			watch.wrong++;
			continue;
		}
		is = t.hpa + (watch.at[i] - t.gpa);
		watch.wrong += is != was && (watch.hpa == 0 || is != watch.hpa + watch.at[i]);
		watch.wrong += t.rights != old->rights && t.rights != watch.rights;
		watch.wrong += old->dirty && !t.dirty && is == was;
	}
}

/* From here on each store is watched; the new translation is `hpa` + address, with `rights`. */
static void watch_begin(uint64_t hpa, unsigned rights)
{
	for (unsigned i = 0; i < WATCHED; i++)
		CU_ASSERT_EQUAL(fresh_look(watch.at[i], &watch.before[i]), MMU_DONE);
	watch.hpa = hpa;
	watch.rights = rights;
	watch.stores = watch.wrong = 0;
	host_pt_store = watch_store;
}

static void watch_end(void)
{
	struct mmu_page t;

	watch_store(NULL, 0);
	host_pt_store = NULL;
	CU_ASSERT(watch.stores > 1);
	CU_ASSERT_EQUAL(watch.wrong, 0);
	CU_ASSERT_EQUAL(fresh_look(watch.at[0], &t), MMU_DONE);
	CU_ASSERT_EQUAL(t.rights, watch.rights);
}

/*
 * XSA-328: an entry in use was changed field by field; 5834f299b: a walker saw half of a store. A
 * CPU that walks at any moment of a split, a change of rights, a join or a replacement finds the
 * old translation or the new one.
 */
static void test_old_or_new(void)
{
	const uint64_t at = SIZE_1G + SIZE_2M;
	struct frame *block = guest_block(FRAME_ORDER_2M);
	struct vm_cursor c;
	struct pt_leaf old;

	map_fresh(at, FRAME_ORDER_2M, WB_RW);
	for (unsigned i = 0; i < WATCHED; i++)
		watch.at[i] = at + i * 0x33000;
	open_at(&c, at, SIZE_2M, VM_CHANGE);
	CU_ASSERT_TRUE(vm_mark(&space, gpa(at), PT_ACCESSED | PT_DIRTY));
	watch_begin(0, MMU_READ);
	CU_ASSERT_EQUAL(vm_protect_next(&c, PAGE_SIZE, RO, &old), 0);
	watch_end();
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(at)), 0);
	watch_begin(0, MMU_READ | MMU_WRITE);
	CU_ASSERT_EQUAL(vm_protect_next(&c, PAGE_SIZE, WB_RW, &old), 0);
	watch_end();
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(at)), 0);
	watch_begin(0, MMU_READ | MMU_WRITE);
	CU_ASSERT_EQUAL(vm_collapse(&c, SIZE_2M), 0);
	watch_end();
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(at)), 0);
	watch_begin(frame_hpa(block).hpa - at, MMU_READ | MMU_WRITE | MMU_EXEC);
	CU_ASSERT_EQUAL(vm_map(&c, block, PT_RWX | PT_MEM_WB), 0);
	watch_end();
	vm_cursor_close(&c);
}

/* A CPU in the guest writes just before each store. */
static void write_before_store(const volatile void *entry, uint64_t raw)
{
	struct mmu_page t;
	(void)entry;
	(void)raw;
	watch.stores++;
	if (fresh_look(0x5000, &t) == MMU_DONE && (t.rights & MMU_WRITE) != 0)
		watch.wrong += guest_access(1, 0x5000, MMU_WRITE) != UINT64_MAX;
}

static void clear_marks(uint64_t at)
{
	struct pt_leaf old;
	struct vm_cursor c;

	open_at(&c, at, PAGE_SIZE, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_clear_marks_next(&c, PAGE_SIZE, PT_ACCESSED | PT_DIRTY, &old), 0);
	vm_cursor_close(&c);
}

static int change_rights(struct vm_cursor *c, bool next, pt_attr_t attr)
{
	struct pt_leaf old;
	uint64_t pages;

	return next ? vm_protect_next(c, PAGE_SIZE, attr, &old)
		    : vm_protect(c, PAGE_SIZE, attr, &pages);
}

/* KVM's locking.rst: a mark that the CPU set between the look at an entry and the store to it was
 * lost. Here `wrong` counts writes that happened; one is enough to be dirty. */
static void test_no_mark_is_lost(void)
{
	struct pt_leaf leaf;
	struct vm_cursor c;

	guests_begin();
	map_fresh(0x5000, 0, WB_RW);
	for (unsigned how = 0; how < 4; how++) {
		clear_marks(0x5000);
		guest_enter(1);
		/* Accessed only: there is a mark left for the CPU to set. */
		CU_ASSERT_NOT_EQUAL(guest_access(1, 0x5000, MMU_READ), UINT64_MAX);
		watch.stores = watch.wrong = 0;
		open_at(&c, 0x5000, PAGE_SIZE, VM_CHANGE);
		host_pt_store = write_before_store;
		CU_ASSERT_EQUAL(change_rights(&c, how % 2 == 0, how < 2 ? WB_RW : RO), 0);
		host_pt_store = NULL;
		vm_cursor_close(&c);
		CU_ASSERT_EQUAL(watch.stores, 1);
		CU_ASSERT_TRUE(look(0x5000, &leaf));
		CU_ASSERT_EQUAL((leaf.attr & PT_DIRTY) != 0, watch.wrong != 0);
		if (how < 2)
			guest_leave(1); /* nothing was taken away, so it was not kicked */
		open_at(&c, 0x5000, PAGE_SIZE, VM_CHANGE);
		CU_ASSERT_EQUAL(change_rights(&c, true, WB_RW), 0);
		vm_cursor_close(&c);
	}
	guests_end();
}

/* --- splits and joins --- */

/* 35bd2d847: a split that failed half-way left its small pages owning what the large one owned. */
static void test_split_fails(void)
{
	hpa_t where = map_fresh(SIZE_1G, FRAME_ORDER_2M, WB_RW);
	struct frame *block = frame_at(where);
	struct pt_fragment gone;
	struct pt_leaf leaf;
	struct vm_cursor c;
	uint64_t pages;

	open_at(&c, SIZE_1G, SIZE_2M, VM_CHANGE);
	for (unsigned what = 0; what < 5; what++) {
		int err = 0;

		CU_ASSERT_EQUAL(vm_jump(&c, gpa(SIZE_1G + 0x3000)), 0);
		frame_alloc_fail_after(0);
		switch (what) {
		case 0:
			err = vm_unmap(&c, PAGE_SIZE, &pages);
			CU_ASSERT_EQUAL(pages, 0);
			break;
		case 1:
			err = vm_take_next(&c, PAGE_SIZE, &gone);
			break;
		case 2:
			err = vm_protect(&c, PAGE_SIZE, RO, &pages);
			CU_ASSERT_EQUAL(pages, 0);
			break;
		case 3:
			err = vm_clear_marks_next(&c, PAGE_SIZE, PT_DIRTY, &leaf);
			break;
		default:
			err = vm_map_untracked(&c, hpa(0), PAGE_SIZE, WB_RW);
		}
		frame_alloc_fail_after(-1);
		CU_ASSERT_EQUAL(err, -ENOMEM);
		CU_ASSERT_EQUAL(frame_refs(block), 1);
		CU_ASSERT_TRUE(look(SIZE_1G + 0x3000, &leaf));
		CU_ASSERT_EQUAL(leaf.size, SIZE_2M);
		CU_ASSERT_EQUAL(leaf.attr, WB_RW | PT_TRACKED);
	}
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(SIZE_1G + 0x3000)), 0);
	CU_ASSERT_EQUAL(vm_unmap(&c, PAGE_SIZE, &pages), 0);
	vm_cursor_close(&c);
	epoch_drain();
	CU_ASSERT_EQUAL(frame_refs(block), 511);
}

/* Hafnium bb847d5a: pages were joined that did not follow each other in the host's memory. Here:
 * two that are swapped, one that is of elsewhere, a run that begins beside the block. */
static void test_join_what_is_not_contiguous(void)
{
	const uint64_t from = 8 * SIZE_1G, cases[][3] = {
		{ 7 * PAGE_SIZE, from + 8 * PAGE_SIZE, from },
		{ 511 * PAGE_SIZE, from, from },
		{ 0, from + SIZE_2M, from },
		{ 0, from + PAGE_SIZE, from + PAGE_SIZE },
	};
	struct pt_leaf leaf;
	struct vm_cursor c;

	for (unsigned i = 0; i < 4; i++) {
		open_at(&c, 0, SIZE_1G, VM_CHANGE);
		for (uint64_t at = 0; at < SIZE_2M; at += PAGE_SIZE)
			CU_ASSERT_EQUAL(
				vm_map_untracked(&c, hpa(cases[i][2] + at), PAGE_SIZE, WB_RW), 0);
		vm_jump(&c, gpa(cases[i][0]));
		CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(cases[i][1]), PAGE_SIZE, WB_RW), 0);
		vm_jump(&c, gpa(0));
		CU_ASSERT_EQUAL(vm_collapse(&c, SIZE_2M), -ENOENT);
		vm_cursor_close(&c);
		CU_ASSERT_TRUE(look(cases[i][0], &leaf));
		CU_ASSERT_EQUAL(leaf.size, PAGE_SIZE);
		CU_ASSERT_EQUAL(leaf.hpa.hpa, cases[i][1]);
	}
}

/* Jailhouse 7cffb9b7: a range larger than a large page, which covers the pages at its ends in part
 * only, took out too much there and too little between. */
static void test_unmap_parts_at_both_ends(void)
{
	const uint64_t first = SIZE_1G + 0x1ff000, len = 2 * SIZE_2M + 2 * PAGE_SIZE;
	struct pt_leaf leaf;
	struct vm_cursor c;

	open_at(&c, SIZE_1G, 4 * SIZE_2M, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(4 * SIZE_1G), 4 * SIZE_2M, WB_RW), 0);
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(unmap_now(first, len), len / PAGE_SIZE);
	for (uint64_t at = SIZE_1G; at < SIZE_1G + 4 * SIZE_2M; at += PAGE_SIZE) {
		bool gone = at - first < len;

		CU_ASSERT_EQUAL(look(at, &leaf), !gone);
		CU_ASSERT(gone || leaf.hpa.hpa + (at - leaf.va) == at + 3 * SIZE_1G);
	}
}

/* Jailhouse c5a248d0: a large page mapped into an empty tree destroyed the upper levels. */
static void test_large_page_in_an_empty_tree(void)
{
	hpa_t where = map_fresh(SIZE_1G + SIZE_2M, FRAME_ORDER_2M, WB_RW);
	struct pt_step steps[PT_MAX_LEVELS];
	struct pt_leaf leaf;

	epoch_enter();
	CU_ASSERT_EQUAL(vm_walk(&space, gpa(SIZE_1G + SIZE_2M), steps), ops->limits->levels - 1);
	for (unsigned i = 0; i < ops->limits->levels - 1; i++)
		CU_ASSERT_EQUAL(steps[i].is,
				i + 2 < ops->limits->levels ? PT_STEP_TABLE : PT_STEP_LEAF);
	epoch_exit();
	map_fresh(SIZE_1G, 0, WB_RW);
	map_fresh(0, 0, WB_RW);
	CU_ASSERT_TRUE(look(SIZE_1G + SIZE_2M, &leaf));
	CU_ASSERT_EQUAL(leaf.hpa.hpa, where.hpa);
	CU_ASSERT_FALSE(look(SIZE_1G + 2 * SIZE_2M, &leaf));
}

/* Hafnium 69f51f76, 3e6c8533: with the wrong level in hand a leaf was read as a table. What lies
 * behind these leaves would pass for one: the root, and a page of it. */
static void test_leaf_is_no_table(void)
{
	const uint64_t root = frame_hpa(space.pt.root).hpa;
	struct pt_leaf leaf;
	struct vm_cursor c;
	struct mmu_page t;

	open_at(&c, 0, 4 * SIZE_2M, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(root), PAGE_SIZE, PT_RWX | PT_MEM_WB), 0);
	vm_jump(&c, gpa(SIZE_2M));
	CU_ASSERT_EQUAL(
		vm_map_untracked(&c, hpa(round_down(root, SIZE_2M)), SIZE_2M, PT_RWX | PT_MEM_WB),
		0);
	vm_jump(&c, gpa(0));
	CU_ASSERT_TRUE(vm_next(&c, 4 * SIZE_2M, &leaf));
	CU_ASSERT_EQUAL(leaf.hpa.hpa, root);
	CU_ASSERT_EQUAL(leaf.size, PAGE_SIZE);
	CU_ASSERT_TRUE(vm_next(&c, 4 * SIZE_2M - PAGE_SIZE, &leaf));
	CU_ASSERT_EQUAL(leaf.size, SIZE_2M);
	CU_ASSERT_FALSE(vm_next(&c, 2 * SIZE_2M, &leaf));
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(fresh_look(SIZE_2M + 0x5000, &t), MMU_DONE);
	CU_ASSERT_EQUAL(t.hpa, round_down(root, SIZE_2M));
	CU_ASSERT_EQUAL(unmap_now(0, SIZE_1G), 513);
}

/* --- what is mapped, and what the entry says of it --- */

/* c851f054b, Hafnium d9238ecc: mapping over a mapping was accepted in silence, or failed when part
 * of it had happened. map_new refuses at each size, and nothing has happened. */
static void test_map_new_over_a_mapping(void)
{
	hpa_t small = map_fresh(0x5000, 0, WB_RW), large = map_fresh(SIZE_2M, 9, WB_RW);
	struct frame *page = guest_block(0), *block = guest_block(FRAME_ORDER_2M);
	uint64_t before = generation();
	struct pt_leaf leaf;
	struct vm_cursor c;

	open_at(&c, 0, SIZE_1G, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_map_new(&c, block, WB_RW), -EEXIST); /* over a table */
	vm_jump(&c, gpa(0x5000));
	CU_ASSERT_EQUAL(vm_map_new(&c, page, WB_RW), -EEXIST);
	vm_jump(&c, gpa(SIZE_2M));
	CU_ASSERT_EQUAL(vm_map_new(&c, block, WB_RW), -EEXIST);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, SIZE_2M);
	CU_ASSERT_FALSE(flusher_issued(&c.flusher));
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(generation(), before);
	CU_ASSERT_EQUAL(frame_refs(page), 1);
	CU_ASSERT_EQUAL(frame_refs(block), 1);
	CU_ASSERT_TRUE(look(0x5000, &leaf));
	CU_ASSERT_EQUAL(leaf.hpa.hpa, small.hpa);
	CU_ASSERT_TRUE(look(SIZE_2M + 0x5000, &leaf));
	CU_ASSERT_EQUAL(leaf.hpa.hpa, large.hpa);
	frame_put(page);
	frame_put(block);
}

/* #2042, vostd#625: untracked memory whose attributes say "tracked" was taken for counted memory
 * later, and a reference was dropped that nobody had. */
static void test_untracked_stays_untracked(void)
{
	struct frame *f = guest_block(FRAME_ORDER_2M);
	struct pt_leaf leaf;
	struct vm_cursor c;

	open_at(&c, 0, SIZE_1G, VM_CHANGE);
	for (uint64_t len = PAGE_SIZE; len <= SIZE_2M; len <<= 9) {
		vm_jump(&c, gpa(SIZE_2M));
		CU_ASSERT_EQUAL(vm_map_untracked(&c, frame_hpa(f), len, WB_RW | PT_TRACKED), 0);
		vm_jump(&c, gpa(SIZE_2M));
		CU_ASSERT_EQUAL(vm_query(&c, &leaf), 0);
		CU_ASSERT_EQUAL(leaf.attr, WB_RW);
		CU_ASSERT_EQUAL(vm_protect_next(&c, len, RO | PT_TRACKED, &leaf), 0);
		vm_jump(&c, gpa(SIZE_2M));
		CU_ASSERT_EQUAL(vm_query(&c, &leaf), 0);
		CU_ASSERT_EQUAL(leaf.attr, RO);
	}
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(unmap_now(0, SIZE_1G), 512);
	epoch_drain();
	CU_ASSERT_EQUAL(frame_refs(f), 1);
	frame_put(f);
}

/* Xvisor: a change of rights lost the frame's address, at some level; 4.6 (a): a page without any
 * right was taken for nothing, and its frame leaked, by unmap, by a replacement, with its table. */
static void test_rights_keep_the_frame(void)
{
	hpa_t where[4] = { map_fresh(0, 0, WB_RW), map_fresh(SIZE_2M, 9, WB_RW),
			   map_fresh(SIZE_1G, 0, WB_RW), hpa(8 * SIZE_1G) };
	const uint64_t at[4] = { 0, SIZE_2M, SIZE_1G, 2 * SIZE_1G };
	struct pt_leaf leaf;
	struct vm_cursor c;

	open_at(&c, 0, 4 * SIZE_1G, VM_CHANGE);
	vm_jump(&c, gpa(at[3]));
	CU_ASSERT_EQUAL(vm_map_untracked(&c, where[3], SIZE_1G, WB_RW), 0);
	for (pt_attr_t rights = PT_RIGHTS + 1; rights-- > 0;) {
		for (unsigned i = 0; i < 4; i++) {
			int err;

			vm_jump(&c, gpa(at[i]));
			err = vm_protect_next(&c, 2 * SIZE_1G, rights | PT_MEM_WB, &leaf);
			CU_ASSERT(err == 0 || (err == -EINVAL && (rights & PT_READ) == 0));
			vm_jump(&c, gpa(at[i]));
			CU_ASSERT_EQUAL(vm_query(&c, &leaf), 0);
			CU_ASSERT_EQUAL(leaf.hpa.hpa, where[i].hpa);
			CU_ASSERT(err != 0 || (leaf.attr & PT_RIGHTS) == rights);
		}
	}
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(unmap_now(0, PAGE_SIZE), 1);
	map_fresh(SIZE_2M, 9, WB_RW);
	CU_ASSERT_EQUAL(unmap_now(SIZE_1G, SIZE_1G), 1);
	epoch_drain();
	CU_ASSERT_EQUAL(in_use(FRAME_GUEST), SIZE_2M);
}

/* NOVA 903dcbad, 4.6 (e): writable without readable is a misconfiguration; 4.6 (b): whatever had a
 * bit of the type set was write-back; (c): accessed and dirty were dropped. What the format takes
 * is what a CPU finds, all else is refused. */
static void test_every_right_and_type(void)
{
	unsigned taken = 0;

	for (pt_attr_t attr = 0; attr <= (PT_RIGHTS | PT_MEM_MASK); attr++) {
		pt_attr_t type = (attr & PT_MEM_MASK) >> PT_MEM_SHIFT;
		bool write_only = (attr & PT_RW) == PT_WRITE;
		struct pt_leaf leaf;
		struct vm_cursor c;
		struct mmu_page t;

		if (ops == &fake_pt_ops && (type == 2 || type == 3 || type == 7 || write_only))
			continue; /* that format can say everything */
		open_at(&c, 0, SIZE_1G, VM_CHANGE);
		vm_jump(&c, gpa(SIZE_2M));
		if (vm_map_untracked(&c, hpa(8 * SIZE_1G), SIZE_2M, attr) == 0) {
			taken++;
			CU_ASSERT_FALSE(write_only || type == 2 || type == 3 || type == 7);
			CU_ASSERT_EQUAL(vm_mark(&space, gpa(SIZE_2M), PT_ACCESSED | PT_DIRTY),
					true);
			CU_ASSERT_TRUE(vm_translate(&space, gpa(SIZE_2M), &leaf));
			CU_ASSERT_EQUAL(leaf.attr, attr | PT_ACCESSED | PT_DIRTY);
			CU_ASSERT_NOT_EQUAL(fresh_look(SIZE_2M, &t), MMU_MALFORMED);
			CU_ASSERT((attr & PT_RIGHTS) == 0 ||
				  (t.rights == (attr & PT_RIGHTS) && t.mem == type && t.dirty));
		}
		vm_cursor_close(&c);
		unmap_now(0, SIZE_1G);
	}
	CU_ASSERT(taken >= 4 * 4);
}

#define EACH(name)                    \
	static void each_##name(void) \
	{                             \
		on_each(test_##name); \
	}
#define ALL(X)                         \
	X(old_or_new)                  \
	X(no_mark_is_lost)             \
	X(split_fails)                 \
	X(join_what_is_not_contiguous) \
	X(unmap_parts_at_both_ends)    \
	X(large_page_in_an_empty_tree) \
	X(leaf_is_no_table)            \
	X(map_new_over_a_mapping)      \
	X(untracked_stays_untracked)   \
	X(rights_keep_the_frame)       \
	X(every_right_and_type)

ALL(EACH)

void suite_scenarios_tables(void);
void suite_scenarios_tables(void)
{
	CU_pSuite s = CU_add_suite("scenarios: tables", NULL, NULL);

#define ADD(name) CU_add_test(s, #name, each_##name);
	ALL(ADD)
}
