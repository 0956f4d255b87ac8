/* SPDX-License-Identifier: MPL-2.0 */
/* Single words of a guest, and readers and writers over several ranges. */
#include <CUnit/CUnit.h>
#include <string.h>

#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "tests/host/arena.h"
#include "tests/unit/vmio_world.h"

#define VALUE UINT64_C(0x8877665544332211)

static uint64_t low_bytes(uint64_t value, size_t size)
{
	return value & UINT64_MAX >> (64 - 8 * size);
}

static void test_once(void)
{
	uint64_t got;
	struct vm_reader r;
	struct vm_writer w;

	vmio_begin();
	for (size_t size = 1; size <= 8; size *= 2) {
		uint8_t *page = vmio_map(0x3000, 0, PT_RW);

		memset(page, 0xee, 64);
		w = vmio_writer(0x3010, size);
		CU_ASSERT_EQUAL(vm_write_once(&w, size, VALUE), 0);
		CU_ASSERT_EQUAL(vm_avail(&w), 0);
		CU_ASSERT_EQUAL(vm_write_once(&w, size, VALUE), -ERANGE);
		vmio_gone(&w.io);
		CU_ASSERT_EQUAL(page[0xf], 0xee);
		CU_ASSERT_EQUAL(page[0x10 + size], 0xee);
		CU_ASSERT_EQUAL(vmio_attr(0x3000) & PT_DIRTY, PT_DIRTY);
		r = vmio_reader(0x3010, size);
		CU_ASSERT_EQUAL(vm_atomic_load(&r.io, size, &got), 0);
		CU_ASSERT_EQUAL(got, low_bytes(VALUE, size));
		CU_ASSERT_EQUAL(vm_remain(&r), size);
		CU_ASSERT_EQUAL(vm_read_once(&r, size, &got), 0);
		CU_ASSERT_EQUAL(got, low_bytes(VALUE, size));
		CU_ASSERT_EQUAL(vm_remain(&r), 0);
		CU_ASSERT_EQUAL(vm_read_once(&r, size, &got), -ERANGE);
		vmio_gone(&r.io);
	}
	vmio_end();
}

/* Nothing is read, changed or moved when a word is refused. */
static void test_refusals(void)
{
	static const size_t bad[] = { 0, 3, 5, 6, 7, 9, 16, SIZE_MAX };
	uint64_t got = 5;
	struct vm_reader r;
	struct vm_writer w;

	vmio_begin();
	r = vmio_reader(0x2001, 64);
	w = vmio_writer(0x4001, 64);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CU_ASSERT_EQUAL(vm_read_once(&r, bad[i], &got), -EINVAL);
		CU_ASSERT_EQUAL(vm_write_once(&w, bad[i], 1), -EINVAL);
		CU_ASSERT_EQUAL(vm_atomic_load(&r.io, bad[i], &got), -EINVAL);
		CU_ASSERT_EQUAL(vm_compare_exchange(&w, bad[i], &got, 1), -EINVAL);
		CU_ASSERT_EQUAL(vm_fetch_or(&w, bad[i], 1, &got), -EINVAL);
	}
	for (size_t size = 2; size <= 8; size *= 2) {
		CU_ASSERT_EQUAL(vm_read_once(&r, size, &got), -EINVAL);
		CU_ASSERT_EQUAL(vm_write_once(&w, size, 1), -EINVAL);
		CU_ASSERT_EQUAL(vm_atomic_load(&r.io, size, &got), -EINVAL);
		CU_ASSERT_EQUAL(vm_compare_exchange(&w, size, &got, 1), -EINVAL);
		CU_ASSERT_EQUAL(vm_fetch_or(&w, size, 1, &got), -EINVAL);
	}
	CU_ASSERT_EQUAL(vm_remain(&r), 64);
	CU_ASSERT_EQUAL(vm_avail(&w), 64);
	vmio_gone(&r.io);
	vmio_gone(&w.io);
	w = vmio_writer(VMIO_RAM - PAGE_SIZE, 8);
	CU_ASSERT_EQUAL(vm_write_once(&w, 8, 1), -EFAULT);
	CU_ASSERT_EQUAL(vm_compare_exchange(&w, 8, &got, 1), -EFAULT);
	CU_ASSERT_EQUAL(got, 5);
	vmio_gone(&w.io);
	vmio_end();
}

