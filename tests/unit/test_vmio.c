/* SPDX-License-Identifier: MPL-2.0 */
/* Copies to and from a guest: exact counts, rights, marks, memory that has to be brought in. */
#include <CUnit/CUnit.h>
#include <string.h>

#include "base/err.h"
#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "tests/host/arena.h"
#include "vmio/vmio.h"

#define RAM (UINT64_C(64) * PAGE_SIZE)

static struct vm_space space;
static unsigned faults;
static bool out_of_memory;

/* RAM from 0 to RAM, brought in page by page; the last page of it may only be read. */
static int fault(void *context, gpa_t at, pt_attr_t want)
{
	gpa_t page = gpa_align_down(at, PAGE_SIZE);
	bool last = page.gpa == RAM - PAGE_SIZE;
	struct pt_leaf leaf;
	struct vm_cursor c;
	struct frame *f;
	int err;

	CU_ASSERT_PTR_EQUAL(context, &space);
	if (at.gpa >= RAM || (last && want == PT_WRITE) || vm_translate(&space, at, &leaf))
		return -EFAULT;
	if (out_of_memory)
		return -ENOMEM;
	faults++;
	f = frame_alloc(0, FRAME_GUEST, ALLOC_ZERO);
	err = vm_cursor_open(&c, &space, page, gpa_add(page, PAGE_SIZE), VM_CHANGE);
	CU_ASSERT_EQUAL_FATAL(err, 0);
	err = vm_map(&c, f, (last ? PT_READ : PT_RW) | PT_MEM_WB);
	vm_cursor_close(&c);
	return err;
}

static void begin(void)
{
	arena_init(UINT64_C(16) << 20);
	npt_setup(true, 46);
	CU_ASSERT_EQUAL_FATAL(vm_space_init(&space, &npt_ops), 0);
	vm_space_set_fault_handler(&space, fault, &space);
	faults = 0;
	out_of_memory = false;
}

static void end(void)
{
	vm_space_destroy(&space);
	epoch_drain();
	arena_fini();
}

static int put(uint64_t at, const void *bytes, size_t len)
{
	struct vm_writer w;
	int err = vm_writer_guest(&w, &space, gpa(at), len);

	return err != 0 ? err : vm_write_bytes(&w, bytes, len);
}

static int get(uint64_t at, void *bytes, size_t len)
{
	struct vm_reader r;
	int err = vm_reader_guest(&r, &space, gpa(at), len);

	return err != 0 ? err : vm_read_bytes(&r, bytes, len);
}

static void test_across_pages(void)
{
	static uint8_t in[3 * PAGE_SIZE], out[sizeof(in)];

	begin();
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 7);
	CU_ASSERT_EQUAL(put(0x1800, in, sizeof(in)), 0);
	CU_ASSERT_EQUAL(faults, 4);
	CU_ASSERT_EQUAL(get(0x1800, out, sizeof(out)), 0);
	CU_ASSERT_EQUAL(memcmp(in, out, sizeof(in)), 0);
	CU_ASSERT_EQUAL(faults, 4);
	/* What was not written reads as zero. */
	CU_ASSERT_EQUAL(get(0x1000, out, 16), 0);
	CU_ASSERT_EQUAL(out[0] | out[15], 0);
	end();
}

static void test_exact_count_at_a_fault(void)
{
	static uint8_t bytes[4 * PAGE_SIZE];
	struct vm_reader r;
	struct vm_writer w;
	uint64_t copied;

	begin();
	/* Two pages before the read-only one: what lies before it is written, and no more. */
	r = vm_reader_host(bytes, sizeof(bytes));
	CU_ASSERT_EQUAL(vm_writer_guest(&w, &space, gpa(RAM - 3 * PAGE_SIZE + 8), sizeof(bytes)),
			0);
	CU_ASSERT_EQUAL(vm_copy(&r, &w, UINT64_MAX, &copied), -EFAULT);
	CU_ASSERT_EQUAL(copied, 2 * PAGE_SIZE - 8);
	CU_ASSERT_EQUAL(r.io.left, sizeof(bytes) - copied);
	CU_ASSERT_EQUAL(w.io.at.guest.gpa, RAM - PAGE_SIZE);
	/* Beyond all memory; and a write that fails leaves the cursor of write_bytes alone. */
	CU_ASSERT_EQUAL(vm_writer_guest(&w, &space, gpa(RAM - PAGE_SIZE - 8), 16), 0);
	CU_ASSERT_EQUAL(vm_write_bytes(&w, bytes, 16), -EFAULT);
	CU_ASSERT_EQUAL(w.io.at.guest.gpa, RAM - PAGE_SIZE - 8);
	CU_ASSERT_EQUAL(get(RAM - 8, bytes, 16), -EFAULT);
	CU_ASSERT_EQUAL(get(RAM - 8, bytes, 8), 0);
	end();
}

