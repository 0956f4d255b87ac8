/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Reads and writes where they happen in place: in an epoch section of the caller, of all sizes,
 * around the end of a page, behind which our memory goes on with somebody else's bytes.
 *
 *      guest      | page FIRST ....... | page FIRST + 1 ..... |
 *      our memory | frame 3 .......... | frame 4: another page | ...  frame 7: FIRST + 1
 */
#include <CUnit/CUnit.h>
#include <string.h>

#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "tests/host/random.h"
#include "tests/unit/vmio_sizes.h"
#include "tests/unit/vmio_world.h"

#define PAGES	16
#define WINDOW	UINT64_C(0x10000)
#define LONGEST 300
#define MARK	0xee

static uint8_t *pages[PAGES];
static uint64_t first; /* of the two pages, from the start of the window */

/* Pages whose frames follow each other in another order than they do. */
static void begin(void)
{
	vmio_begin();
	for (unsigned i = 0; i < PAGES; i++) {
		unsigned page = i * 7 % PAGES;

		pages[page] = vmio_map(WINDOW + page * PAGE_SIZE, 0, PT_RW);
		for (unsigned k = 0; k < PAGE_SIZE; k++)
			pages[page][k] = (uint8_t)(k * 3 + k / 256 + page * 16);
	}
	for (first = 0; first < PAGES - 1; first++)
		for (unsigned other = 0; other < PAGES; other++)
			if (pages[other] == pages[first] + PAGE_SIZE && other != first + 1)
				return;
	CU_FAIL_FATAL("no two such pages");
}

/* Byte i from the start of the first page, as the guest has it. */
static uint8_t *byte(uint64_t i)
{
	return &pages[first + i / PAGE_SIZE][i % PAGE_SIZE];
}

/* Forgets the page last used. */
static void forget(struct vm_io *io)
{
	CU_ASSERT_EQUAL(vm_io_seek(io, 2 * PAGE_SIZE), 0);
}

