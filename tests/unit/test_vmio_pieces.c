/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Pieces of guest-virtual memory: where they end, what they mark, what their use allows, and that
 * whichever way an access ends nobody's claim is left behind.
 */
#include <CUnit/CUnit.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "base/x86/regs.h"
#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "tests/host/arena.h"
#include "tests/host/fault.h"
#include "tests/unit/vmio_world.h"
#include "vmio/virtual.h"

#define PAGE	  UINT64_C(0x3000)
#define OTHER	  UINT64_C(0x5000)
#define DIRECTORY UINT64_C(0x6000)
#define TABLE	  UINT64_C(0x7000)
#define READ_ONLY (VMIO_RAM - PAGE_SIZE)
#define NOWHERE	  VMIO_RAM

static struct gva_mode mode;
static struct gva_result fault;
static struct vm_virtual virt = { .mode = &mode, .fault = &fault };

/* Without paging: addresses are physical. */
static void begin(void)
{
	vmio_begin();
	mode = (struct gva_mode){ .maxphyaddr = 46 };
	virt.pages = (struct guest_pages){ 0 };
	memset(&fault, 0xee, sizeof(fault));
}

/* 32-bit paging: the first 4 MiB by TABLE, whose first two entries are given. */
static void begin_paging(uint32_t first, uint32_t second)
{
	uint32_t *directory, *table;

	begin();
	mode.cr0 = CR0_PG | CR0_PE;
	mode.cr3 = DIRECTORY;
	directory = vmio_map(DIRECTORY, 0, PT_RW);
	table = vmio_map(TABLE, 0, PT_RW);
	directory[0] = TABLE | 7;
	table[0] = first;
	table[1] = second;
}

static struct vm_reader reader(uint64_t at, uint64_t len, const struct vm_use *use)
{
	struct vm_reader r;

	vm_reader_virtual(&r, &vmio_space, gva(at), len, &virt, use);
	CU_ASSERT_EQUAL_FATAL(vm_io_activate(&r.io), 0);
	return r;
}

static struct vm_writer writer(uint64_t at, uint64_t len, const struct vm_use *use)
{
	struct vm_writer w;

	vm_writer_virtual(&w, &vmio_space, gva(at), len, &virt, use);
	CU_ASSERT_EQUAL_FATAL(vm_io_activate(&w.io), 0);
	return w;
}

static void test_dirty(void)
{
	uint64_t value = 3, n;
	struct vm_writer w;

	begin();
	for (unsigned how = 0; how < 4; how++) {
		vmio_map(PAGE, 0, PT_RW);
		w = writer(PAGE, 64, &vmio_use);
		CU_ASSERT_EQUAL(vmio_attr(PAGE) & (PT_ACCESSED | PT_DIRTY), 0);
		if (how == 0)
			CU_ASSERT_EQUAL(vm_write_val(&w, &value), 0);
		if (how == 1)
			CU_ASSERT_EQUAL(vm_fill(&w, 1, 8, &n), 0);
		if (how == 2)
			CU_ASSERT_EQUAL(vm_write_once(&w, 8, 1), 0);
		if (how == 3)
			CU_ASSERT_EQUAL(vm_fetch_or(&w, 8, 1, NULL), 0);
		CU_ASSERT_EQUAL(vmio_attr(PAGE) & (PT_ACCESSED | PT_DIRTY), PT_ACCESSED | PT_DIRTY);
		vmio_gone(&w.io);
	}
	vmio_end();
}

