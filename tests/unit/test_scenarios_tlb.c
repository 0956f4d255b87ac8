/* SPDX-License-Identifier: MPL-2.0 */
/* Bugs that others had, as tests: translations and tables that outlive what they were made of. */
#include <arch/this_cpu.h>

#include "base/err.h"
#include "ept/stage2.h"
#include "tests/unit/test_scenarios.h"

#define RO   (PT_READ | PT_MEM_WB)
#define GONE UINT64_MAX

#define CPU_1_2 (UINT64_C(1) << 1 | UINT64_C(1) << 2)

/* CPUs 1 and 2 are inside, and know where `at` is; CPU 3 knows it, and has left. */
static void heat(uint64_t at, hpa_t where)
{
	for (unsigned cpu = 1; cpu < VCPUS; cpu++) {
		guest_enter(cpu);
		CU_ASSERT_EQUAL(guest_access(cpu, at, MMU_READ), where.hpa);
		CU_ASSERT_EQUAL(guest_access(cpu, at, MMU_WRITE), where.hpa);
	}
	guest_leave(3);
	guests_kicked = 0;
}

/* What each CPU finds at `at` now, when it is in the guest again. */
static void all_find(uint64_t at, unsigned access, uint64_t where)
{
	for (unsigned cpu = 1; cpu < VCPUS; cpu++) {
		guest_enter(cpu);
		CU_ASSERT_EQUAL(guest_access(cpu, at, access), where);
		guest_leave(cpu);
	}
}

/* How a page, or all that is in its large page, goes away or loses its write right. */
enum change {
	UNMAP,
	TAKE_TABLE,
	MAP_SMALL,
	MAP_LARGE,
	MAP_UNTRACKED,
	MAP_FRAMES,
	PROTECT,
	PROTECT_NEXT,
	NO_RIGHTS,
	CHANGES,
};

static void change(struct vm_cursor *c, enum change how, struct frame *f)
{
	uint64_t len = how == TAKE_TABLE || how == MAP_LARGE ? SIZE_2M : PAGE_SIZE, n;
	pt_attr_t attr = how == NO_RIGHTS ? PT_MEM_WB : RO;
	struct pt_fragment gone;
	struct pt_leaf old;
	int err = 0;

	switch (how) {
	case UNMAP:
		err = vm_unmap(c, len, &n);
		break;
	case TAKE_TABLE:
		err = vm_take_next(c, len, &gone);
		break;
	case MAP_SMALL:
	case MAP_LARGE:
		err = vm_map(c, f, WB_RW);
		break;
	case MAP_UNTRACKED:
		err = vm_map_untracked(c, hpa(8 * SIZE_1G), len, WB_RW);
		break;
	case MAP_FRAMES:
		err = vm_map_frames(c, &f, 1, WB_RW, &n);
		break;
	case PROTECT:
		err = vm_protect(c, len, attr, &n);
		break;
	default:
		err = vm_protect_next(c, len, attr, &old);
	}
	CU_ASSERT_EQUAL(err, 0);
}

static struct frame *frame_for(enum change how)
{
	if (how == MAP_LARGE)
		return guest_block(FRAME_ORDER_2M);
	return how == MAP_SMALL || how == MAP_FRAMES ? guest_block(0) : NULL;
}

/*
 * #329, #811, #862, #970, #1140: remapped or protected without a flush, or on one CPU only; ACRN
 * and [inferred]: the call came back before the others had flushed. pKVM-IA #18: whether to flush
 * was decided after the entry had been cleared, from the empty entry. Each way to take something
 * away, from a small page and from a large one.
 */
