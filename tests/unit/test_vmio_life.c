/* SPDX-License-Identifier: MPL-2.0 */
/* Readers and writers, their copies, and the spaces that they are over: who outlives whom. */
#include <CUnit/CUnit.h>
#include <string.h>

#include "base/err.h"
#include "tests/host/arena.h"
#include "tests/host/fault.h"
#include "tests/unit/vmio_world.h"
#include "vmio/virtual.h"

static const struct vm_use alone = { .who = "alone", .flags = VM_ALONE };

static void destroy(void *context)
{
	vm_space_destroy(context);
}

/* A space does not end before those that use it; the next one at its place has nobody. */
static void test_space_ends(void)
{
	struct vm_reader r, s;

	vmio_begin();
	r = vmio_reader(0x1000, 0x234);
	CU_ASSERT_TRUE(panics(destroy, &vmio_space, "a space ends while test"));
	CU_ASSERT_TRUE(panics(destroy, &vmio_space, "uses [0x1000, 0x1234)"));
	vmio_gone(&r.io);
	owner_set_shared_readers(&vmio_space, false);
	vmio_end();
	vmio_begin();
	r = vmio_reader(0x1000, 16);
	s = vmio_reader(0x1000, 16);
	vmio_gone(&r.io);
	vmio_gone(&s.io);
	vmio_end();
}

/* All that one space has room for is nothing to another. */
static void test_spaces_apart(void)
{
	static struct vm_range ranges[OWNER_LIST];
	static struct vm_space other;
	struct vm_writer w[2], last;
	uint64_t word = 7;

	vmio_begin();
	CU_ASSERT_EQUAL_FATAL(vm_space_init(&other, vmio_space.pt.ops), 0);
	for (unsigned k = 0; k < 2; k++) {
		for (unsigned i = 0; i < OWNER_LIST; i++)
			ranges[i] = (struct vm_range){ gpa((k * OWNER_LIST + i) * 2), 1 };
		CU_ASSERT_EQUAL(vm_writer_list(&w[k], &other, ranges, OWNER_LIST, &vmio_use), 0);
		CU_ASSERT_EQUAL(vm_io_activate(&w[k].io), 0);
	}
	CU_ASSERT_EQUAL(vm_writer_guest(&last, &other, gpa(0x9000), 1, &vmio_use), 0);
	CU_ASSERT_EQUAL(vm_io_activate(&last.io), -ENOSPC);
	CU_ASSERT_EQUAL(vmio_put(0, &word, 8), 0);
	vmio_gone(&w[0].io);
	CU_ASSERT_EQUAL(vm_io_activate(&last.io), 0);
	vmio_gone(&last.io);
	vmio_gone(&w[1].io);
	vm_space_destroy(&other);
	vmio_end();
}

static void dispose(void *context)
{
	vm_io_dispose(context);
}

/* The claim is the original's; its place may have another's by now. */
static void test_copy_is_not_disposed_of(void)
{
	struct vm_writer w, copy, other;

	vmio_begin();
	w = vmio_writer(0x1000, 8);
	copy = w;
	vm_io_dispose(&w.io);
	CU_ASSERT_TRUE(panics(dispose, &copy.io, "no claim of"));
	other = vmio_writer(0x1000, 8);
	CU_ASSERT_TRUE(panics(dispose, &copy.io, "no claim of"));
	vmio_gone(&other.io);
	vm_io_remove(&w.io);
	vmio_end();
}

static void activate(void *context)
{
	CU_ASSERT_EQUAL(vm_io_activate(context), 0);
}

static void test_host_has_no_owner(void)
{
	uint64_t word = 0;
	struct vm_reader r = vm_reader_of(&word);

	CU_ASSERT_TRUE(panics(activate, &r.io, "VM_IO_CREATED"));
}

/* With paging off an address is what it says. */
static const struct gva_mode flat = { .maxphyaddr = 36 };
static struct gva_result fault;
static struct vm_virtual virt = { .mode = &flat, .fault = &fault };

static void test_virtual_alone(void)
{
	struct vm_reader r, s;
	uint64_t word;

	vmio_begin();
	virt.pages = (struct guest_pages){ 0 };
	r = vmio_reader(0x1000, 8);
	vm_reader_virtual(&s, &vmio_space, gva(0x1000), 8, &virt, &alone);
	activate(&s.io);
	CU_ASSERT_EQUAL(vm_read_val(&s, &word), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(owner_conflict(), "(alone)"));
	vmio_gone(&r.io);
	CU_ASSERT_EQUAL(vm_read_val(&s, &word), 0);
	vmio_gone(&s.io);
	vmio_end();
}