/* Two pages of the guest in one of ours, not side by side. */
static void test_end_of_guest_page(void)
{
	uint8_t in[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 }, got[16];
	struct vm_reader r;
	struct vm_writer w;
	uint8_t *block;

	begin_paging((SIZE_2M + 0x5000) | 7, (SIZE_2M + 0x9000) | 7);
	block = vmio_map(SIZE_2M, FRAME_ORDER_2M, PT_RW);
	/* Where they would be if their addresses were physical ones. */
	vmio_map(0, 0, PT_RW | PT_ACCESSED | PT_DIRTY);
	vmio_map(PAGE_SIZE, 0, PT_RW | PT_ACCESSED | PT_DIRTY);
	for (unsigned inside = 0; inside < 2; inside++) {
		memset(block, 0xee, SIZE_2M);
		if (inside)
			epoch_enter();
		w = writer(0xff8, 16, &vmio_use);
		CU_ASSERT_EQUAL(vm_write_bytes(&w, in, 16), 0);
		r = reader(0xff8, 16, &vmio_use);
		CU_ASSERT_EQUAL(vm_read_bytes(&r, got, 16), 0);
		if (inside)
			epoch_exit();
		CU_ASSERT_EQUAL(memcmp(block + 0x5ff8, in, 8), 0);
		CU_ASSERT_EQUAL(memcmp(block + 0x9000, in + 8, 8), 0);
		CU_ASSERT_EQUAL(block[0x5ff7] & block[0x6000] & block[0x8fff] & block[0x9008],
				0xee);
		CU_ASSERT_EQUAL(memcmp(got, in, 16), 0);
		if (inside)
			epoch_enter();
		CU_ASSERT_EQUAL(vm_io_seek(&r.io, 0), 0);
		CU_ASSERT_EQUAL(vm_read_bytes(&r, got + 8, 8), 0);
		CU_ASSERT_EQUAL(memcmp(got + 8, in, 8), 0);
		if (inside)
			epoch_exit();
		vmio_gone(&r.io);
		vmio_gone(&w.io);
	}
	vmio_end();
}

/* A large page of the guest in many of ours, which are in our memory in another order. */
static void test_end_of_our_page(void)
{
	static uint8_t got[6 * PAGE_SIZE];
	const uint64_t start = 0x10005;
	uint8_t *pages[8];
	struct vm_reader r;
	unsigned wrong = 0;

	begin_paging(0, 0);
	mode.cr4 = CR4_PSE;
	*(uint32_t *)vmio_map(DIRECTORY, 0, PT_RW) = 0xe7; /* 4 MiB from 0, marked */
	for (unsigned i = 0; i < 8; i++) {
		unsigned page = i * 3 % 8;

		pages[page] = vmio_map(0x10000 + page * PAGE_SIZE, 0, PT_RW);
		for (unsigned k = 0; k < PAGE_SIZE; k++)
			pages[page][k] = (uint8_t)(k * 3 + k / 256 + page * 16);
	}
	r = reader(start, sizeof(got), &vmio_use);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, got, sizeof(got)), 0);
	for (unsigned i = 0; i < sizeof(got); i++)
		wrong += got[i] != pages[(5 + i) / PAGE_SIZE][(5 + i) % PAGE_SIZE];
	CU_ASSERT_EQUAL(wrong, 0);
	vmio_gone(&r.io);
	vmio_end();
}

/* What the use of the reader or writer says holds for stage 2, too. */
static void test_uses(void)
{
	static const struct vm_use look = { .who = "look", .flags = VM_PRESENT };
	static const struct vm_use rom = { .who = "rom", .flags = VM_READ_ONLY_TOO };
	struct vm_reader r;
	struct vm_writer w;
	uint64_t value = 7;

	begin();
	r = reader(PAGE, 16, &look);
	CU_ASSERT_EQUAL(vm_read_val(&r, &value), -EFAULT);
	CU_ASSERT_EQUAL(fault.outcome, GVA_OK);
	CU_ASSERT_EQUAL(fault.gpa.gpa, PAGE);
	CU_ASSERT_EQUAL(vmio_faults, 0);
	CU_ASSERT_EQUAL(vmio_attr(PAGE), 0);
	vmio_gone(&r.io);
	CU_ASSERT_EQUAL(vmio_get(READ_ONLY, &value, 8), 0);
	value = 7;
	w = writer(READ_ONLY, 8, &vmio_use);
	CU_ASSERT_EQUAL(vm_write_val(&w, &value), -EFAULT);
	vmio_gone(&w.io);
	w = writer(READ_ONLY, 8, &rom);
	CU_ASSERT_EQUAL(vm_write_val(&w, &value), 0);
	vmio_gone(&w.io);
	value = 0;
	CU_ASSERT_EQUAL(vmio_get(READ_ONLY, &value, 8), 0);
	CU_ASSERT_EQUAL(value, 7);
	vmio_end();
}

/* Memory that the host has not, for the bytes or for the guest's table. */
static void test_no_memory(void)
{
	struct vm_reader r;
	uint64_t value = 5;

	begin();
	vmio_out_of_memory = true;
	r = reader(PAGE, 8, &vmio_use);
	CU_ASSERT_EQUAL(vm_read_val(&r, &value), -ENOMEM);
	CU_ASSERT_EQUAL(fault.outcome, GVA_OK);
	CU_ASSERT_EQUAL(fault.gpa.gpa, PAGE);
	mode.cr0 = CR0_PG | CR0_PE;
	mode.cr3 = DIRECTORY;
	CU_ASSERT_EQUAL(vm_read_val(&r, &value), -ENOMEM);
	CU_ASSERT_EQUAL(fault.outcome, GVA_NO_MEMORY);
	CU_ASSERT_EQUAL(fault.gpa.gpa, DIRECTORY);
	CU_ASSERT_EQUAL(vm_remain(&r), 8);
	CU_ASSERT_EQUAL(value, 5);
	vmio_out_of_memory = false;
	vmio_gone(&r.io);
	vmio_end();
}