static void test_gone_for_all_when_closed(void)
{
	for (enum change how = 0; how < CHANGES; how++) {
		for (unsigned order = 0; order <= 9; order += 9) {
			struct frame *f = frame_for(how);
			struct mmu_page t;
			struct vm_cursor c;

			guests_begin();
			heat(SIZE_1G, map_fresh(SIZE_1G, order, WB_RW));
			open_at(&c, SIZE_1G, SIZE_2M, VM_CHANGE);
			change(&c, how, f);
			vm_cursor_close(&c);
			CU_ASSERT_EQUAL(guests_kicked, CPU_1_2);
			epoch_drain();
			/* What a walk finds is what all find. */
			if (fresh_look(SIZE_1G, &t) != MMU_DONE || (t.rights & MMU_WRITE) == 0)
				t.hpa = GONE;
			CU_ASSERT(how == UNMAP || how == TAKE_TABLE || how >= PROTECT ||
				  t.hpa != GONE);
			all_find(SIZE_1G, MMU_WRITE, t.hpa);
			guests_end();
			unmap_now(0, 2 * SIZE_1G);
		}
	}
}

/* --- copy on write --- */

/*
 * #3651: a page that two spaces share is written, and copied; a CPU that had not heard of it read
 * the old frame when that had a new owner. The old one is the allocator's only after the flush.
 */
static void test_copy_on_write(void)
{
	hpa_t shared = map_fresh(0x5000, 0, RO), copy;
	struct frame *f = frame_at(shared);
	struct vm_cursor c;

	guests_begin();
	for (unsigned cpu = 1; cpu < VCPUS; cpu++) {
		guest_enter(cpu);
		CU_ASSERT_EQUAL(guest_access(cpu, 0x5000, MMU_READ), shared.hpa);
	}
	CU_ASSERT_EQUAL(guest_access(2, 0x5000, MMU_WRITE), GONE);
	guest_leave(2);
	copy = frame_hpa(guest_block(0));
	open_at(&c, 0x5000, PAGE_SIZE, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_map(&c, frame_at(copy), WB_RW), 0);
	epoch_poll();
	CU_ASSERT_EQUAL(frame_refs(f), 1);
	CU_ASSERT_EQUAL(guest_access(1, 0x5000, MMU_READ), shared.hpa);
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(guests_kicked, UINT64_C(1) << 1 | UINT64_C(1) << 3);
	epoch_drain();
	CU_ASSERT_EQUAL(frame_refs(f), 0);
	all_find(0x5000, MMU_WRITE, copy.hpa);
	guests_end();
}

/* --- tables --- */

/*
 * XSA-480: the last page of a table went, and the table was given back before the flush that it
 * waited for; Hedron's free_later freed a whole subtree at once. ACRN: the table was freed before
 * the entry that points to it was cleared. guests_end looks whether the allocator got one that a
 * CPU inside has met.
 */
static void test_tables_wait(void)
{
	uint64_t pages, tables = in_use(FRAME_STAGE2_TABLE);
	struct vm_cursor c;

	guests_begin();
	for (unsigned i = 0; i < 4; i++)
		map_fresh(i * (SIZE_1G + SIZE_2M), 0, WB_RW);
	for (unsigned cpu = 1; cpu <= 2; cpu++) {
		guest_enter(cpu);
		for (unsigned i = 0; i < 4; i++)
			CU_ASSERT_NOT_EQUAL(guest_access(cpu, i * (SIZE_1G + SIZE_2M), MMU_READ),
					    GONE);
	}
	open_at(&c, 0, UINT64_C(1) << 39, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_unmap(&c, UINT64_C(1) << 39, &pages), 0);
	CU_ASSERT_EQUAL(pages, 4);
	epoch_poll();
	CU_ASSERT(in_use(FRAME_STAGE2_TABLE) >= tables + 9 * PAGE_SIZE);
	CU_ASSERT_NOT_EQUAL(guest_access(1, SIZE_1G + SIZE_2M, MMU_READ), GONE);
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(guests_kicked, CPU_1_2);
	epoch_drain();
	CU_ASSERT(in_use(FRAME_STAGE2_TABLE) <= tables + PAGE_SIZE);
	all_find(SIZE_1G + SIZE_2M, MMU_READ, GONE);
	guests_end();
}

