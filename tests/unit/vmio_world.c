/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/unit/vmio_world.h"

#include <CUnit/CUnit.h>

#include "base/err.h"
#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "tests/host/arena.h"

struct vm_space vmio_space;
unsigned vmio_faults;
bool vmio_out_of_memory;
const struct vm_use vmio_use = { .who = "test" };

void *vmio_map(uint64_t at, unsigned order, pt_attr_t rights)
{
	struct frame *f = frame_alloc(order, FRAME_GUEST, ALLOC_ZERO);
	struct vm_cursor c;

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_EQUAL_FATAL(
		vm_cursor_open(&c, &vmio_space, gpa(at), gpa(at + (PAGE_SIZE << order)), VM_CHANGE),
		0);
	CU_ASSERT_EQUAL_FATAL(vm_map(&c, f, rights | PT_MEM_WB), 0);
	vm_cursor_close(&c);
	return frame_bytes(f);
}

static int fault(void *context, gpa_t at, pt_attr_t want)
{
	uint64_t page = round_down(at.gpa, PAGE_SIZE);
	bool last = page == VMIO_RAM - PAGE_SIZE;
	struct pt_leaf leaf;

	CU_ASSERT_PTR_EQUAL(context, &vmio_space);
	if (at.gpa >= VMIO_RAM || (last && want == PT_WRITE) ||
	    vm_translate(&vmio_space, at, &leaf))
		return -EFAULT;
	if (vmio_out_of_memory)
		return -ENOMEM;
	vmio_faults++;
	vmio_map(page, 0, last ? PT_READ : PT_RW);
	return 0;
}

void vmio_begin(void)
{
	arena_init(UINT64_C(16) << 20);
	npt_setup(true, 46);
	CU_ASSERT_EQUAL_FATAL(vm_space_init(&vmio_space, &npt_ops), 0);
	vm_space_set_fault_handler(&vmio_space, fault, &vmio_space);
	vmio_faults = 0;
	vmio_out_of_memory = false;
}

static void nobody(void *context, const struct owner_slot *slot)
{
	(void)context;
	(void)slot;
	CU_FAIL("a claim is left");
}

void vmio_end(void)
{
	owner_each(&vmio_space, nobody, NULL);
	vm_space_destroy(&vmio_space);
	epoch_drain();
	arena_fini();
}

struct vm_reader vmio_reader(uint64_t at, uint64_t len)
{
	struct vm_reader r;

	CU_ASSERT_EQUAL_FATAL(vm_reader_guest(&r, &vmio_space, gpa(at), len, &vmio_use), 0);
	CU_ASSERT_EQUAL_FATAL(vm_io_activate(&r.io), 0);
	return r;
}

struct vm_writer vmio_writer(uint64_t at, uint64_t len)
{
	struct vm_writer w;

	CU_ASSERT_EQUAL_FATAL(vm_writer_guest(&w, &vmio_space, gpa(at), len, &vmio_use), 0);
	CU_ASSERT_EQUAL_FATAL(vm_io_activate(&w.io), 0);
	return w;
}

void vmio_gone(struct vm_io *io)
{
	vm_io_dispose(io);
	vm_io_remove(io);
}

int vmio_put(uint64_t at, const void *bytes, size_t len)
{
	return vm_write_guest(&vmio_space, gpa(at), bytes, len, &vmio_use);
}

int vmio_get(uint64_t at, void *bytes, size_t len)
{
	return vm_read_guest(&vmio_space, gpa(at), bytes, len, &vmio_use);
}

static void open_cursor(struct vm_cursor *c, uint64_t at, uint64_t len)
{
	CU_ASSERT_EQUAL_FATAL(vm_cursor_open(c, &vmio_space, gpa(at), gpa(at + len), VM_CHANGE), 0);
}

void vmio_unmap(uint64_t at, uint64_t len)
{
	struct vm_cursor c;
	uint64_t pages;

	open_cursor(&c, at, len);
	CU_ASSERT_EQUAL(vm_unmap(&c, len, &pages), 0);
	vm_cursor_close(&c);
}

void vmio_protect(uint64_t at, uint64_t len, pt_attr_t rights)
{
	struct vm_cursor c;
	uint64_t pages;

	open_cursor(&c, at, len);
	CU_ASSERT_EQUAL(vm_protect(&c, len, rights | PT_MEM_WB, &pages), 0);
	vm_cursor_close(&c);
}

pt_attr_t vmio_attr(uint64_t at)
{
	struct pt_leaf leaf = { 0 };

	epoch_enter();
	if (!vm_translate(&vmio_space, gpa(at), &leaf))
		leaf.attr = 0;
	epoch_exit();
	return leaf.attr;
}