/* A refused word is not looked at: nothing is brought in, no mark is set. */
static void test_refused_unseen(void)
{
	struct vm_range ranges[] = { { { 0x6000 }, 6 }, { { 0x7000 }, 2 } };
	struct vm_writer w;
	uint64_t got = 5;

	vmio_begin();
	vmio_map(0x4000, 0, PT_RW);
	w = vmio_writer(0x4001, 64);
	CU_ASSERT_EQUAL(vm_write_once(&w, 8, 1), -EINVAL);
	CU_ASSERT_EQUAL(vm_compare_exchange(&w, 4, &got, 1), -EINVAL);
	CU_ASSERT_EQUAL(vmio_attr(0x4000) & PT_DIRTY, 0);
	vmio_gone(&w.io);
	w = vmio_writer(0x5001, 64);
	CU_ASSERT_EQUAL(vm_fetch_or(&w, 2, 1, &got), -EINVAL);
	vmio_gone(&w.io);
	CU_ASSERT_EQUAL(vm_writer_list(&w, &vmio_space, ranges, 2, &vmio_use), 0);
	CU_ASSERT_EQUAL(vm_io_activate(&w.io), 0);
	CU_ASSERT_EQUAL(vm_write_once(&w, 8, 1), -ERANGE);
	vmio_gone(&w.io);
	CU_ASSERT_EQUAL(vmio_faults, 0);
	/* The size is wrong, whatever is there. */
	w = vmio_writer(VMIO_RAM + 1, 64);
	CU_ASSERT_EQUAL(vm_write_once(&w, 2, 1), -EINVAL);
	CU_ASSERT_EQUAL(vm_write_once(&w, 1, 1), -EFAULT);
	vmio_gone(&w.io);
	vmio_end();
}

static void test_exchange(void)
{
	struct vm_writer w;
	uint64_t *page, old, want;

	vmio_begin();
	page = vmio_map(0x3000, 0, PT_RW);
	w = vmio_writer(0x3008, 16);
	for (size_t size = 1; size <= 8; size *= 2) {
		page[1] = VALUE;
		old = ~VALUE;
		CU_ASSERT_EQUAL(vm_compare_exchange(&w, size, &old, 9), -EAGAIN);
		CU_ASSERT_EQUAL(old, low_bytes(VALUE, size));
		CU_ASSERT_EQUAL(page[1], VALUE);
		CU_ASSERT_EQUAL(vm_compare_exchange(&w, size, &old, 9), 0);
		want = (VALUE & ~low_bytes(UINT64_MAX, size)) | 9;
		CU_ASSERT_EQUAL(page[1], want);
		CU_ASSERT_EQUAL(vm_fetch_or(&w, size, 0xc0, &old), 0);
		CU_ASSERT_EQUAL(old, low_bytes(want, size));
		CU_ASSERT_EQUAL(page[1], want | 0xc0);
		CU_ASSERT_EQUAL(vm_fetch_or(&w, size, 1, NULL), 0);
		CU_ASSERT_EQUAL(vm_avail(&w), 16);
	}
	CU_ASSERT_EQUAL(page[2], 0);
	CU_ASSERT_EQUAL(vmio_attr(0x3000) & PT_DIRTY, PT_DIRTY);
	vmio_gone(&w.io);
	vmio_end();
}

/* A value that is wider than the word is there or is not: what is answered is what was done. */
static void test_wider_than_the_word(void)
{
	struct vm_writer w;
	uint8_t *page;

	vmio_begin();
	page = vmio_map(0x3000, 0, PT_RW);
	w = vmio_writer(0x3000, 8);
	for (size_t size = 1; size <= 4; size *= 2) {
		uint64_t old = UINT64_C(0x100000005);
		int err;

		page[0] = 5;
		err = vm_compare_exchange(&w, size, &old, 9);
		CU_ASSERT_EQUAL(page[0], err == 0 ? 9 : 5);
	}
	vmio_gone(&w.io);
	vmio_end();
}

static struct pt_ops ops;
static unsigned walks, marks, when;

static struct pt_place place_then_collect(const struct pt *pt, uint64_t va, pt_attr_t needs)
{
	struct pt_place found = npt_ops.place(pt, va, needs);
	struct vm_cursor c;
	struct pt_leaf leaf;

	if (found.at == NULL || ++walks != when)
		return found;
	CU_ASSERT_EQUAL(vm_cursor_open(&c, &vmio_space, gpa(va & ~UINT64_C(0xfff)),
				       gpa((va | 0xfff) + 1), VM_CHANGE),
			0);
	CU_ASSERT_EQUAL(vm_clear_marks_next(&c, PAGE_SIZE, PT_DIRTY, &leaf), 0);
	CU_ASSERT_EQUAL(leaf.attr & PT_DIRTY, PT_DIRTY);
	vm_cursor_close(&c);
	return found;
}