/*
 * Hafnium b7325779: when a large page was split, a page's worth was flushed, from the new mapping
 * on, and not the large one: the old rights lived on for the rest of it. Each CPU knows the large
 * page from another address.
 */
static void test_split_flushes_the_large_page(void)
{
	const uint64_t at = SIZE_1G + 0x1fe000;
	hpa_t where = map_fresh(SIZE_1G, FRAME_ORDER_2M, WB_RW);
	struct pt_leaf old;
	struct vm_cursor c;

	guests_begin();
	heat(SIZE_1G + 0x3000, hpa_add(where, 0x3000));
	open_at(&c, SIZE_1G, SIZE_2M, VM_CHANGE);
	vm_jump(&c, gpa(at));
	CU_ASSERT_EQUAL(vm_protect_next(&c, PAGE_SIZE, RO, &old), 0);
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(guests_kicked, CPU_1_2);
	all_find(at, MMU_WRITE, GONE);
	all_find(at, MMU_READ, where.hpa + 0x1fe000);
	all_find(at + PAGE_SIZE, MMU_WRITE, where.hpa + 0x1ff000);
	guests_end();
}

static uint64_t collapse_at;

static void write_once_more(unsigned cpu)
{
	CU_ASSERT_NOT_EQUAL(guest_access(cpu, collapse_at + cpu * PAGE_SIZE, MMU_WRITE), GONE);
}

/*
 * Hafnium c1012d6b: a table was replaced by a large page without a flush. A CPU that still has the
 * table goes on with it until then: the table stays, the frames are the same, and what it marks
 * there counts.
 */
static void test_join_waits_for_the_table(void)
{
	uint64_t tables;
	struct pt_leaf leaf;
	struct vm_cursor c;
	hpa_t where;

	guests_begin();
	collapse_at = SIZE_1G;
	where = map_fresh(SIZE_1G, FRAME_ORDER_2M, WB_RW);
	open_at(&c, SIZE_1G, SIZE_2M, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_clear_marks_next(&c, PAGE_SIZE, PT_DIRTY, &leaf), 0);
	vm_cursor_close(&c);
	for (unsigned cpu = 1; cpu <= 2; cpu++) {
		guest_enter(cpu);
		CU_ASSERT_EQUAL(guest_access(cpu, SIZE_1G + cpu * PAGE_SIZE, MMU_READ),
				where.hpa + cpu * PAGE_SIZE);
	}
	guest_kicked = write_once_more;
	tables = in_use(FRAME_STAGE2_TABLE);
	open_at(&c, SIZE_1G, SIZE_2M, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_collapse(&c, SIZE_2M), 0);
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(guests_kicked, CPU_1_2);
	epoch_drain();
	CU_ASSERT_EQUAL(in_use(FRAME_STAGE2_TABLE), tables - PAGE_SIZE);
	CU_ASSERT_TRUE(look(SIZE_1G, &leaf));
	CU_ASSERT_EQUAL(leaf.size, SIZE_2M);
	CU_ASSERT_NOT_EQUAL(leaf.attr & PT_DIRTY, 0);
	CU_ASSERT_EQUAL(frame_refs(frame_at(where)), 1);
	guest_kicked = NULL;
	all_find(SIZE_1G + 0x1234, MMU_WRITE, where.hpa + 0x1234);
	guests_end();
}

/* --- the order of flush and change --- */

static uint64_t commit_at, commit_found;

static void look_once_more(unsigned cpu)
{
	commit_found = guest_access(cpu, commit_at, MMU_READ);
	guest_leave(cpu);
	guest_enter(cpu);
	commit_found = guest_access(cpu, commit_at, MMU_READ);
}

/*
 * XSA-401, XSA-408: flushed first, and then the change was made: who looked in between filled the
 * old translation again. A CPU that is kicked, flushes, and is back at once must find the new one.
 */