/* n bytes that begin `before` bytes before the end of the first page. */
static bool reads(struct vm_reader *r, reading read, uint64_t before, size_t n)
{
	uint64_t at = PAGE_SIZE - before;
	uint8_t got[LONGEST + 8];

	memset(got, MARK, sizeof(got));
	if (vm_io_seek(&r->io, at) != 0 || read(r, got, n) != 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (got[i] != *byte(at + i))
			return false;
	return got[n] == MARK && vm_remain(r) == 2 * PAGE_SIZE - at - n;
}

/* And no other byte near them, or near the end of the first frame, changes. */
static bool writes(struct vm_writer *w, writing write, uint64_t before, size_t n)
{
	uint64_t at = PAGE_SIZE - before;
	uint8_t *end = pages[first] + PAGE_SIZE, other[LONGEST], bytes[LONGEST + 1];

	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8_t) ~*byte(at + i);
	memcpy(other, end, sizeof(other));
	*byte(at - 1) = *byte(at + n) = MARK;
	if (vm_io_seek(&w->io, at) != 0 || write(w, bytes, n) != 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (*byte(at + i) != bytes[i])
			return false;
	return *byte(at - 1) == MARK && *byte(at + n) == MARK &&
	       memcmp(other, end, sizeof(other)) == 0 && vm_avail(w) == 2 * PAGE_SIZE - at - n;
}

/* Inside a section of ours or not, with the page remembered or not. */
static void each_read(reading read, size_t n)
{
	unsigned wrong = 0;

	for (unsigned how = 0; how < 4; how++) {
		struct vm_reader r = vmio_reader(WINDOW + first * PAGE_SIZE, 2 * PAGE_SIZE);

		if (how & 1)
			epoch_enter();
		for (uint64_t before = 1; before <= n; before++) {
			if (how & 2)
				forget(&r.io);
			wrong += !reads(&r, read, before, n);
		}
		if (how & 1)
			epoch_exit();
		vmio_gone(&r.io);
	}
	CU_ASSERT_EQUAL(wrong, 0);
}

static void each_write(writing write, size_t n)
{
	unsigned wrong = 0;

	for (unsigned how = 0; how < 4; how++) {
		struct vm_writer w = vmio_writer(WINDOW + first * PAGE_SIZE, 2 * PAGE_SIZE);

		if (how & 1)
			epoch_enter();
		for (uint64_t before = 1; before <= n; before++) {
			if (how & 2)
				forget(&w.io);
			wrong += !writes(&w, write, before, n);
		}
		if (how & 1)
			epoch_exit();
		vmio_gone(&w.io);
	}
	CU_ASSERT_EQUAL(wrong, 0);
}

static void test_reads_across(void)
{
	begin();
	for (size_t n = 0; n < KNOWN; n++)
		each_read(known_reads[n], n);
	for (size_t n = 0; n <= LONGEST; n += n < 72 ? 1 : 19)
		each_read(any_read, n);
	vmio_end();
}

static void test_writes_across(void)
{
	begin();
	for (size_t n = 0; n < KNOWN; n++)
		each_write(known_writes[n], n);
	for (size_t n = 0; n <= LONGEST; n += n < 72 ? 1 : 19)
		each_write(any_write, n);
	vmio_end();
}

/* The range ends within the page: what lies behind it is not of it, in any way of looking. */
static void test_end_of_range(void)
{
	uint8_t bytes[LONGEST] = { 0 };

	begin();
	for (unsigned how = 0; how < 4; how++) {
		struct vm_reader r = vmio_reader(WINDOW + 0x100, 64);
		struct vm_writer w = vmio_writer(WINDOW + 0x200, 64);

		if (how & 1)
			epoch_enter();
		if (how & 2) {
			CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 1), 0);
			CU_ASSERT_EQUAL(vm_write_bytes(&w, bytes, 1), 0);
		}
		memset(bytes, MARK, sizeof(bytes));
		CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 65), -ERANGE);
		CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 257), -ERANGE);
		CU_ASSERT_EQUAL(vm_write_bytes(&w, bytes, 65), -ERANGE);
		CU_ASSERT_EQUAL(vm_write_bytes(&w, bytes, 257), -ERANGE);
		CU_ASSERT_NOT_EQUAL(pages[0][0x23f], MARK);
		vm_io_skip(&r.io, vm_remain(&r));
		vm_io_skip(&w.io, vm_avail(&w));
		CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 1), -ERANGE);
		CU_ASSERT_EQUAL(vm_write_bytes(&w, bytes, 1), -ERANGE);
		CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 0), 0);
		CU_ASSERT_EQUAL(vm_write_bytes(&w, bytes, 0), 0);
		CU_ASSERT_EQUAL(bytes[0], MARK);
		if (how & 1)
			epoch_exit();
		vmio_gone(&r.io);
		vmio_gone(&w.io);
	}
	vmio_end();
}

/* From place to place, by all ways to move, often to where a page begins: each byte is the one that
 * is there, whichever page was last used or looked up ahead. */
static void test_moves(void)
{
	static uint8_t got[2 * PAGE_SIZE];
	const uint64_t len = 3 * PAGE_SIZE;
	uint64_t seed = random_seed(11), at = 0;
	struct vm_reader r;
	unsigned wrong = 0;

	begin();
	r = vmio_reader(WINDOW, len);
	first = 0;
	epoch_enter();
	for (unsigned i = 0; i < 30000; i++) {
		uint64_t n = 1 + random_below(&seed, random_below(&seed, 4) != 0 ? 64 : len / 2);
		uint64_t to_end = PAGE_SIZE - at % PAGE_SIZE;

		if (random_below(&seed, 3) == 0)
			n = to_end;
		n = n < len - at ? n : len - at;
		switch (random_below(&seed, 8)) {
		case 0:
			at = random_below(&seed, 2) != 0 ? random_below(&seed, len)
							 : random_below(&seed, 3) * PAGE_SIZE;
			wrong += vm_io_seek(&r.io, at) != 0;
			break;
		case 1:
			vm_io_skip(&r.io, n);
			at += n;
			break;
		default:
			wrong += vm_read_bytes(&r, got, n) != 0;
			for (uint64_t k = 0; k < n; k++)
				wrong += got[k] != *byte(at + k);
			at += n;
		}
		wrong += vm_remain(&r) != len - at;
		if (at == len)
			wrong += vm_io_seek(&r.io, at = random_below(&seed, PAGE_SIZE)) != 0;
	}
	CU_ASSERT_EQUAL(wrong, 0);
	epoch_exit();
	vmio_gone(&r.io);
	vmio_end();
}