static bool mark_counted(const struct pt *pt, uint64_t va, pt_attr_t which)
{
	marks++;
	return npt_ops.mark(pt, va, which);
}

/* From now on the n-th walk is followed by a collector. */
static void collect_after(unsigned n)
{
	ops = npt_ops;
	ops.place = place_then_collect;
	ops.mark = mark_counted;
	vmio_space.pt.ops = &ops;
	walks = marks = 0;
	when = n;
}

/* A collector takes the mark between our walk and the exchange: it finds another one next time. And
 * where nobody does the page is not marked twice. */
static void test_marked_still(void)
{
	struct vm_writer w;
	uint64_t old = 0;

	vmio_begin();
	vmio_map(0x3000, 0, PT_RW | PT_ACCESSED | PT_DIRTY);
	w = vmio_writer(0x3000, 8);
	collect_after(0);
	CU_ASSERT_EQUAL(vm_compare_exchange(&w, 8, &old, 1), 0);
	CU_ASSERT_EQUAL(marks, 0);
	for (unsigned inside = 0; inside < 2; inside++) {
		vm_io_dispose(&w.io); /* the page last used is forgotten */
		CU_ASSERT_EQUAL(vm_io_activate(&w.io), 0);
		if (inside)
			epoch_enter();
		old = 1;
		collect_after(1);
		CU_ASSERT_EQUAL(vm_compare_exchange(&w, 8, &old, 1), 0);
		CU_ASSERT_EQUAL(walks, 1);
		CU_ASSERT_EQUAL(marks, 1);
		CU_ASSERT_EQUAL(vmio_attr(0x3000) & PT_DIRTY, PT_DIRTY);
		if (inside)
			epoch_exit();
	}
	vmio_gone(&w.io);
	/* The walker's own exchanges, too. */
	collect_after(1);
	epoch_enter();
	CU_ASSERT_EQUAL(guest_word_exchange(&vmio_space, gpa(0x3000), 8, 1, 2), 0);
	epoch_exit();
	CU_ASSERT_EQUAL(vmio_attr(0x3000) & PT_DIRTY, PT_DIRTY);
	vmio_end();
}

/* All bits set, a value that says "fault" in other implementations, is an ordinary one. */
static void test_all_ones(void)
{
	uint64_t ones = UINT64_MAX, got = 0;
	struct vm_writer w;

	vmio_begin();
	CU_ASSERT_EQUAL(vmio_put(0x2000, &ones, 8), 0);
	w = vmio_writer(0x2000, 8);
	for (size_t size = 1; size <= 8; size *= 2) {
		CU_ASSERT_EQUAL(vm_atomic_load(&w.io, size, &got), 0);
		CU_ASSERT_EQUAL(got, low_bytes(UINT64_MAX, size));
		CU_ASSERT_EQUAL(vm_compare_exchange(&w, size, &got, UINT64_MAX), 0);
	}
	vmio_gone(&w.io);
	vmio_end();
}

/* --- several ranges --------------------------------------------------------------------------- */

static const struct vm_range list[] = {
	{ { 0x1ffc }, 8 },
	{ { 0x9000 }, 0 },
	{ { 0x5000 }, 3 },
	{ { 0x4000 }, 5 },
};

static void test_list_round(void)
{
	static const char text[] = "0123456789abcdef";
	char got[32] = "";
	struct vm_reader r;
	struct vm_writer w;
	uint64_t n;

	vmio_begin();
	CU_ASSERT_EQUAL(vm_writer_list(&w, &vmio_space, list, 4, &vmio_use), 0);
	CU_ASSERT_EQUAL(vm_io_activate(&w.io), 0);
	CU_ASSERT_EQUAL(vm_avail(&w), 16);
	CU_ASSERT_EQUAL(vm_write_bytes(&w, text, 17), -ERANGE);
	CU_ASSERT_EQUAL(vm_write_bytes(&w, text, 2), 0);
	CU_ASSERT_EQUAL(vm_write_bytes(&w, text + 2, 9), 0);
	CU_ASSERT_EQUAL(vm_write_once(&w, 8, 0), -ERANGE);
	CU_ASSERT_EQUAL(vm_write_bytes(&w, text + 11, 5), 0);
	CU_ASSERT_EQUAL(vm_avail(&w), 0);
	CU_ASSERT_EQUAL(vmio_get(0x5000, got, 3), -EBUSY);
	vmio_gone(&w.io);
	CU_ASSERT_EQUAL(vmio_get(0x1ffc, got, 8), 0);
	CU_ASSERT_STRING_EQUAL(got, "01234567");
	CU_ASSERT_EQUAL(vmio_get(0x5000, got, 4), 0);
	CU_ASSERT_EQUAL(memcmp(got, "89a", 4), 0);
	CU_ASSERT_EQUAL(vm_reader_list(&r, &vmio_space, list, 4, &vmio_use), 0);
	CU_ASSERT_EQUAL(vm_io_activate(&r.io), 0);
	vm_io_skip(&r.io, 9);
	vm_io_limit(&r.io, 6);
	CU_ASSERT_EQUAL(vm_remain(&r), 6);
	CU_ASSERT_EQUAL(vm_io_seek(&r.io, 0), -EINVAL);
	memset(got, 0, sizeof(got));
	w = vm_writer_of(&got);
	CU_ASSERT_EQUAL(vm_copy(&r, &w, UINT64_MAX, &n), 0);
	CU_ASSERT_EQUAL(n, 6);
	CU_ASSERT_STRING_EQUAL(got, "9abcde");
	vmio_gone(&r.io);
	vmio_end();
}