static void test_change_before_flush(void)
{
	struct frame *f = guest_block(0);
	struct vm_cursor c;
	uint64_t pages;

	guests_begin();
	commit_at = 0x5000;
	heat(0x5000, map_fresh(0x5000, 0, WB_RW));
	guest_kicked = look_once_more;
	open_at(&c, 0x5000, PAGE_SIZE, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_map(&c, f, WB_RW), 0);
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(commit_found, frame_hpa(f).hpa);
	CU_ASSERT_EQUAL(guests_kicked, CPU_1_2);
	heat(0x5000, frame_hpa(f));
	open_at(&c, 0x5000, PAGE_SIZE, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_unmap(&c, PAGE_SIZE, &pages), 0);
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(commit_found, GONE);
	guests_end();
}

/*
 * XSA-346: a page was moved from one guest address to another, and the reference of the first
 * mapping dropped before its flush, while a second CPU removed the new one: the frame was free, and
 * the guest still had it.
 */
static void test_page_moves(void)
{
	hpa_t where = map_fresh(0x5000, 0, WB_RW);
	struct frame *f = frame_at(where);
	struct vm_cursor c, other;
	uint64_t pages;

	guests_begin();
	heat(0x5000, where);
	open_at(&c, 0x5000, PAGE_SIZE, VM_CHANGE);
	frame_get(f);
	CU_ASSERT_EQUAL(vm_unmap(&c, PAGE_SIZE, &pages), 0);
	/* Not flushed yet; it is mapped elsewhere, and CPU 3 takes it away again. */
	host_cpu = 3;
	open_at(&other, SIZE_1G, PAGE_SIZE, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_map(&other, f, WB_RW), 0);
	CU_ASSERT_EQUAL(vm_jump(&other, gpa(SIZE_1G)), 0);
	CU_ASSERT_EQUAL(vm_unmap(&other, PAGE_SIZE, &pages), 0);
	CU_ASSERT_EQUAL(pages, 1);
	CU_ASSERT_EQUAL(guest_access(1, 0x5000, MMU_WRITE), where.hpa);
	CU_ASSERT_EQUAL(frame_refs(f), 2);
	vm_cursor_close(&other);
	epoch_poll();
	CU_ASSERT_EQUAL(frame_refs(f), 1);
	host_cpu = 0;
	vm_cursor_close(&c);
	epoch_drain();
	host_cpu = 3;
	epoch_drain();
	host_cpu = 0;
	CU_ASSERT_EQUAL(frame_refs(f), 0);
	all_find(0x5000, MMU_READ, GONE);
	all_find(SIZE_1G, MMU_READ, GONE);
	guests_end();
}

/*
 * [inferred] in OSTD: a flusher that went out of scope with items not yet dispatched freed frames
 * that were not flushed. More pages than the ledger holds: it is emptied on the way, each time by a
 * flush, though one CPU comes back each time; guests_end looks for frames that a CPU still had.
 */
static void test_ledger_overflows(void)
{
	const uint64_t count = 3 * FLUSHER_LEAVES + 7;
	struct frame *again[3 * FLUSHER_LEAVES + 7];
	uint64_t done;
	struct vm_cursor c;

	guests_begin();
	guest_enter(1);
	for (uint64_t i = 0; i < count; i++) {
		hpa_t where = map_fresh(SIZE_2M + i * PAGE_SIZE, 0, WB_RW);

		again[i] = guest_block(0);
		if (i % 8 == 0)
			CU_ASSERT_EQUAL(guest_access(1, SIZE_2M + i * PAGE_SIZE, MMU_WRITE),
					where.hpa);
	}
	commit_at = SIZE_2M + (count - 1) * PAGE_SIZE;
	open_at(&c, SIZE_2M, count * PAGE_SIZE, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_map_frames(&c, again, count, WB_RW, &done), 0);
	CU_ASSERT_EQUAL(done, count);
	epoch_poll();
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(guests_kicked, 2);
	epoch_drain();
	CU_ASSERT_EQUAL(in_use(FRAME_GUEST), count * PAGE_SIZE);
	guest_enter(1);
	for (uint64_t i = 0; i < count; i++)
		CU_ASSERT_EQUAL(guest_access(1, SIZE_2M + i * PAGE_SIZE, MMU_READ),
				frame_hpa(again[i]).hpa);
	guests_end();
}