/* A limit within a list holds for what is read in place, too. */
static void test_limit_in_a_list(void)
{
	static const struct vm_range ranges[] = { { { WINDOW }, 8 }, { { WINDOW + 0x2000 }, 8 } };
	struct vm_reader r;
	uint8_t bytes[4];

	begin();
	for (unsigned how = 0; how < 2; how++) {
		CU_ASSERT_EQUAL(vm_reader_list(&r, &vmio_space, ranges, 2, &vmio_use), 0);
		CU_ASSERT_EQUAL(vm_io_activate(&r.io), 0);
		if (how & 1)
			epoch_enter();
		vm_io_limit(&r.io, 10);
		CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 4), 0);
		CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 4), 0);
		CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 3), -ERANGE);
		CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 1), 0);
		CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 2), -ERANGE);
		CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 1), 0);
		CU_ASSERT_EQUAL(vm_remain(&r), 0);
		CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 1), -ERANGE);
		if (how & 1)
			epoch_exit();
		vmio_gone(&r.io);
	}
	/* In the page last used, where the range would go on. */
	r = vmio_reader(WINDOW, 64);
	epoch_enter();
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 4), 0);
	vm_io_limit(&r.io, 6);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 4), 0);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 4), -ERANGE);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 1), 0);
	vm_io_limit(&r.io, 0);
	CU_ASSERT_EQUAL(vm_remain(&r), 0);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 1), -ERANGE);
	epoch_exit();
	vmio_gone(&r.io);
	vmio_end();
}

/* A limit behind the page last used does not make that one longer. */
static void test_limit_behind_the_page(void)
{
	static uint8_t got[PAGE_SIZE];
	struct vm_reader r;

	begin();
	r = vmio_reader(WINDOW + first * PAGE_SIZE, 2 * PAGE_SIZE);
	epoch_enter();
	CU_ASSERT_EQUAL(vm_read_bytes(&r, got, 8), 0);
	vm_io_limit(&r.io, PAGE_SIZE + 100);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, got, PAGE_SIZE), 0);
	CU_ASSERT_EQUAL(memcmp(got, pages[first] + 8, PAGE_SIZE - 8), 0);
	CU_ASSERT_EQUAL(memcmp(got + PAGE_SIZE - 8, pages[first + 1], 8), 0);
	CU_ASSERT_EQUAL(vm_remain(&r), 100);
	epoch_exit();
	vmio_gone(&r.io);
	vmio_end();
}

/* --- the page ahead --------------------------------------------------------------------------- */

static void map_untracked(uint64_t at, void *page)
{
	struct vm_cursor c;

	CU_ASSERT_EQUAL_FATAL(
		vm_cursor_open(&c, &vmio_space, gpa(at), gpa(at + PAGE_SIZE), VM_CHANGE), 0);
	CU_ASSERT_EQUAL(
		vm_map_untracked(&c, hva_to_hpa(hva_of(page)), PAGE_SIZE, PT_RW | PT_MEM_UC), 0);
	vm_cursor_close(&c);
}