static struct pt_ops ops;
static uint32_t *leaf;

/* Before each walk of ours the guest has given the entry another of its ignored bits. */
static struct pt_place place_and_change(const struct pt *pt, uint64_t va, pt_attr_t needs)
{
	*leaf = (*leaf & ~UINT32_C(0xe60)) | ((*leaf + 0x200) & 0xe00);
	return npt_ops.place(pt, va, needs);
}

/* A guest that changes its tables all the time: neither its fault nor one of ours. */
static void test_busy_tables(void)
{
	struct vm_reader r;
	uint64_t value = 5;
	int err;

	begin_paging(PAGE | 7, 0);
	leaf = (uint32_t *)vmio_map(TABLE, 0, PT_RW | PT_ACCESSED | PT_DIRTY);
	*leaf = PAGE | 7;
	ops = npt_ops;
	ops.place = place_and_change;
	vmio_space.pt.ops = &ops;
	r = reader(8, 8, &vmio_use);
	err = vm_read_val(&r, &value);
	CU_ASSERT(err != 0 && err != -EFAULT && err != -ENOMEM && err != -EBUSY);
	CU_ASSERT_EQUAL(fault.outcome, GVA_BUSY);
	CU_ASSERT_EQUAL(vm_remain(&r), 8);
	CU_ASSERT_EQUAL(value, 5);
	vmio_space.pt.ops = &npt_ops;
	CU_ASSERT_EQUAL(vm_read_val(&r, &value), 0);
	vmio_gone(&r.io);
	vmio_end();
}

static unsigned walks;

static struct pt_place place_counted(const struct pt *pt, uint64_t va, pt_attr_t needs)
{
	walks++;
	return npt_ops.place(pt, va, needs);
}

/* Two large pages of the guest in a larger one of ours: each is one piece, and ends where it ends.
 */
static void test_in_one_piece(void)
{
	static uint8_t got[(3 << 20) + 8];
	struct vm_reader r;
	struct frame *f;
	struct vm_cursor c;
	uint8_t *block;

	arena_init(2 * SIZE_1G);
	npt_setup(true, 46);
	CU_ASSERT_EQUAL_FATAL(vm_space_init(&vmio_space, &npt_ops), 0);
	f = frame_alloc(FRAME_ORDER_1G, FRAME_GUEST, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	block = frame_bytes(f);
	CU_ASSERT_EQUAL(vm_cursor_open(&c, &vmio_space, gpa(0), gpa(SIZE_1G), VM_CHANGE), 0);
	CU_ASSERT_EQUAL(vm_map(&c, f, PT_RW | PT_MEM_WB), 0);
	vm_cursor_close(&c);
	mode = (struct gva_mode){
		.cr0 = CR0_PG | CR0_PE, .cr3 = DIRECTORY, .cr4 = CR4_PSE, .maxphyaddr = 46
	};
	virt.pages = (struct guest_pages){ 0 };
	((uint32_t *)(block + DIRECTORY))[0] = (8 << 20) | 0xe7;
	((uint32_t *)(block + DIRECTORY))[1] = (4 << 20) | 0xe7;
	memset(block + (4 << 20), 4, 8);
	memset(block + (12 << 20) - 8, 8, 8);
	memset(block + (12 << 20), 12, 8);
	ops = npt_ops;
	ops.place = place_counted;
	vmio_space.pt.ops = &ops;
	walks = 0;
	r = reader(1 << 20, sizeof(got), &vmio_use);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, got, sizeof(got)), 0);
	/* The directory, and each of them; the first one is looked at twice. */
	CU_ASSERT(walks <= 4);
	CU_ASSERT_EQUAL(got[(3 << 20) - 1], 8);
	CU_ASSERT_EQUAL(got[3 << 20], 4);
	CU_ASSERT_EQUAL(got[(3 << 20) + 7], 4);
	vmio_gone(&r.io);
	vmio_space.pt.ops = &npt_ops;
	vm_space_destroy(&vmio_space);
	epoch_drain();
	arena_fini();
}