/* Whose fault a copy's was: the last translation says that it was not the guest's tables. */
static void test_fault_of_the_other_side(void)
{
	struct vm_writer to;
	struct vm_reader r;
	uint64_t n;

	vmio_begin();
	virt.pages = (struct guest_pages){ 0 };
	vm_reader_virtual(&r, &vmio_space, gva(0x1000), 16, &virt, &vmio_use);
	activate(&r.io);
	fault = (struct gva_result){ .outcome = GVA_PAGE_FAULT, .cr2 = 0x1234 };
	CU_ASSERT_EQUAL(vm_writer_guest(&to, &vmio_space, gpa(VMIO_RAM), 16, &vmio_use), 0);
	activate(&to.io);
	CU_ASSERT_EQUAL(vm_copy(&r, &to, 16, &n), -EFAULT);
	CU_ASSERT_EQUAL(n, 0);
	CU_ASSERT_EQUAL(fault.outcome, GVA_OK);
	CU_ASSERT_EQUAL(fault.gpa.gpa, 0x1000);
	vmio_gone(&r.io);
	vmio_gone(&to.io);
	/* Also where the other side comes first. */
	fault = (struct gva_result){ .outcome = GVA_PAGE_FAULT, .cr2 = 0x1234 };
	CU_ASSERT_EQUAL(vm_reader_guest(&r, &vmio_space, gpa(VMIO_RAM), 16, &vmio_use), 0);
	activate(&r.io);
	vm_writer_virtual(&to, &vmio_space, gva(0x1000), 16, &virt, &vmio_use);
	activate(&to.io);
	CU_ASSERT_EQUAL(vm_copy(&r, &to, 16, &n), -EFAULT);
	CU_ASSERT_EQUAL(fault.outcome, GVA_OK);
	vmio_gone(&r.io);
	vmio_gone(&to.io);
	vmio_end();
}

/* Our own memory, too, is read with care: what cannot be read leaves the reader as it was. */
static void test_unreadable(void)
{
	struct vm_reader r = vm_reader_host((const void *)8, 600);
	static uint8_t bytes[600];
	struct vm_writer w;
	uint64_t n;

	host_fault_catch();
	for (unsigned i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 8), -EFAULT);
		CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 500), -EFAULT);
		CU_ASSERT_EQUAL(vm_read_rest(&r, bytes, 500), -EFAULT);
		CU_ASSERT_EQUAL(vm_remain(&r), 600);
	}
	w = vm_writer_of(&bytes);
	CU_ASSERT_EQUAL(vm_copy(&r, &w, 600, &n), -EFAULT);
	CU_ASSERT(n == 0 && vm_remain(&r) == 600 && vm_avail(&w) == 600);
	CU_ASSERT_EQUAL(vm_copy_rest(&r, &w, 600, &n), -EFAULT);
	CU_ASSERT(n == 0 && vm_remain(&r) == 600 && vm_avail(&w) == 600);
}

/* A word that is refused has no effect at all. */
static void test_refused_word(void)
{
	struct vm_writer w;
	uint64_t old = 0;

	vmio_begin();
	w = vmio_writer(0x1ffc, 8);
	CU_ASSERT_EQUAL(vm_write_once(&w, 8, 1), -EINVAL);
	CU_ASSERT_EQUAL(vm_compare_exchange(&w, 8, &old, 1), -EINVAL);
	CU_ASSERT_EQUAL(vm_fetch_or(&w, 3, 1, NULL), -EINVAL);
	CU_ASSERT_EQUAL(vmio_faults, 0);
	vm_io_limit(&w.io, 3);
	CU_ASSERT_EQUAL(vm_write_once(&w, 4, 1), -ERANGE);
	CU_ASSERT_EQUAL(vmio_faults, 0);
	CU_ASSERT_EQUAL(vmio_attr(0x1000), 0);
	vmio_gone(&w.io);
	vmio_end();
}

void suite_vmio_life(void);
void suite_vmio_life(void)
{
	CU_pSuite s = CU_add_suite("vmio life", NULL, NULL);

	CU_add_test(s, "space ends", test_space_ends);
	CU_add_test(s, "spaces apart", test_spaces_apart);
	CU_add_test(s, "copy is not disposed of", test_copy_is_not_disposed_of);
	CU_add_test(s, "host has no owner", test_host_has_no_owner);
	CU_add_test(s, "virtual alone", test_virtual_alone);
	CU_add_test(s, "fault of the other side", test_fault_of_the_other_side);
	CU_add_test(s, "unreadable", test_unreadable);
	CU_add_test(s, "refused word", test_refused_word);
}