/* The address is that of the next byte, also between two ranges. */
static void test_list_address(void)
{
	static const struct vm_range empty[] = { { { 0x1000 }, 0 }, { { 0x2000 }, 0 } };
	static const uint64_t want[] = { 0x1ffc, 0x2003, 0x5000, 0x5002, 0x4000, 0x4004 };
	static const uint64_t step[] = { 7, 1, 2, 1, 4, 1 };
	struct vm_reader r;

	vmio_begin();
	CU_ASSERT_EQUAL(vm_reader_list(&r, &vmio_space, list, 4, &vmio_use), 0);
	for (unsigned i = 0; i < 6; i++) {
		CU_ASSERT_EQUAL(vm_io_at(&r.io), want[i]);
		vm_io_skip(&r.io, step[i]);
	}
	CU_ASSERT_EQUAL(vm_io_at(&r.io), 0x4005);
	CU_ASSERT_EQUAL(vm_reader_list(&r, &vmio_space, empty, 2, &vmio_use), 0);
	CU_ASSERT_EQUAL(vm_io_at(&r.io), 0);
	vmio_end();
}

/* The count is exact where the third range is not there; all or nothing for a value. */
static void test_list_fault(void)
{
	static const struct vm_range holes[] = {
		{ { 0x1000 }, 10 }, { { 0x2000 }, 6 }, { { VMIO_RAM }, 9 }, { { 0x3000 }, 7 }
	};
	char bytes[32] = "";
	struct vm_reader r = vm_reader_of(&bytes);
	struct vm_writer w;
	uint64_t n;

	vmio_begin();
	CU_ASSERT_EQUAL(vm_writer_list(&w, &vmio_space, holes, 4, &vmio_use), 0);
	CU_ASSERT_EQUAL(vm_io_activate(&w.io), 0);
	CU_ASSERT_EQUAL(vm_write_bytes(&w, bytes, 17), -EFAULT);
	CU_ASSERT_EQUAL(vm_avail(&w), 32);
	CU_ASSERT_EQUAL(vm_copy(&r, &w, UINT64_MAX, &n), -EFAULT);
	CU_ASSERT_EQUAL(n, 16);
	CU_ASSERT_EQUAL(vm_remain(&r), 16);
	CU_ASSERT_EQUAL(vm_avail(&w), 16);
	vm_io_skip(&w.io, 9);
	CU_ASSERT_EQUAL(vm_copy(&r, &w, UINT64_MAX, &n), 0);
	CU_ASSERT_EQUAL(n, 7);
	vmio_gone(&w.io);
	vmio_end();
}

