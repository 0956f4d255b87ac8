/* SPDX-License-Identifier: MPL-2.0 */
/* Copies to and from a guest: exact counts, rights, marks, memory that has to be brought in. */
#include <CUnit/CUnit.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "tests/host/arena.h"
#include "tests/host/fault.h"
#include "tests/unit/vmio_world.h"

#define RAM VMIO_RAM

static void pattern(uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251 + 1);
}

static void test_across_pages(void)
{
	static uint8_t in[3 * PAGE_SIZE], out[sizeof(in)];

	vmio_begin();
	pattern(in, sizeof(in));
	CU_ASSERT_EQUAL(vmio_put(0x1800, in, sizeof(in)), 0);
	CU_ASSERT_EQUAL(vmio_faults, 4);
	CU_ASSERT_EQUAL(vmio_get(0x1800, out, sizeof(out)), 0);
	CU_ASSERT_EQUAL(memcmp(in, out, sizeof(in)), 0);
	CU_ASSERT_EQUAL(vmio_faults, 4);
	/* What was not written reads as zero. */
	CU_ASSERT_EQUAL(vmio_get(0x1000, out, 16), 0);
	CU_ASSERT_EQUAL(out[0] | out[15], 0);
	vmio_end();
}

/* Every length and alignment arrives as it was, and no byte beside it changes. */
static void test_lengths(void)
{
	static uint8_t in[700], page[PAGE_SIZE], want[PAGE_SIZE];

	vmio_begin();
	pattern(in, sizeof(in));
	for (size_t len = 0; len < 300; len++) {
		size_t at = len * 13 % 64;
		uint8_t *guest = vmio_map(0x3000, 0, PT_RW);

		memset(want, 0, sizeof(want));
		memcpy(want + 100 + at, in + at % 7, len);
		CU_ASSERT_EQUAL(vmio_put(0x3064 + at, in + at % 7, len), 0);
		CU_ASSERT_EQUAL(memcmp(guest, want, PAGE_SIZE), 0);
		memset(page, 0, sizeof(page));
		CU_ASSERT_EQUAL(vmio_get(0x3064 + at, page + 100 + at, len), 0);
		CU_ASSERT_EQUAL(memcmp(page, want, PAGE_SIZE), 0);
	}
	vmio_end();
}

static void test_exact_count_at_a_fault(void)
{
	static uint8_t bytes[4 * PAGE_SIZE];
	struct vm_reader r = vm_reader_of(&bytes);
	struct vm_writer w;
	uint64_t copied;

	vmio_begin();
	/* Two pages before the read-only one: what lies before it is written, and no more. */
	w = vmio_writer(RAM - 3 * PAGE_SIZE + 8, sizeof(bytes));
	CU_ASSERT_EQUAL(vm_copy(&r, &w, UINT64_MAX, &copied), -EFAULT);
	CU_ASSERT_EQUAL(copied, 2 * PAGE_SIZE - 8);
	CU_ASSERT_EQUAL(vm_remain(&r), sizeof(bytes) - copied);
	CU_ASSERT_EQUAL(vm_avail(&w), sizeof(bytes) - copied);
	CU_ASSERT_EQUAL(vm_io_at(&w.io), RAM - PAGE_SIZE);
	vmio_gone(&w.io);
	/* Beyond all memory; and a write that fails leaves the cursor of write_bytes alone. */
	w = vmio_writer(RAM - PAGE_SIZE - 8, 16);
	CU_ASSERT_EQUAL(vm_write_bytes(&w, bytes, 16), -EFAULT);
	CU_ASSERT_EQUAL(vm_io_at(&w.io), RAM - PAGE_SIZE - 8);
	vmio_gone(&w.io);
	CU_ASSERT_EQUAL(vmio_get(RAM - 8, bytes, 16), -EFAULT);
	CU_ASSERT_EQUAL(vmio_get(RAM - 8, bytes, 8), 0);
	vmio_end();
}