/* What is known of it beforehand gives no right that it has not, and leaves no mark out. */
static void test_ahead_rights(void)
{
	static uint8_t bytes[PAGE_SIZE];
	struct vm_reader r;
	struct vm_writer w;
	uint8_t *next;

	begin();
	/* Found as it is wanted, so that the one behind it is looked for. */
	vmio_map(WINDOW, 0, PT_RW | PT_ACCESSED | PT_DIRTY);
	w = vmio_writer(WINDOW, 2 * PAGE_SIZE);
	epoch_enter();
	CU_ASSERT_EQUAL(vm_write_bytes(&w, bytes, PAGE_SIZE), 0);
	CU_ASSERT_EQUAL(vmio_attr(WINDOW + PAGE_SIZE) & PT_DIRTY, 0);
	CU_ASSERT_EQUAL(vm_write_bytes(&w, bytes, 8), 0);
	CU_ASSERT_EQUAL(vmio_attr(WINDOW + PAGE_SIZE) & PT_DIRTY, PT_DIRTY);
	next = vmio_map(WINDOW + PAGE_SIZE, 0, PT_READ | PT_ACCESSED | PT_DIRTY);
	vm_space_set_fault_handler(&vmio_space, NULL, NULL);
	CU_ASSERT_EQUAL(vm_io_seek(&w.io, 0), 0);
	memset(bytes, MARK, sizeof(bytes));
	CU_ASSERT_EQUAL(vm_write_bytes(&w, bytes, PAGE_SIZE), 0);
	CU_ASSERT_EQUAL(w.io.next.at, UINT64_MAX);
	CU_ASSERT_EQUAL(vm_write_bytes(&w, bytes, 8), -EFAULT);
	CU_ASSERT_EQUAL(next[0], 0);
	epoch_exit();
	vmio_gone(&w.io);
	/* Not tracked: a device's. */
	map_untracked(WINDOW + PAGE_SIZE,
		      hpa_ptr(frame_hpa(frame_alloc(0, FRAME_KERNEL, ALLOC_ZERO))));
	r = vmio_reader(WINDOW, 2 * PAGE_SIZE);
	epoch_enter();
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, PAGE_SIZE), 0);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 8), -EFAULT);
	epoch_exit();
	vmio_gone(&r.io);
	vmio_end();
}

/* Of the page ahead no more is used than belongs to it, and to the range. */
static void test_ahead_end(void)
{
	static uint8_t bytes[PAGE_SIZE + 16];
	struct vm_reader r;

	begin();
	r = vmio_reader(WINDOW, 3 * PAGE_SIZE);
	epoch_enter();
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, PAGE_SIZE), 0);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, PAGE_SIZE + 16), 0);
	CU_ASSERT_EQUAL(memcmp(bytes, pages[1], PAGE_SIZE), 0);
	CU_ASSERT_EQUAL(memcmp(bytes + PAGE_SIZE, pages[2], 16), 0);
	epoch_exit();
	vmio_gone(&r.io);
	r = vmio_reader(WINDOW, PAGE_SIZE + 16);
	epoch_enter();
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, PAGE_SIZE), 0);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 8), 0);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 9), -ERANGE);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 8), 0);
	CU_ASSERT_EQUAL(memcmp(bytes, pages[1] + 8, 8), 0);
	CU_ASSERT_EQUAL(vm_remain(&r), 0);
	epoch_exit();
	vmio_gone(&r.io);
	vmio_end();
}

static struct pt_ops ops;
static void (*hook)(unsigned walk); /* after the n-th walk for a place, from 1 */
static unsigned walks;

static struct pt_place place(const struct pt *pt, uint64_t va, pt_attr_t needs)
{
	struct pt_place found = npt_ops.place(pt, va, needs);

	walks++;
	if (hook != NULL)
		hook(walks);
	return found;
}

static void hook_places(void (*f)(unsigned walk))
{
	ops = npt_ops;
	ops.place = place;
	vmio_space.pt.ops = &ops;
	walks = 0;
	hook = f;
}

static void change_another(unsigned walk)
{
	if (walk == 1)
		vmio_map(WINDOW + 8 * PAGE_SIZE, 0, PT_RW);
}

/*
 * Somebody changes a page between the walk for this page and the one for the page ahead, and that
 * one right afterwards: the generation was odd when it was looked up, and is not remembered so.
 */
static void test_ahead_twice_changed(void)
{
	static uint8_t bytes[PAGE_SIZE];
	struct vm_reader r;

	begin();
	r = vmio_reader(WINDOW, 2 * PAGE_SIZE);
	hook_places(change_another);
	epoch_enter();
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, PAGE_SIZE), 0);
	CU_ASSERT_EQUAL(walks, 2);
	*(uint8_t *)vmio_map(WINDOW + PAGE_SIZE, 0, PT_RW) = 77;
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 1), 0);
	CU_ASSERT_EQUAL(bytes[0], 77);
	epoch_exit();
	vmio_gone(&r.io);
	vmio_end();
}