static void test_refusals(void)
{
	uint8_t bytes[16];
	struct vm_reader r;
	struct vm_writer w;

	begin();
	CU_ASSERT_EQUAL(vm_reader_guest(&r, &space, gpa(UINT64_MAX - 7), 16), -ERANGE);
	CU_ASSERT_EQUAL(vm_reader_guest(&r, &space, gpa(0), 8), 0);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 9), -ERANGE);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 0), 0);
	CU_ASSERT_EQUAL(r.io.left, 8);
	out_of_memory = true;
	CU_ASSERT_EQUAL(get(0x5000, bytes, 1), -ENOMEM);
	CU_ASSERT_EQUAL(vm_writer_guest(&w, &space, gpa(0x5000), 8), 0);
	CU_ASSERT_EQUAL(vm_fill_zero(&w, 8, NULL), -ENOMEM);
	end();
}

/* A device's registers are not memory; a read-only page is not written by us either. */
static void test_rights(void)
{
	uint64_t value = 1;
	struct vm_cursor c;

	begin();
	CU_ASSERT_EQUAL(get(RAM - 8, &value, 8), 0);
	CU_ASSERT_EQUAL(put(RAM - 8, &value, 8), -EFAULT);
	CU_ASSERT_EQUAL(vm_cursor_open(&c, &space, gpa(0x9000), gpa(0xa000), VM_CHANGE), 0);
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(0xfee00000), PAGE_SIZE, PT_RW | PT_MEM_UC), 0);
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(get(0x9000, &value, 8), -EFAULT);
	CU_ASSERT_EQUAL(put(0x9000, &value, 8), -EFAULT);
	end();
}

/* Our writes show up as dirty, like the guest's own; our reads do not. */
static void test_dirty(void)
{
	uint64_t value = 1;
	struct pt_leaf leaf;

	begin();
	CU_ASSERT_EQUAL(get(0x3000, &value, 8), 0);
	CU_ASSERT_EQUAL(put(0x4000, &value, 8), 0);
	epoch_enter();
	CU_ASSERT_TRUE(vm_translate(&space, gpa(0x3000), &leaf));
	CU_ASSERT_EQUAL(leaf.attr & PT_DIRTY, 0);
	CU_ASSERT_TRUE(vm_translate(&space, gpa(0x4000), &leaf));
	CU_ASSERT_EQUAL(leaf.attr & PT_DIRTY, PT_DIRTY);
	epoch_exit();
	end();
}

/* Guest to guest, and into itself where the ranges overlap within a page. */
static void test_guest_to_guest(void)
{
	char text[32] = "0123456789abcdef", got[32] = "";
	struct vm_reader r;
	struct vm_writer w;
	uint64_t n;

	begin();
	CU_ASSERT_EQUAL(put(0x2000, text, 16), 0);
	CU_ASSERT_EQUAL(vm_reader_guest(&r, &space, gpa(0x2000), 16), 0);
	CU_ASSERT_EQUAL(vm_writer_guest(&w, &space, gpa(0x2004), 100), 0);
	CU_ASSERT_EQUAL(vm_copy(&r, &w, 12, &n), 0);
	CU_ASSERT_EQUAL(n, 12);
	CU_ASSERT_EQUAL(get(0x2000, got, 16), 0);
	CU_ASSERT_STRING_EQUAL(got, "01230123456789ab");
	CU_ASSERT_EQUAL(vm_fill_zero(&w, 1000, &n), 0);
	CU_ASSERT_EQUAL(n, 100 - 12);
	end();
}

void suite_vmio(void);
void suite_vmio(void)
{
	CU_pSuite s = CU_add_suite("vmio", NULL, NULL);

	CU_add_test(s, "across pages", test_across_pages);
	CU_add_test(s, "exact count at a fault", test_exact_count_at_a_fault);
	CU_add_test(s, "refusals", test_refusals);
	CU_add_test(s, "rights", test_rights);
	CU_add_test(s, "dirty", test_dirty);
	CU_add_test(s, "guest to guest", test_guest_to_guest);
}