/* The access itself faults, in the middle of a page: the count is that of the bytes before. */
static void test_access_faults(void)
{
	static uint8_t bytes[3 * PAGE_SIZE];
	struct sigaction segv, bus;
	struct vm_reader r;
	struct vm_writer w = vm_writer_of(&bytes);
	uint64_t copied, value = 5;
	uint8_t *guest;

	vmio_begin();
	guest = vmio_map(SIZE_2M, FRAME_ORDER_2M, PT_RW);
	pattern(guest, 2 * PAGE_SIZE);
	sigaction(SIGSEGV, NULL, &segv);
	sigaction(SIGBUS, NULL, &bus);
	host_fault_catch();
	mprotect(guest + PAGE_SIZE, PAGE_SIZE, PROT_NONE);
	r = vmio_reader(SIZE_2M + 0xf00, 0x1000);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, &bytes[0], 257), -EFAULT);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, &bytes[0], 0x200), -EFAULT);
	CU_ASSERT_EQUAL(vm_io_at(&r.io), SIZE_2M + 0xf00);
	CU_ASSERT_EQUAL(vm_copy(&r, &w, UINT64_MAX, &copied), -EFAULT);
	CU_ASSERT_EQUAL(copied, 0x100);
	CU_ASSERT_EQUAL(memcmp(bytes, guest + 0xf00, 0x100), 0);
	CU_ASSERT_EQUAL(vm_io_at(&r.io), SIZE_2M + PAGE_SIZE);
	CU_ASSERT_EQUAL(vm_avail(&w), sizeof(bytes) - 0x100);
	CU_ASSERT_EQUAL(vm_read_once(&r, 8, &value), -EFAULT);
	CU_ASSERT_EQUAL(vm_atomic_load(&r.io, 1, &value), -EFAULT);
	CU_ASSERT_EQUAL(value, 5);
	vmio_gone(&r.io);
	w = vmio_writer(SIZE_2M + 0xff0, 0x1000);
	CU_ASSERT_EQUAL(vm_fill(&w, 0xaa, 0x1000, &copied), -EFAULT);
	CU_ASSERT_EQUAL(copied, 0x10);
	CU_ASSERT_EQUAL(vm_write_once(&w, 4, 1), -EFAULT);
	value = UINT64_C(0x700000005);
	CU_ASSERT_EQUAL(vm_compare_exchange(&w, 4, &value, 1), -EFAULT);
	CU_ASSERT_EQUAL(value, UINT64_C(0x700000005));
	value = 5;
	CU_ASSERT_EQUAL(vm_fetch_or(&w, 2, 1, &value), -EFAULT);
	CU_ASSERT_EQUAL(vm_io_at(&w.io), SIZE_2M + PAGE_SIZE);
	vmio_gone(&w.io);
	mprotect(guest + PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE);
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGBUS, &bus, NULL);
	vmio_end();
}

static void test_refusals(void)
{
	uint8_t bytes[16];
	struct vm_reader r;
	struct vm_writer w;

	vmio_begin();
	CU_ASSERT_EQUAL(vm_reader_guest(&r, &vmio_space, gpa(UINT64_MAX - 7), 16, &vmio_use),
			-ERANGE);
	CU_ASSERT_EQUAL(vm_writer_guest(&w, &vmio_space, gpa(UINT64_MAX), 2, &vmio_use), -ERANGE);
	CU_ASSERT_EQUAL(vmio_get(UINT64_MAX - 1, bytes, 4), -ERANGE);
	CU_ASSERT_EQUAL(vmio_put(UINT64_MAX - 1, bytes, 4), -ERANGE);
	r = vmio_reader(0, 8);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 9), -ERANGE);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 0), 0);
	CU_ASSERT_EQUAL(vm_remain(&r), 8);
	vmio_gone(&r.io);
	w = vmio_writer(0, 8);
	CU_ASSERT_EQUAL(vm_write_bytes(&w, bytes, 9), -ERANGE);
	vmio_gone(&w.io);
	vmio_out_of_memory = true;
	CU_ASSERT_EQUAL(vmio_get(0x5000, bytes, 1), -ENOMEM);
	w = vmio_writer(0x5000, 8);
	CU_ASSERT_EQUAL(vm_fill(&w, 0, 8, NULL), -ENOMEM);
	vmio_gone(&w.io);
	/* Nothing is to be copied: nothing is looked at. */
	CU_ASSERT_EQUAL(vmio_get(RAM + PAGE_SIZE, bytes, 0), 0);
	CU_ASSERT_EQUAL(vmio_put(UINT64_MAX, bytes, 0), 0);
	vmio_end();
}