/* Addresses wrap at their end, positions and limits do not. */
static void test_wrap(void)
{
	struct vm_reader r;
	uint8_t bytes[8];
	struct vm_writer to = vm_writer_of(&bytes);
	uint64_t n;

	begin();
	vmio_map(0, 0, PT_RW);
	r = reader(UINT64_MAX - 3, 8, &vmio_use);
	vm_io_skip(&r.io, 4);
	CU_ASSERT_EQUAL(vm_remain(&r), 4);
	CU_ASSERT_EQUAL(vm_copy(&r, &to, 8, &n), 0);
	CU_ASSERT_EQUAL(n, 4);
	CU_ASSERT_EQUAL(vm_io_seek(&r.io, 5), 0);
	CU_ASSERT_EQUAL(vm_remain(&r), 3);
	CU_ASSERT_EQUAL(vm_io_at(&r.io), 1);
	CU_ASSERT_EQUAL(vm_io_seek(&r.io, 8), 0);
	CU_ASSERT_EQUAL(vm_io_seek(&r.io, 9), -ERANGE);
	CU_ASSERT_EQUAL(vm_io_at(&r.io), 4);
	CU_ASSERT_EQUAL(vm_remain(&r), 0);
	CU_ASSERT_EQUAL(vm_io_seek(&r.io, 0), 0);
	vm_io_limit(&r.io, 6);
	CU_ASSERT_EQUAL(vm_io_seek(&r.io, 7), -ERANGE);
	epoch_enter();
	CU_ASSERT_EQUAL(vm_io_seek(&r.io, 4), 0);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 2), 0);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 1), -ERANGE);
	epoch_exit();
	vmio_gone(&r.io);
	vmio_end();
}

/* --- claims ----------------------------------------------------------------------------------- */

/* Nobody is at these bytes any more. */
static void check_free(uint64_t at, uint64_t len)
{
	struct vm_writer w;

	CU_ASSERT_EQUAL(vm_writer_guest(&w, &vmio_space, gpa(at), len, &vmio_use), 0);
	CU_ASSERT_EQUAL(vm_io_activate(&w.io), 0);
	if (w.io.state == VM_IO_ACTIVE)
		vmio_gone(&w.io);
}

static void test_words_claim(void)
{
	uint64_t old = 77, value = 5;
	struct vm_writer w;
	struct vm_reader r;

	begin();
	w = writer(PAGE + 1, 64, &vmio_use);
	r = reader(PAGE + 1, 64, &vmio_use);
	for (size_t size = 2; size <= 8; size *= 2) {
		CU_ASSERT_EQUAL(vm_write_once(&w, size, 1), -EINVAL);
		CU_ASSERT_EQUAL(vm_read_once(&r, size, &value), -EINVAL);
		CU_ASSERT_EQUAL(vm_atomic_load(&r.io, size, &value), -EINVAL);
		CU_ASSERT_EQUAL(vm_compare_exchange(&w, size, &old, 1), -EINVAL);
		CU_ASSERT_EQUAL(vm_fetch_or(&w, size, 1, &old), -EINVAL);
		check_free(PAGE, PAGE_SIZE);
	}
	vm_io_skip(&w.io, 7);
	CU_ASSERT_EQUAL(vm_compare_exchange(&w, 8, &old, 1), -EAGAIN);
	CU_ASSERT_EQUAL(old, 0);
	check_free(PAGE, PAGE_SIZE);
	CU_ASSERT_EQUAL(vm_fetch_or(&w, 8, 1, &old), 0);
	CU_ASSERT_EQUAL(vm_atomic_load(&w.io, 8, &old), 0);
	CU_ASSERT_EQUAL(vm_avail(&w), 57);
	CU_ASSERT_EQUAL(vm_write_once(&w, 8, 2), 0);
	check_free(PAGE, PAGE_SIZE);
	vmio_gone(&w.io);
	vmio_gone(&r.io);
	vmio_end();
}

