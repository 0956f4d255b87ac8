/* SPDX-License-Identifier: MPL-2.0 */
/* Readers and writers over guest-virtual memory: page by page, with the fault of the guest. */
#include <CUnit/CUnit.h>
#include <string.h>

#include "mm/frame_alloc.h"
#include "tests/host/arena.h"
#include "tests/host/gva_shape.h"
#include "vmio/virtual.h"

#define FOUR_LEVELS (&gva_shapes[5])
#define LARGE	    (&gva_shapes[6])
#define VA	    (GVA_SHAPE_VA & ~UINT64_C(0xfff))

/* Pages of the guest that VA and the next two are mapped to: not in order. */
static const uint64_t data[] = { 12 * PAGE_SIZE, 10 * PAGE_SIZE, 14 * PAGE_SIZE };

static const struct vm_use use = { .who = "virtual" };
static struct gva_mode mode;
static struct gva_result fault;
static struct vm_virtual virt = { .mode = &mode, .fault = &fault };

static uint64_t leaf_at(unsigned page)
{
	return gva_shape_entry(FOUR_LEVELS, 1) + 8 * page;
}

static void begin(void)
{
	arena_init(UINT64_C(16) << 20);
	gva_world_init();
	mode = gva_shape_build(FOUR_LEVELS);
	mode.cr0 |= CR0_WP;
	for (unsigned i = 0; i < 3; i++)
		gva_world_put(leaf_at(i), 8, data[i] | G_P | G_W | G_U);
	memset(&fault, 0xee, sizeof(fault));
	virt.user = virt.implicit = false;
	virt.pages = (struct guest_pages){ 0 };
}

static void end(void)
{
	CU_ASSERT_FALSE(epoch_inside());
	gva_world_fini();
	epoch_drain();
	arena_fini();
}

static int get(uint64_t at, void *bytes, uint64_t len, uint64_t *n)
{
	struct vm_writer to = vm_writer_host(bytes, len);
	struct vm_reader r;
	int err;

	vm_reader_virtual(&r, &gva_world, gva(at), len, &virt, &use);
	CU_ASSERT_EQUAL(vm_io_activate(&r.io), 0);
	err = vm_copy(&r, &to, UINT64_MAX, n);
	CU_ASSERT_EQUAL(vm_remain(&r), len - *n);
	CU_ASSERT_EQUAL(vm_avail(&to), len - *n);
	vm_io_dispose(&r.io);
	vm_io_remove(&r.io);
	return err;
}

static int put(uint64_t at, const void *bytes, uint64_t len, uint64_t *n)
{
	struct vm_reader from = vm_reader_host(bytes, len);
	struct vm_writer w;
	int err;

	vm_writer_virtual(&w, &gva_world, gva(at), len, &virt, &use);
	CU_ASSERT_EQUAL(vm_io_activate(&w.io), 0);
	err = vm_copy(&from, &w, UINT64_MAX, n);
	CU_ASSERT_EQUAL(vm_avail(&w), len - *n);
	vm_io_dispose(&w.io);
	vm_io_remove(&w.io);
	return err;
}