/* A device's registers are not memory; a read-only page is not written by us either. */
static void test_rights(void)
{
	uint64_t value = 1;
	struct vm_cursor c;

	vmio_begin();
	CU_ASSERT_EQUAL(vmio_get(RAM - 8, &value, 8), 0);
	CU_ASSERT_EQUAL(vmio_put(RAM - 8, &value, 8), -EFAULT);
	CU_ASSERT_EQUAL(vm_cursor_open(&c, &vmio_space, gpa(0x9000), gpa(0xa000), VM_CHANGE), 0);
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(0xfee00000), PAGE_SIZE, PT_RW | PT_MEM_UC), 0);
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(vmio_get(0x9000, &value, 8), -EFAULT);
	CU_ASSERT_EQUAL(vmio_put(0x9000, &value, 8), -EFAULT);
	vmio_end();
}

/* What is not usual is done for those who name it, and for nobody else. */
static void test_named_rights(void)
{
	static const struct vm_use rom = { .who = "rom", .flags = VM_READ_ONLY_TOO };
	static const struct vm_use look = { .who = "look", .flags = VM_PRESENT };
	uint64_t value = 7, got = 0;
	struct vm_cursor c;
	uint64_t *registers;

	vmio_begin();
	registers = hpa_ptr(frame_hpa(frame_alloc(0, FRAME_KERNEL, ALLOC_ZERO)));
	registers[1] = 99;
	CU_ASSERT_EQUAL(vm_write_guest(&vmio_space, gpa(RAM - 8), &value, 8, &rom), 0);
	CU_ASSERT_EQUAL(vmio_get(RAM - 8, &got, 8), 0);
	CU_ASSERT_EQUAL(got, 7);
	CU_ASSERT_EQUAL(vm_read_guest(&vmio_space, gpa(0x7000), &got, 8, &look), -EFAULT);
	CU_ASSERT_EQUAL(vmio_attr(0x7000), 0);
	CU_ASSERT_EQUAL(vm_cursor_open(&c, &vmio_space, gpa(0x9000), gpa(0xa000), VM_CHANGE), 0);
	CU_ASSERT_EQUAL(
		vm_map_untracked(&c, hva_to_hpa(hva_of(registers)), PAGE_SIZE, PT_RW | PT_MEM_UC),
		0);
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(vmio_get(0x9008, &got, 8), -EFAULT);
	vmio_end();
}

/* Who may write where writing is not allowed may not for that read what cannot be read. */
static void test_execute_only(void)
{
	static const struct vm_use rom = { .who = "rom", .flags = VM_READ_ONLY_TOO };
	uint64_t value = 5;
	static struct vm_space space;
	struct vm_cursor c;
	char why[64];

	arena_init(UINT64_C(16) << 20);
	CU_ASSERT_EQUAL_FATAL(ept_setup(0xf0106734141 | 1 << 17, 46, why, sizeof(why)), 0);
	CU_ASSERT_EQUAL_FATAL(vm_space_init(&space, &ept_ops), 0);
	CU_ASSERT_EQUAL(vm_cursor_open(&c, &space, gpa(0x1000), gpa(0x2000), VM_CHANGE), 0);
	CU_ASSERT_EQUAL(vm_map(&c, frame_alloc(0, FRAME_GUEST, ALLOC_ZERO), PT_EXEC | PT_MEM_WB),
			0);
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(vm_read_guest(&space, gpa(0x1000), &value, 8, &vmio_use), -EFAULT);
	CU_ASSERT_EQUAL(vm_read_guest(&space, gpa(0x1000), &value, 8, &rom), -EFAULT);
	CU_ASSERT_EQUAL(value, 5);
	CU_ASSERT_EQUAL(vm_write_guest(&space, gpa(0x1000), &value, 8, &vmio_use), -EFAULT);
	CU_ASSERT_EQUAL(vm_write_guest(&space, gpa(0x1000), &value, 8, &rom), 0);
	vm_space_destroy(&space);
	epoch_drain();
	arena_fini();
}