/* One side of a copy is claimed, and the other one cannot be used. */
static void test_copies_claim(void)
{
	struct vm_reader r;
	struct vm_writer w, v;
	uint64_t n;

	begin();
	r = reader(PAGE, 64, &vmio_use);
	w = vmio_writer(READ_ONLY, 64);
	CU_ASSERT_EQUAL(vm_copy(&r, &w, UINT64_MAX, &n), -EFAULT);
	CU_ASSERT_EQUAL(n, 0);
	CU_ASSERT_EQUAL(vm_remain(&r), 64);
	check_free(PAGE, PAGE_SIZE);
	vmio_gone(&w.io);
	v = vmio_writer(OTHER + 8, 8);
	w = writer(OTHER, 64, &vmio_use);
	CU_ASSERT_EQUAL(vm_copy(&r, &w, UINT64_MAX, &n), -EBUSY);
	CU_ASSERT_EQUAL(n, 0);
	check_free(PAGE, PAGE_SIZE);
	CU_ASSERT_EQUAL(vm_fill(&w, 1, 64, &n), -EBUSY);
	CU_ASSERT_EQUAL(n, 0);
	CU_ASSERT_EQUAL(vm_avail(&w), 64);
	CU_ASSERT_EQUAL(vm_write_bytes(&w, &n, 8), 0);
	vmio_gone(&w.io);
	w = writer(NOWHERE, 8, &vmio_use);
	CU_ASSERT_EQUAL(vm_copy(&r, &w, UINT64_MAX, &n), -EFAULT);
	CU_ASSERT_EQUAL(vm_fill(&w, 1, 64, &n), -EFAULT);
	check_free(PAGE, PAGE_SIZE);
	vmio_gone(&w.io);
	vmio_gone(&v.io);
	vmio_gone(&r.io);
	check_free(0, UINT64_MAX);
	vmio_end();
}

/* The access itself faults. */
static void test_faults_claim(void)
{
	struct sigaction old_segv, old_bus;
	struct vm_reader r;
	struct vm_writer w, to;
	uint64_t value = 5, n;
	uint8_t *page;

	begin();
	page = vmio_map(PAGE, 0, PT_RW);
	sigaction(SIGSEGV, NULL, &old_segv);
	sigaction(SIGBUS, NULL, &old_bus);
	host_fault_catch();
	mprotect(page, PAGE_SIZE, PROT_NONE);
	r = reader(PAGE, 64, &vmio_use);
	w = writer(PAGE, 64, &vmio_use);
	to = vm_writer_of(&value);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, &value, 8), -EFAULT);
	CU_ASSERT_EQUAL(vm_read_once(&r, 8, &value), -EFAULT);
	CU_ASSERT_EQUAL(vm_atomic_load(&r.io, 8, &value), -EFAULT);
	CU_ASSERT_EQUAL(vm_copy(&r, &to, UINT64_MAX, &n), -EFAULT);
	CU_ASSERT_EQUAL(value, 5);
	check_free(PAGE, PAGE_SIZE);
	CU_ASSERT_EQUAL(vm_write_bytes(&w, &value, 8), -EFAULT);
	CU_ASSERT_EQUAL(vm_write_once(&w, 8, 1), -EFAULT);
	CU_ASSERT_EQUAL(vm_fill(&w, 1, 64, &n), -EFAULT);
	CU_ASSERT_EQUAL(vm_compare_exchange(&w, 8, &value, 1), -EFAULT);
	CU_ASSERT_EQUAL(vm_fetch_or(&w, 8, 1, &value), -EFAULT);
	CU_ASSERT_EQUAL(vm_remain(&r), 64);
	CU_ASSERT_EQUAL(vm_avail(&w), 64);
	check_free(PAGE, PAGE_SIZE);
	vmio_gone(&r.io);
	vmio_gone(&w.io);
	mprotect(page, PAGE_SIZE, PROT_READ | PROT_WRITE);
	sigaction(SIGSEGV, &old_segv, NULL);
	sigaction(SIGBUS, &old_bus, NULL);
	vmio_end();
}

void suite_vmio_pieces(void);
void suite_vmio_pieces(void)
{
	CU_pSuite s = CU_add_suite("vmio virtual pieces", NULL, NULL);

	CU_add_test(s, "dirty", test_dirty);
	CU_add_test(s, "end of the guest's page", test_end_of_guest_page);
	CU_add_test(s, "end of our page", test_end_of_our_page);
	CU_add_test(s, "in one piece", test_in_one_piece);
	CU_add_test(s, "uses", test_uses);
	CU_add_test(s, "no memory", test_no_memory);
	CU_add_test(s, "busy tables", test_busy_tables);
	CU_add_test(s, "wrap", test_wrap);
	CU_add_test(s, "claims of words", test_words_claim);
	CU_add_test(s, "claims of copies", test_copies_claim);
	CU_add_test(s, "claims where it faults", test_faults_claim);
}
