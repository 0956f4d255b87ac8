/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A pager takes pages away while they are written to: a page that it found clean was not written.
 *
 *      writer                              pager, at each step that the writer's walks make
 *      finds the page
 *                                          take_next: clean, so its content need not be kept
 *      marks it, writes                    must be to another page, or not at all
 */
#include <CUnit/CUnit.h>
#include <string.h>

#include "base/err.h"
#include "base/x86/msr.h"
#include "base/x86/regs.h"
#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "tests/unit/vmio_world.h"
#include "vmio/virtual.h"

#define PAGE  UINT64_C(0x5000)
#define TABLE UINT64_C(0x6000)

static struct pt_ops ops;
static unsigned step, strike; /* the pager comes at this step */
static uint64_t victim;
static const uint64_t *taken; /* the page that it took, */
static pt_attr_t taken_attr;  /* as it was */

static void pager(void)
{
	struct pt_fragment out = { 0 };
	struct vm_cursor c;
	struct pt_leaf leaf;

	if (++step != strike || !vm_translate(&vmio_space, gpa(victim), &leaf))
		return;
	CU_ASSERT_EQUAL(
		vm_cursor_open(&c, &vmio_space, gpa(victim), gpa(victim + PAGE_SIZE), VM_CHANGE),
		0);
	CU_ASSERT_EQUAL(vm_take_next(&c, PAGE_SIZE, &out), 0);
	vm_cursor_close(&c);
	taken = hpa_ptr(out.hpa);
	taken_attr = out.attr;
}

static struct pt_hit lookup(const struct pt *pt, uint64_t va)
{
	struct pt_hit hit = npt_ops.lookup(pt, va);

	pager();
	return hit;
}

static struct pt_place place(const struct pt *pt, uint64_t va, pt_attr_t needs)
{
	struct pt_place found = npt_ops.place(pt, va, needs);

	pager();
	return found;
}

static bool mark(const struct pt *pt, uint64_t va, pt_attr_t marks)
{
	bool done = npt_ops.mark(pt, va, marks);

	pager();
	return done;
}

/* A page that is there, clean and zero; the pager will take it at step `at`. */
static void begin(uint64_t page, unsigned at)
{
	vmio_begin();
	vmio_map(page, 0, PT_RW);
	ops = npt_ops;
	ops.lookup = lookup;
	ops.place = place;
	ops.mark = mark;
	vmio_space.pt.ops = &ops;
	victim = page;
	strike = at;
	step = 0;
	taken = NULL;
}

/* After 8 bytes `word` were written at `page`. True: the pager has come. */
static bool end(uint64_t word)
{
	uint64_t now = 0;
	bool came = taken != NULL;

	strike = 0;
	CU_ASSERT_EQUAL(vmio_get(victim, &now, sizeof(now)), 0);
	/* It is there, or the pager knows that what it took was written. */
	if (came && (taken_attr & PT_DIRTY) != 0)
		CU_ASSERT(now == word || *taken == word)
	else
		CU_ASSERT_EQUAL(now, word);
	if (came && (taken_attr & PT_DIRTY) == 0)
		CU_ASSERT_EQUAL(*taken, 0);
	if (now == word)
		CU_ASSERT_EQUAL(vmio_attr(victim) & PT_DIRTY, PT_DIRTY);
	vmio_space.pt.ops = &npt_ops;
	epoch_exit();
	vmio_end();
	return came;
}

static void test_write(void)
{
	unsigned at = 1;

	do {
		uint64_t word = 0x1122334455667788;

		begin(PAGE, at);
		epoch_enter(); /* keeps what is taken */
		CU_ASSERT_EQUAL(vmio_put(PAGE, &word, sizeof(word)), 0);
		at++;
	} while (end(0x1122334455667788));
	CU_ASSERT(at > 4);
}

static void test_exchange(void)
{
	unsigned at = 1;

	do {
		struct vm_writer w;
		uint64_t old = 0;

		begin(PAGE, at);
		w = vmio_writer(PAGE, 8);
		epoch_enter();
		CU_ASSERT_EQUAL(vm_compare_exchange(&w, 8, &old, 42), 0);
		vmio_gone(&w.io);
		at++;
	} while (end(42));
	CU_ASSERT(at > 4);
}

/* 32-bit paging with a page of 4 MiB, the first: the entry and the data are in TABLE and in PAGE.
 */
static struct gva_mode mode = {
	.cr0 = CR0_PG | CR0_PE,
	.cr3 = TABLE,
	.cr4 = CR4_PSE,
	.maxphyaddr = 36,
};

static void test_virtual(void)
{
	static const uint32_t entry = 0xe7; /* with its marks */
	unsigned at = 1;

	do {
		struct gva_result fault;
		struct vm_virtual virt = { .mode = &mode, .fault = &fault };
		struct vm_writer w;
		uint64_t word = 43;

		begin(PAGE, 0);
		CU_ASSERT_EQUAL(vmio_put(TABLE, &entry, sizeof(entry)), 0);
		step = 0;
		strike = at;
		vm_writer_virtual(&w, &vmio_space, gva(PAGE), 8, &virt, &vmio_use);
		CU_ASSERT_EQUAL(vm_io_activate(&w.io), 0);
		epoch_enter();
		CU_ASSERT_EQUAL(vm_write_val(&w, &word), 0);
		vmio_gone(&w.io);
		at++;
	} while (end(43));
	CU_ASSERT(at > 4);
}

/* The walker's marks in the guest's own tables are writes, too. */
static void test_guest_tables(void)
{
	unsigned at = 1;

	do {
		begin(TABLE, at);
		epoch_enter();
		if (guest_word_exchange(&vmio_space, gpa(TABLE), 8, 0, 44) != 0)
			CU_FAIL("the exchange fails");
		at++;
	} while (end(44));
	CU_ASSERT(at > 4);
}

/* A space where another one was: what a walker remembers of that is not of this. */
static void test_next_space(void)
{
	struct guest_pages pages = { 0 };
	uint64_t got;

	for (uint64_t i = 1; i <= 3; i++) {
		vmio_begin();
		/* Another frame each time. */
		for (uint64_t n = 0; n < i; n++)
			vmio_map(0x10000 + n * PAGE_SIZE, 0, PT_RW);
		*(uint64_t *)vmio_map(TABLE, 0, PT_RW) = i;
		epoch_enter();
		CU_ASSERT_EQUAL(
			guest_word_read_in(&pages, 1, &vmio_space, gpa(TABLE), 8, false, &got), 0);
		CU_ASSERT_EQUAL(got, i);
		epoch_exit();
		vmio_end();
	}
}

void suite_vmio_pager(void);
void suite_vmio_pager(void)
{
	CU_pSuite s = CU_add_suite("vmio pager", NULL, NULL);

	CU_add_test(s, "write", test_write);
	CU_add_test(s, "exchange", test_exchange);
	CU_add_test(s, "virtual", test_virtual);
	CU_add_test(s, "guest tables", test_guest_tables);
	CU_add_test(s, "next space", test_next_space);
}