/* Our writes show up as dirty, like the guest's own; our reads do not. */
static void test_dirty(void)
{
	uint64_t value = 1;
	struct vm_writer w;
	struct vm_cursor c;
	struct pt_leaf leaf;

	vmio_begin();
	CU_ASSERT_EQUAL(vmio_get(0x3000, &value, 8), 0);
	CU_ASSERT_EQUAL(vmio_put(0x4000, &value, 8), 0);
	CU_ASSERT_EQUAL(vmio_attr(0x3000) & PT_DIRTY, 0);
	CU_ASSERT_EQUAL(vmio_attr(0x4000) & PT_DIRTY, PT_DIRTY);
	/* A mark that is taken away while the page is remembered is set by the next write. */
	w = vmio_writer(0x4000, 64);
	epoch_enter();
	CU_ASSERT_EQUAL(vm_write_val(&w, &value), 0);
	CU_ASSERT_EQUAL(vm_cursor_open(&c, &vmio_space, gpa(0x4000), gpa(0x5000), VM_CHANGE), 0);
	CU_ASSERT_EQUAL(vm_clear_marks_next(&c, PAGE_SIZE, PT_DIRTY, &leaf), 0);
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(vmio_attr(0x4000) & PT_DIRTY, 0);
	CU_ASSERT_EQUAL(vm_write_val(&w, &value), 0);
	CU_ASSERT_EQUAL(vmio_attr(0x4000) & PT_DIRTY, PT_DIRTY);
	epoch_exit();
	vmio_gone(&w.io);
	vmio_end();
}

/* The page last used is forgotten with every change that takes something away. */
static void test_remembered(void)
{
	struct vm_reader r;
	struct vm_writer w;
	uint64_t value = 1, got;
	uint64_t *page;

	vmio_begin();
	page = vmio_map(0x2000, 0, PT_RW);
	page[0] = 11;
	page[1] = 12;
	page[2] = 13;
	r = vmio_reader(0x2000, PAGE_SIZE);
	w = vmio_writer(0x3000, PAGE_SIZE);
	epoch_enter();
	CU_ASSERT_EQUAL(vm_read_val(&r, &got), 0);
	CU_ASSERT_EQUAL(got, 11);
	CU_ASSERT_TRUE(vm_io_ready(&r.io, 8));
	/* Another frame takes its place. */
	page = vmio_map(0x2000, 0, PT_RW);
	page[1] = 22;
	CU_ASSERT_FALSE(vm_io_ready(&r.io, 8));
	CU_ASSERT_EQUAL(vm_read_val(&r, &got), 0);
	CU_ASSERT_EQUAL(got, 22);
	/* Twice in a row, with nobody in the guest between. */
	page = vmio_map(0x2000, 0, PT_RW);
	page[2] = 33;
	CU_ASSERT_EQUAL(vm_read_val(&r, &got), 0);
	CU_ASSERT_EQUAL(got, 33);
	CU_ASSERT_EQUAL(vm_write_val(&w, &value), 0);
	vmio_protect(0x3000, PAGE_SIZE, PT_READ);
	CU_ASSERT_EQUAL(vm_write_val(&w, &value), -EFAULT);
	vmio_protect(0x3000, PAGE_SIZE, PT_RW);
	CU_ASSERT_EQUAL(vm_write_val(&w, &value), 0);
	/* Gone: the handler brings a new one in, all zeros. */
	vmio_unmap(0x2000, PAGE_SIZE);
	CU_ASSERT_EQUAL(vm_read_val(&r, &got), 0);
	CU_ASSERT_EQUAL(got, 0);
	epoch_exit();
	CU_ASSERT_FALSE(vm_io_ready(&r.io, 8));
	vmio_gone(&r.io);
	vmio_gone(&w.io);
	vmio_end();
}