/* All ranges are claimed, or none. */
static void test_list_owners(void)
{
	static const struct vm_range twice[] = { { { 0x1000 }, 16 }, { { 0x100f }, 16 } };
	static const struct vm_range wraps[] = { { { 0x1000 }, 16 }, { { UINT64_MAX }, 16 } };
	static const struct vm_range large[] = { { { 0 }, UINT64_MAX }, { { 0 }, UINT64_MAX } };
	static struct vm_range many[OWNER_SLOTS + 1];
	struct vm_reader r;
	struct vm_writer w, v;

	vmio_begin();
	v = vmio_writer(0x4004, 100);
	CU_ASSERT_EQUAL(vm_reader_list(&r, &vmio_space, list, 4, &vmio_use), 0);
	CU_ASSERT_EQUAL(vm_io_activate(&r.io), -EBUSY);
	w = vmio_writer(0x1ffc, 8);
	vmio_gone(&w.io);
	vmio_gone(&v.io);
	CU_ASSERT_EQUAL(vm_io_activate(&r.io), 0);
	vmio_gone(&r.io);
	CU_ASSERT_EQUAL(vm_writer_list(&w, &vmio_space, twice, 2, &vmio_use), 0);
	CU_ASSERT_EQUAL(vm_io_activate(&w.io), -EBUSY);
	CU_ASSERT_EQUAL(vm_reader_list(&r, &vmio_space, twice, 2, &vmio_use), 0);
	CU_ASSERT_EQUAL(vm_io_activate(&r.io), 0);
	vmio_gone(&r.io);
	CU_ASSERT_EQUAL(vm_reader_list(&r, &vmio_space, wraps, 2, &vmio_use), -ERANGE);
	CU_ASSERT_EQUAL(vm_reader_list(&r, &vmio_space, large, 2, &vmio_use), -ERANGE);
	CU_ASSERT_EQUAL(vm_writer_list(&w, &vmio_space, many, OWNER_LIST + 1, &vmio_use), -E2BIG);
	CU_ASSERT_EQUAL(vm_writer_list(&w, &vmio_space, many, OWNER_LIST, &vmio_use), 0);
	CU_ASSERT_EQUAL(vm_avail(&w), 0);
	vmio_end();
}

/* A word lies in one range, whatever comes after it: nothing is read, changed or moved. */
static void test_beyond_the_range(void)
{
	static const struct vm_range apart[] = { { { 0x2000 }, 8 },
						 { { 0x3000 }, 4 },
						 { { 0x4000 }, 8 } };
	uint64_t got = 5, *page;
	struct vm_reader r;
	struct vm_writer w;

	vmio_begin();
	page = vmio_map(0x3000, 0, PT_RW);
	*page = VALUE;
	for (unsigned inside = 0; inside < 2; inside++) {
		if (inside)
			epoch_enter();
		CU_ASSERT_EQUAL(vm_reader_list(&r, &vmio_space, apart, 3, &vmio_use), 0);
		CU_ASSERT_EQUAL(vm_io_activate(&r.io), 0);
		vm_io_skip(&r.io, 8);
		CU_ASSERT_EQUAL(vm_read_once(&r, 8, &got), -ERANGE);
		CU_ASSERT_EQUAL(vm_atomic_load(&r.io, 8, &got), -ERANGE);
		CU_ASSERT_EQUAL(got, 5);
		CU_ASSERT_EQUAL(vm_remain(&r), 12);
		CU_ASSERT_EQUAL(vm_read_once(&r, 4, &got), 0);
		CU_ASSERT_EQUAL(got, low_bytes(VALUE, 4));
		got = 5;
		CU_ASSERT_EQUAL(vm_read_once(&r, 8, &got), 0);
		CU_ASSERT_EQUAL(got, 0);
		got = 5;
		vmio_gone(&r.io);
		CU_ASSERT_EQUAL(vm_writer_list(&w, &vmio_space, apart, 3, &vmio_use), 0);
		CU_ASSERT_EQUAL(vm_io_activate(&w.io), 0);
		vm_io_skip(&w.io, 8);
		CU_ASSERT_EQUAL(vm_write_once(&w, 8, 1), -ERANGE);
		CU_ASSERT_EQUAL(vm_compare_exchange(&w, 8, &got, 1), -ERANGE);
		CU_ASSERT_EQUAL(vm_fetch_or(&w, 8, 1, &got), -ERANGE);
		CU_ASSERT_EQUAL(got, 5);
		CU_ASSERT_EQUAL(*page, VALUE);
		CU_ASSERT_EQUAL(vm_avail(&w), 12);
		vmio_gone(&w.io);
		if (inside)
			epoch_exit();
	}
	vmio_end();
}

void suite_vmio_word(void);
void suite_vmio_word(void)
{
	CU_pSuite s = CU_add_suite("vmio words and lists", NULL, NULL);

	CU_add_test(s, "once", test_once);
	CU_add_test(s, "refusals", test_refusals);
	CU_add_test(s, "refused unseen", test_refused_unseen);
	CU_add_test(s, "exchange", test_exchange);
	CU_add_test(s, "wider than the word", test_wider_than_the_word);
	CU_add_test(s, "marked still", test_marked_still);
	CU_add_test(s, "all ones", test_all_ones);
	CU_add_test(s, "list, there and back", test_list_round);
	CU_add_test(s, "list, addresses", test_list_address);
	CU_add_test(s, "list with a hole", test_list_fault);
	CU_add_test(s, "list and owners", test_list_owners);
	CU_add_test(s, "beyond the range", test_beyond_the_range);
}