/* --- more than one space --- */

/*
 * #969, #800, #3920 (LoongArch), #3672: a space that a CPU was not in kept its entries, tagged, and
 * the CPU was not told of changes; when it came back it used them.
 */
static void test_back_in_another_space(void)
{
	hpa_t where = map_fresh(0x5000, 0, WB_RW);
	struct vm_space other;

	guests_begin();
	CU_ASSERT_EQUAL_FATAL(vm_space_init(&other, ops), 0);
	guest_enter(1);
	CU_ASSERT_EQUAL(guest_access(1, 0x5000, MMU_WRITE), where.hpa);
	guest_leave(1);
	guest_enter_space(1, &other); /* the other space's part of the TLB; ours stays, tagged */
	CU_ASSERT_EQUAL(unmap_now(0x5000, PAGE_SIZE), 1);
	CU_ASSERT_EQUAL(guests_kicked, 0);
	guest_leave(1);
	host_cpu = 1;
	CU_ASSERT_TRUE(tlb_enter(&space.pt.tlb)); /* that is what makes it flush */
	tlb_leave(&space.pt.tlb);
	CU_ASSERT_FALSE(tlb_enter(&space.pt.tlb));
	tlb_leave(&space.pt.tlb);
	CU_ASSERT_FALSE(tlb_enter(&other.pt.tlb));
	tlb_leave(&other.pt.tlb);
	host_cpu = 0;
	guests_end();
	vm_space_destroy(&other);
	epoch_drain();
}

/*
 * pKVM-IA #40: memory was given to another guest before the flush that had been put off. What has
 * been unmapped, and is mapped in another space at once, is out of reach of the first one's CPUs.
 */
static void test_memory_goes_to_another_space(void)
{
	hpa_t where = map_fresh(0x5000, 0, WB_RW);
	struct frame *f = frame_at(where);
	struct vm_space other;
	struct vm_cursor c;

	guests_begin();
	CU_ASSERT_EQUAL_FATAL(vm_space_init(&other, ops), 0);
	heat(0x5000, where);
	frame_get(f);
	CU_ASSERT_EQUAL(unmap_now(0x5000, PAGE_SIZE), 1);
	CU_ASSERT_EQUAL(guests_kicked, CPU_1_2);
	CU_ASSERT_EQUAL(vm_cursor_open(&c, &other, gpa(0), gpa(SIZE_2M), VM_CHANGE), 0);
	CU_ASSERT_EQUAL(vm_map(&c, f, WB_RW), 0);
	vm_cursor_close(&c);
	all_find(0x5000, MMU_READ, GONE);
	guest_enter_space(1, &other);
	CU_ASSERT_EQUAL(guest_access(1, 0, MMU_WRITE), where.hpa);
	guest_leave(1);
	guests_end();
	vm_space_destroy(&other);
	epoch_drain();
}

#define EACH(name)                    \
	static void each_##name(void) \
	{                             \
		on_each(test_##name); \
	}
#define ALL(X)                          \
	X(gone_for_all_when_closed)     \
	X(copy_on_write)                \
	X(tables_wait)                  \
	X(split_flushes_the_large_page) \
	X(join_waits_for_the_table)     \
	X(change_before_flush)          \
	X(page_moves)                   \
	X(ledger_overflows)             \
	X(back_in_another_space)        \
	X(memory_goes_to_another_space)

ALL(EACH)

void suite_scenarios_tlb(void);
void suite_scenarios_tlb(void)
{
	CU_pSuite s = CU_add_suite("scenarios: stale translations", NULL, NULL);

#define ADD(name) CU_add_test(s, #name, each_##name);
	ALL(ADD)
}