/* The page that follows is looked up ahead, and forgotten as well when it changes. */
static void test_ahead(void)
{
	static uint8_t bytes[PAGE_SIZE];
	struct vm_cursor c;
	struct vm_reader r;
	struct vm_writer w;
	struct pt_leaf leaf;

	vmio_begin();
	for (uint64_t at = 0x2000; at < 0x6000; at += PAGE_SIZE)
		*(uint8_t *)vmio_map(at, 0, PT_RW | PT_ACCESSED | PT_DIRTY) = (uint8_t)(at >> 12);
	r = vmio_reader(0x2000, 4 * PAGE_SIZE);
	epoch_enter();
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, PAGE_SIZE), 0);
	CU_ASSERT_EQUAL(r.io.next.at, 0x3000);
	*(uint8_t *)vmio_map(0x3000, 0, PT_RW | PT_ACCESSED | PT_DIRTY) = 33;
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, PAGE_SIZE), 0);
	CU_ASSERT_EQUAL(bytes[0], 33);
	CU_ASSERT_EQUAL(r.io.next.at, 0x4000);
	vmio_unmap(0x4000, PAGE_SIZE);
	vm_space_set_fault_handler(&vmio_space, NULL, NULL);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, 1), -EFAULT);
	/* What is not there is not brought in ahead. */
	CU_ASSERT_EQUAL(vm_io_seek(&r.io, PAGE_SIZE), 0);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, bytes, PAGE_SIZE), 0);
	CU_ASSERT_EQUAL(r.io.next.at, UINT64_MAX);
	epoch_exit();
	vmio_gone(&r.io);
	/* A mark that goes away between is set again. */
	*(uint8_t *)vmio_map(0x4000, 0, PT_RW | PT_ACCESSED | PT_DIRTY) = 44;
	w = vmio_writer(0x2000, 4 * PAGE_SIZE);
	epoch_enter();
	vm_io_skip(&w.io, PAGE_SIZE);
	CU_ASSERT_EQUAL(vm_write_bytes(&w, bytes, PAGE_SIZE), 0);
	CU_ASSERT_EQUAL(w.io.next.at, 0x4000);
	CU_ASSERT_EQUAL(vm_cursor_open(&c, &vmio_space, gpa(0x4000), gpa(0x5000), VM_CHANGE), 0);
	CU_ASSERT_EQUAL(vm_clear_marks_next(&c, PAGE_SIZE, PT_DIRTY, &leaf), 0);
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(vm_write_bytes(&w, bytes, 8), 0);
	CU_ASSERT_EQUAL(vmio_attr(0x4000) & PT_DIRTY, PT_DIRTY);
	epoch_exit();
	vmio_gone(&w.io);
	vmio_end();
}

static unsigned walks;
static struct pt_ops counting;
static struct pt_place (*real_place)(const struct pt *pt, uint64_t va, pt_attr_t needs);

static struct pt_place place_counted(const struct pt *pt, uint64_t va, pt_attr_t needs)
{
	walks++;
	return real_place(pt, va, needs);
}

/* The page goes as soon as it has been found. */
static struct pt_place place_last(const struct pt *pt, uint64_t va, pt_attr_t needs)
{
	struct pt_place place = real_place(pt, va, needs);

	counting.place = real_place;
	vmio_unmap(round_down(va, SIZE_2M), SIZE_2M);
	return place;
}