static void test_pages(void)
{
	static uint8_t in[2 * PAGE_SIZE + 100], out[sizeof(in)];
	uint64_t n;

	begin();
	for (unsigned i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 7 + i / 251);
	CU_ASSERT_EQUAL(put(VA + 50, in, sizeof(in), &n), 0);
	CU_ASSERT_EQUAL(n, sizeof(in));
	CU_ASSERT_EQUAL(memcmp(gva_world_word(data[0] + 50), in, PAGE_SIZE - 50), 0);
	CU_ASSERT_EQUAL(memcmp(gva_world_word(data[1]), in + PAGE_SIZE - 50, PAGE_SIZE), 0);
	CU_ASSERT_EQUAL(memcmp(gva_world_word(data[2]), in + 2 * PAGE_SIZE - 50, 150), 0);
	CU_ASSERT_EQUAL(get(VA + 50, out, sizeof(out), &n), 0);
	CU_ASSERT_EQUAL(memcmp(in, out, sizeof(in)), 0);
	/* The marks of the guest's own tables. */
	for (unsigned i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(gva_world_get(leaf_at(i), 8),
				(data[i] | G_P | G_W | G_U | G_A | G_D));
	end();
}

/* The count is exact and the fault that of the first byte that could not be copied. */
static void test_fault(void)
{
	static uint8_t bytes[3 * PAGE_SIZE];
	uint64_t n;

	begin();
	gva_world_put(leaf_at(1), 8, data[1] | G_P | G_U);
	CU_ASSERT_EQUAL(put(VA + 100, bytes, 2 * PAGE_SIZE, &n), -EFAULT);
	CU_ASSERT_EQUAL(n, PAGE_SIZE - 100);
	CU_ASSERT_EQUAL(fault.outcome, GVA_PAGE_FAULT);
	CU_ASSERT_EQUAL(fault.vector, 14);
	CU_ASSERT_EQUAL(fault.error, 3); /* present, write */
	CU_ASSERT_EQUAL(fault.cr2, VA + PAGE_SIZE);
	virt.user = true;
	gva_world_put(leaf_at(2), 8, data[2] | G_P | G_W);
	CU_ASSERT_EQUAL(get(VA + PAGE_SIZE, bytes, 2 * PAGE_SIZE, &n), -EFAULT);
	CU_ASSERT_EQUAL(n, PAGE_SIZE);
	CU_ASSERT_EQUAL(fault.error, 5); /* present, user */
	virt.implicit = true;
	CU_ASSERT_EQUAL(get(VA + PAGE_SIZE, bytes, 2 * PAGE_SIZE, &n), 0);
	virt.user = virt.implicit = false;
	CU_ASSERT_EQUAL(get(VA + 3 * PAGE_SIZE, bytes, 1, &n), -EFAULT);
	CU_ASSERT_EQUAL(fault.error, 0);
	CU_ASSERT_EQUAL(get(UINT64_C(1) << 63, bytes, 1, &n), -EFAULT);
	CU_ASSERT_EQUAL(fault.outcome, GVA_NONCANONICAL);
	CU_ASSERT_EQUAL(fault.vector, 13);
	end();
}

/* What the guest's tables allow, stage 2 may still refuse. */
static void test_stage2(void)
{
	uint64_t value = 1, n;

	begin();
	gva_world_put(leaf_at(0), 8, (GVA_WORLD_WRITABLE * PAGE_SIZE) | G_P | G_W);
	CU_ASSERT_EQUAL(get(VA + 8, &value, 8, &n), 0);
	CU_ASSERT_EQUAL(put(VA + 8, &value, 8, &n), -EFAULT);
	CU_ASSERT_EQUAL(fault.outcome, GVA_OK);
	CU_ASSERT_EQUAL(fault.gpa.gpa, GVA_WORLD_WRITABLE * PAGE_SIZE + 8);
	gva_world_put(leaf_at(0), 8, (GVA_WORLD_PAGES * PAGE_SIZE) | G_P | G_W);
	CU_ASSERT_EQUAL(get(VA, &value, 8, &n), -EFAULT);
	CU_ASSERT_EQUAL(fault.outcome, GVA_OK);
	gva_world_put(gva_shape_entry(FOUR_LEVELS, 2), 8, (GVA_WORLD_PAGES * PAGE_SIZE) | G_P);
	CU_ASSERT_EQUAL(get(VA, &value, 8, &n), -EFAULT);
	CU_ASSERT_EQUAL(fault.outcome, GVA_WALK_STAGE2);
	end();
}

/* The tables change between two accesses: the second one sees it, without any flush. */
static void test_not_remembered(void)
{
	struct vm_reader r;
	uint64_t value = 0;

	begin();
	gva_world_put(data[0], 8, 11);
	gva_world_put(data[1] + 8, 8, 22);
	vm_reader_virtual(&r, &gva_world, gva(VA), PAGE_SIZE, &virt, &use);
	CU_ASSERT_EQUAL(vm_io_activate(&r.io), 0);
	epoch_enter();
	CU_ASSERT_EQUAL(vm_read_val(&r, &value), 0);
	CU_ASSERT_EQUAL(value, 11);
	gva_world_put(leaf_at(0), 8, data[1] | G_P);
	CU_ASSERT_EQUAL(vm_read_val(&r, &value), 0);
	CU_ASSERT_EQUAL(value, 22);
	gva_world_put(leaf_at(0), 8, 0);
	CU_ASSERT_EQUAL(vm_read_val(&r, &value), -EFAULT);
	CU_ASSERT_EQUAL(vm_remain(&r), PAGE_SIZE - 16);
	epoch_exit();
	vm_io_dispose(&r.io);
	end();
}

/* Where the tables are is remembered, for as long as stage 2 has them there. */
static void test_tables_move(void)
{
	uint64_t table = gva_shape_table(1), value = 0;
	struct vm_reader r;
	struct vm_cursor c;
	struct frame *f;

	begin();
	gva_world_put(data[0] + 8, 8, 11);
	gva_world_put(data[1] + 16, 8, 22);
	vm_reader_virtual(&r, &gva_world, gva(VA + 8), 64, &virt, &use);
	CU_ASSERT_EQUAL(vm_io_activate(&r.io), 0);
	epoch_enter();
	CU_ASSERT_EQUAL(vm_read_val(&r, &value), 0);
	CU_ASSERT_EQUAL(value, 11);
	CU_ASSERT_EQUAL(virt.pages.level[1].page, table | 1);
	/* Another frame is there, with another entry. */
	f = frame_alloc(0, FRAME_GUEST, ALLOC_ZERO);
	*(uint64_t *)((char *)frame_bytes(f) + leaf_at(0) % PAGE_SIZE) = data[1] | G_P;
	CU_ASSERT_EQUAL(
		vm_cursor_open(&c, &gva_world, gpa(table), gpa(table + PAGE_SIZE), VM_CHANGE), 0);
	CU_ASSERT_EQUAL(vm_map(&c, f, PT_RW | PT_MEM_WB), 0);
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(vm_read_val(&r, &value), 0);
	CU_ASSERT_EQUAL(value, 22);
	epoch_exit();
	vm_io_dispose(&r.io);
	end();
}

/* The guest changes an entry each time before it can be marked: it has to run. */
static void test_busy(void)
{
	const struct gva_change flip = { 1, 1, leaf_at(0), UINT64_C(1) << 9 };
	uint64_t value, n;

	begin();
	CU_ASSERT_EQUAL(get(VA, &value, 8, &n), 0);
	gva_world_put(leaf_at(0), 8, data[0] | G_P);
	gva_world_change(&flip, 1);
	CU_ASSERT_EQUAL(get(VA, &value, 8, &n), -ETIMEDOUT);
	CU_ASSERT_EQUAL(n, 0);
	CU_ASSERT_EQUAL(fault.outcome, GVA_BUSY);
	gva_world_change(NULL, 0);
	CU_ASSERT_EQUAL(get(VA, &value, 8, &n), 0);
	end();
}

/* A value across two pages of which the second is missing: the cursor stays. */
static void test_straddle(void)
{
	uint64_t value = 0, n;
	struct vm_reader r;

	begin();
	gva_world_put(data[0] + 0xff8, 8, UINT64_C(0x4433221100000000));
	gva_world_put(data[1], 8, UINT64_C(0x88776655));
	CU_ASSERT_EQUAL(get(VA + 0xffc, &value, 8, &n), 0);
	CU_ASSERT_EQUAL(value, UINT64_C(0x8877665544332211));
	gva_world_put(leaf_at(1), 8, 0);
	vm_reader_virtual(&r, &gva_world, gva(VA + 0xffc), 8, &virt, &use);
	CU_ASSERT_EQUAL(vm_io_activate(&r.io), 0);
	CU_ASSERT_EQUAL(vm_read_val(&r, &value), -EFAULT);
	CU_ASSERT_EQUAL(fault.cr2, VA + PAGE_SIZE);
	CU_ASSERT_EQUAL(vm_remain(&r), 8);
	CU_ASSERT_EQUAL(vm_read_once(&r, 4, &value), 0);
	CU_ASSERT_EQUAL(value, 0x44332211);
	CU_ASSERT_EQUAL(vm_read_once(&r, 4, &value), -EFAULT);
	vm_io_dispose(&r.io);
	end();
}

/* Each piece is claimed as physical memory while it is copied, and not longer. */
static void test_owners(void)
{
	uint8_t bytes[2 * PAGE_SIZE];
	struct vm_reader r;
	struct vm_writer w;
	uint64_t n, word = 5;

	begin();
	CU_ASSERT_EQUAL(vm_writer_guest(&w, &gva_world, gpa(data[1] + 16), 8, &use), 0);
	CU_ASSERT_EQUAL(vm_io_activate(&w.io), 0);
	CU_ASSERT_EQUAL(get(VA, bytes, sizeof(bytes), &n), -EBUSY);
	CU_ASSERT_EQUAL(n, PAGE_SIZE);
	CU_ASSERT_EQUAL(get(VA + PAGE_SIZE, bytes, 16, &n), 0);
	vm_io_dispose(&w.io);
	CU_ASSERT_EQUAL(vm_reader_guest(&r, &gva_world, gpa(data[1]), PAGE_SIZE, &use), 0);
	CU_ASSERT_EQUAL(vm_io_activate(&r.io), 0);
	CU_ASSERT_EQUAL(get(VA, bytes, sizeof(bytes), &n), 0);
	CU_ASSERT_EQUAL(put(VA + PAGE_SIZE, &word, 8, &n), -EBUSY);
	CU_ASSERT_EQUAL(n, 0);
	vm_io_dispose(&r.io);
	CU_ASSERT_EQUAL(put(VA + PAGE_SIZE, &word, 8, &n), 0);
	end();
}

/* A reader that wants to be alone is, also where it reads through the guest's tables. */
static void test_alone(void)
{
	static const struct vm_use alone = { .who = "alone", .flags = VM_ALONE };
	struct vm_reader r, v;
	uint64_t value;

	begin();
	CU_ASSERT_EQUAL(vm_reader_guest(&r, &gva_world, gpa(data[0]), 8, &use), 0);
	CU_ASSERT_EQUAL(vm_io_activate(&r.io), 0);
	vm_reader_virtual(&v, &gva_world, gva(VA), 16, &virt, &alone);
	CU_ASSERT_EQUAL(vm_io_activate(&v.io), 0);
	CU_ASSERT_EQUAL(vm_read_val(&v, &value), -EBUSY);
	vm_io_dispose(&r.io);
	CU_ASSERT_EQUAL(vm_read_val(&v, &value), 0);
	vm_io_dispose(&v.io);
	end();
}

/* Looking only: no marks in the guest's tables, no memory brought in. */
static void test_probe(void)
{
	static const struct vm_use look = { .who = "look", .flags = VM_PRESENT };
	struct vm_reader r;
	uint64_t value;

	begin();
	vm_reader_virtual(&r, &gva_world, gva(VA), 16, &virt, &look);
	CU_ASSERT_EQUAL(vm_io_activate(&r.io), 0);
	CU_ASSERT_EQUAL(vm_read_val(&r, &value), 0);
	CU_ASSERT_EQUAL(gva_world_get(leaf_at(0), 8), (data[0] | G_P | G_W | G_U));
	vm_io_dispose(&r.io);
	end();
}

/* 2 MiB of the guest over 4 KiB of stage 2; and 32-bit addresses that wrap. */
static void test_shapes(void)
{
	uint8_t bytes[4 * PAGE_SIZE];
	uint64_t n;

	begin();
	gva_world_clear();
	mode = gva_shape_build(LARGE);
	gva_world_put(gva_shape_entry(LARGE, 2), 8, 0 | G_P | G_W | G_PS);
	CU_ASSERT_EQUAL(get((GVA_SHAPE_VA & ~(SIZE_2M - 1)) + 5, bytes, sizeof(bytes), &n), 0);
	CU_ASSERT_EQUAL(n, sizeof(bytes));
	CU_ASSERT_EQUAL(memcmp(bytes, (uint8_t *)gva_world_word(0) + 5, PAGE_SIZE - 5), 0);
	CU_ASSERT_EQUAL(get((GVA_SHAPE_VA & ~(SIZE_2M - 1)) + (GVA_WORLD_PAGES - 1) * PAGE_SIZE,
			    bytes, 2 * PAGE_SIZE, &n),
			-EFAULT);
	CU_ASSERT_EQUAL(n, PAGE_SIZE);
	/* Paging off: the last byte before 4 GiB is no memory, the next one is address 0. */
	mode.cr0 = 0;
	mode.cr4 = 0;
	mode.efer = 0;
	gva_world_put(0, 8, 77);
	CU_ASSERT_EQUAL(get(UINT64_C(1) << 32, bytes, 8, &n), 0);
	CU_ASSERT_EQUAL(bytes[0], 77);
	CU_ASSERT_EQUAL(get(UINT32_MAX, bytes, 2, &n), -EFAULT);
	end();
}

void suite_vmio_virtual(void);
void suite_vmio_virtual(void)
{
	CU_pSuite s = CU_add_suite("vmio virtual", NULL, NULL);

	CU_add_test(s, "pages", test_pages);
	CU_add_test(s, "fault", test_fault);
	CU_add_test(s, "stage 2", test_stage2);
	CU_add_test(s, "not remembered", test_not_remembered);
	CU_add_test(s, "tables move", test_tables_move);
	CU_add_test(s, "busy", test_busy);
	CU_add_test(s, "straddle", test_straddle);
	CU_add_test(s, "owners", test_owners);
	CU_add_test(s, "alone", test_alone);
	CU_add_test(s, "probe", test_probe);
	CU_add_test(s, "shapes", test_shapes);
}