/* A large page that is split under a writer who remembers it: each part is marked by itself. */
static void test_split_under_a_writer(void)
{
	struct vm_cursor c;
	struct vm_writer w;
	struct pt_leaf leaf;
	uint64_t value = 3;

	vmio_begin();
	vmio_map(SIZE_2M, FRAME_ORDER_2M, PT_RW);
	w = vmio_writer(SIZE_2M, SIZE_2M);
	epoch_enter();
	CU_ASSERT_EQUAL(vm_write_val(&w, &value), 0);
	CU_ASSERT_EQUAL(vm_cursor_open(&c, &vmio_space, gpa(SIZE_2M + 0x5000),
				       gpa(SIZE_2M + 0x6000), VM_CHANGE),
			0);
	CU_ASSERT_EQUAL(vm_clear_marks_next(&c, PAGE_SIZE, PT_DIRTY, &leaf), 0);
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(vm_io_seek(&w.io, 0x5000), 0);
	CU_ASSERT_EQUAL(vm_write_val(&w, &value), 0);
	CU_ASSERT_EQUAL(vmio_attr(SIZE_2M + 0x5000) & (PT_ACCESSED | PT_DIRTY),
			PT_ACCESSED | PT_DIRTY);
	epoch_exit();
	vmio_gone(&w.io);
	vmio_end();
}

/* --- sections --------------------------------------------------------------------------------- */

static bool freed;

static void free_item(struct epoch_item *item)
{
	(void)item;
	freed = true;
}

static struct epoch_item item;
static unsigned freed_at;

static void wait_for_it(unsigned walk)
{
	if (walk == 1)
		epoch_defer(&item, free_item);
	epoch_poll();
	if (freed && freed_at == 0)
		freed_at = walk;
}

/* A copy of many pages does not keep memory from being freed until its end, and a page is copied in
 * one section. */
static void test_sections_end(void)
{
	static uint8_t bytes[256 << 10];
	struct vm_writer w = vm_writer_of(&bytes);
	struct vm_reader r;
	uint64_t n;

	vmio_begin();
	CU_ASSERT_EQUAL(vmio_put(0, bytes, sizeof(bytes) - PAGE_SIZE), 0);
	for (unsigned round = 0; round < 2; round++) {
		freed = false;
		freed_at = 0;
		r = vmio_reader(0, sizeof(bytes));
		w = vm_writer_of(&bytes);
		hook_places(wait_for_it);
		/* In a section of the caller's own it is the caller's. */
		if (round == 1)
			epoch_enter();
		CU_ASSERT_EQUAL(vm_copy(&r, &w, UINT64_MAX, &n), 0);
		CU_ASSERT_EQUAL(n, sizeof(bytes));
		CU_ASSERT_EQUAL(freed, round == 0);
		/* Not after each page. */
		CU_ASSERT(round == 1 || freed_at > 4);
		if (round == 1)
			epoch_exit();
		hook = NULL;
		vmio_gone(&r.io);
		epoch_drain();
	}
	vmio_end();
}

void suite_vmio_inline(void);
void suite_vmio_inline(void)
{
	CU_pSuite s = CU_add_suite("vmio in place", NULL, NULL);

	CU_add_test(s, "reads across pages", test_reads_across);
	CU_add_test(s, "writes across pages", test_writes_across);
	CU_add_test(s, "end of the range", test_end_of_range);
	CU_add_test(s, "moves", test_moves);
	CU_add_test(s, "limit in a list", test_limit_in_a_list);
	CU_add_test(s, "limit behind the page", test_limit_behind_the_page);
	CU_add_test(s, "page ahead: rights", test_ahead_rights);
	CU_add_test(s, "page ahead: end", test_ahead_end);
	CU_add_test(s, "page ahead: twice changed", test_ahead_twice_changed);
	CU_add_test(s, "split under a writer", test_split_under_a_writer);
	CU_add_test(s, "sections end", test_sections_end);
}