/* Small accesses to one page pay for one walk, a large page is copied in one piece. */
static void test_one_walk(void)
{
	static uint8_t bytes[SIZE_2M];
	struct vm_reader r;
	struct vm_writer to;
	uint64_t got;

	vmio_begin();
	vmio_map(SIZE_2M, FRAME_ORDER_2M, PT_RW);
	vmio_map(0x2000, 0, PT_RW);
	real_place = vmio_space.pt.ops->place;
	counting = *vmio_space.pt.ops;
	counting.place = place_counted;
	vmio_space.pt.ops = &counting;
	walks = 0;
	r = vmio_reader(0x2000, PAGE_SIZE);
	epoch_enter();
	for (unsigned i = 0; i < 512; i++)
		CU_ASSERT_EQUAL(vm_read_val(&r, &got), 0);
	CU_ASSERT_EQUAL(walks, 1);
	CU_ASSERT_EQUAL(vm_io_seek(&r.io, 16), 0);
	CU_ASSERT_EQUAL(vm_read_val(&r, &got), 0);
	CU_ASSERT_EQUAL(walks, 1);
	epoch_exit();
	vmio_gone(&r.io);
	CU_ASSERT_EQUAL(vmio_get(SIZE_2M, bytes, sizeof(bytes)), 0);
	CU_ASSERT_EQUAL(walks, 2);
	/* Also where it is taken away during the copy: that ends with the frame that was there. */
	r = vmio_reader(SIZE_2M, SIZE_2M);
	to = vm_writer_of(&bytes);
	counting.place = place_last;
	CU_ASSERT_EQUAL(vm_copy(&r, &to, UINT64_MAX, &got), 0);
	CU_ASSERT_EQUAL(got, SIZE_2M);
	CU_ASSERT_EQUAL(vmio_attr(SIZE_2M), 0);
	vmio_gone(&r.io);
	vmio_end();
}

static void test_positions(void)
{
	static const char text[] = "0123456789";
	struct vm_reader r = vm_reader_host(text, 10);
	char c[4] = "";

	vmio_begin();
	CU_ASSERT_EQUAL(vm_remain(&r), 10);
	vm_io_skip(&r.io, 3);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, c, 2), 0);
	CU_ASSERT_STRING_EQUAL(c, "34");
	vm_io_limit(&r.io, 4);
	CU_ASSERT_EQUAL(vm_remain(&r), 4);
	vm_io_limit(&r.io, 100);
	CU_ASSERT_EQUAL(vm_remain(&r), 4);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, c, 5), -ERANGE);
	CU_ASSERT_EQUAL(vm_io_seek(&r.io, 9), 0);
	CU_ASSERT_EQUAL(vm_remain(&r), 0);
	CU_ASSERT_EQUAL(vm_io_seek(&r.io, 10), -ERANGE);
	CU_ASSERT_EQUAL(vm_io_seek(&r.io, 1), 0);
	CU_ASSERT_EQUAL(vm_read_bytes(&r, c, 1), 0);
	CU_ASSERT_EQUAL(c[0], '1');
	vm_io_skip(&r.io, vm_remain(&r));
	CU_ASSERT_EQUAL(vm_read_bytes(&r, c, 1), -ERANGE);
	vmio_end();
}

static void skip_too_far(void *context)
{
	struct vm_reader r = vm_reader_host(context, 4);

	vm_io_skip(&r.io, 5);
}

static void test_skip_too_far(void)
{
	char bytes[4];

	CU_ASSERT_TRUE(panics(skip_too_far, bytes, "n <= vm_io_left(io)"));
}

/* From one place of the guest to another; into itself by way of a second mapping, byte by byte. */
static void test_guest_to_guest(void)
{
	char text[32] = "0123456789abcdef", got[32] = "";
	struct vm_cursor c;
	struct vm_reader r;
	struct vm_writer w;
	struct pt_leaf leaf;
	uint64_t n;

	vmio_begin();
	CU_ASSERT_EQUAL(vmio_put(0x2000, text, 16), 0);
	r = vmio_reader(0x2000, 16);
	w = vmio_writer(0x2010, 100);
	CU_ASSERT_EQUAL(vm_copy(&r, &w, 12, &n), 0);
	CU_ASSERT_EQUAL(n, 12);
	CU_ASSERT_EQUAL(vmio_get(0x2010, got, 13), -EBUSY);
	vmio_gone(&r.io);
	CU_ASSERT_EQUAL(vm_fill(&w, 0, 1000, &n), 0);
	CU_ASSERT_EQUAL(n, 100 - 12);
	vmio_gone(&w.io);
	CU_ASSERT_EQUAL(vmio_get(0x2010, got, 13), 0);
	CU_ASSERT_STRING_EQUAL(got, "0123456789ab");
	/* The same frame at 0x8000. */
	epoch_enter();
	CU_ASSERT_TRUE_FATAL(vm_translate(&vmio_space, gpa(0x2000), &leaf));
	epoch_exit();
	frame_get(frame_at(leaf.hpa));
	CU_ASSERT_EQUAL(vm_cursor_open(&c, &vmio_space, gpa(0x8000), gpa(0x9000), VM_CHANGE), 0);
	CU_ASSERT_EQUAL(vm_map(&c, frame_at(leaf.hpa), PT_RW | PT_MEM_WB), 0);
	vm_cursor_close(&c);
	r = vmio_reader(0x2000, 12);
	w = vmio_writer(0x8003, 100);
	CU_ASSERT_EQUAL(vm_copy(&r, &w, UINT64_MAX, &n), 0);
	vmio_gone(&r.io);
	vmio_gone(&w.io);
	CU_ASSERT_EQUAL(vmio_get(0x2000, got, 16), 0);
	CU_ASSERT_STRING_EQUAL(got, "012012012012012f");
	vmio_end();
}

/* Overlapping in hypervisor memory, both ways, every distance: as byte after byte. */
static void test_overlap(void)
{
	static uint8_t a[1024], b[1024];

	for (size_t len = 1; len < 400; len += len < 40 ? 1 : 37) {
		for (size_t from = 0; from < 64; from++) {
			struct vm_reader r = vm_reader_host(a + from, len);
			struct vm_writer w = vm_writer_host(a + 32, len);
			uint64_t n;

			pattern(a, sizeof(a));
			memcpy(b, a, sizeof(a));
			for (size_t i = 0; i < len; i++)
				b[32 + i] = b[from + i];
			CU_ASSERT_EQUAL(vm_copy(&r, &w, UINT64_MAX, &n), 0);
			CU_ASSERT_EQUAL(n, len);
			CU_ASSERT_EQUAL(memcmp(a, b, sizeof(a)), 0);
		}
	}
}

void suite_vmio(void);
void suite_vmio(void)
{
	CU_pSuite s = CU_add_suite("vmio", NULL, NULL);

	CU_add_test(s, "across pages", test_across_pages);
	CU_add_test(s, "lengths", test_lengths);
	CU_add_test(s, "exact count at a fault", test_exact_count_at_a_fault);
	CU_add_test(s, "the access faults", test_access_faults);
	CU_add_test(s, "refusals", test_refusals);
	CU_add_test(s, "rights", test_rights);
	CU_add_test(s, "named rights", test_named_rights);
	CU_add_test(s, "execute only", test_execute_only);
	CU_add_test(s, "dirty", test_dirty);
	CU_add_test(s, "page last used", test_remembered);
	CU_add_test(s, "page ahead", test_ahead);
	CU_add_test(s, "one walk", test_one_walk);
	CU_add_test(s, "positions", test_positions);
	CU_add_test(s, "skip too far", test_skip_too_far);
	CU_add_test(s, "guest to guest", test_guest_to_guest);
	CU_add_test(s, "overlap", test_overlap);
}
