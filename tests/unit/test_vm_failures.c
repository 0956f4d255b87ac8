/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Every single allocation of every operation fails once. Each operation runs over the same prepared
 * space, first undisturbed, then with its first allocation failing, its second, and so on until one
 * is more than it makes. After a failure: before the cursor the pages are as the operation would
 * have made them, behind it as they were; the tables are sound, no lock and no frame is lost.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "mm/host_pt.h"
#include "mm/vm_space.h"
#include "tests/host/arena.h"
#include "tests/unit/fake_pt.h"

#define ARENA  (UINT64_C(16) << 20)
#define WB_RW  (PT_RW | PT_MEM_WB)
#define WINDOW (2 * SIZE_1G)	/* what the operations may change */
#define DEVICE (64 * SIZE_1G)	/* host-physical, no RAM */
#define SAMPLE (61 * PAGE_SIZE) /* every 61st page is compared */
#define IMAGES (WINDOW / SAMPLE + 1)
#define FRAMES 1030

struct image {
	uint64_t hpa[IMAGES];
	pt_attr_t attr[IMAGES];
};

static struct vm_space space;
static uint64_t base; /* of the window */
static struct image before, after, now;
static struct frame *frames[FRAMES];
static bool undisturbed; /* the operation has come so far that no allocation may fail */
static uint64_t stopped; /* where the operation's cursor stood at the end */

static void image_take(struct image *m)
{
	epoch_enter();
	for (uint64_t i = 0; i < IMAGES; i++) {
		uint64_t at = base + i * SAMPLE;
		struct pt_leaf leaf = { .attr = 0 };
		bool found = vm_translate(&space, gpa(at), &leaf);

		m->hpa[i] = found ? leaf.hpa.hpa + (at - leaf.va) : 0;
		m->attr[i] = leaf.attr;
	}
	epoch_exit();
}

static int with_cursor(uint64_t start, uint64_t len, int (*f)(struct vm_cursor *c))
{
	struct vm_cursor c;
	int err = vm_cursor_open(&c, &space, gpa(base + start), gpa(base + start + len), VM_CHANGE);

	stopped = base + start;
	if (err != 0)
		return err;
	err = f(&c);
	stopped = vm_cursor_at(&c).gpa;
	vm_cursor_close(&c);
	return err;
}

/* --- the operations --------------------------------------------------------------------------- */

static int nothing(struct vm_cursor *c)
{
	(void)c;
	return 0;
}

static int op_open(void)
{
	return with_cursor(20 * SIZE_2M, PAGE_SIZE, nothing);
}

static int map_small(struct vm_cursor *c)
{
	struct frame *f = frame_alloc(0, FRAME_GUEST, 0);
	int err = f == NULL ? -ENOMEM : vm_map(c, f, WB_RW);

	if (f != NULL && err != 0)
		frame_put(f);
	return err;
}

static int op_map_small(void)
{
	return with_cursor(0, WINDOW, map_small);
}

static int map_large(struct vm_cursor *c)
{
	return vm_map_untracked(c, hpa(DEVICE), SIZE_2M, WB_RW);
}

/* Over a table of small pages, which it replaces. */
static int op_map_large(void)
{
	return with_cursor(SIZE_2M, SIZE_2M, map_large);
}

static int map_range(struct vm_cursor *c)
{
	return vm_map_untracked(c, hpa(DEVICE + 7 * PAGE_SIZE), 3 * SIZE_2M + 5 * PAGE_SIZE, WB_RW);
}

static int op_map_range(void)
{
	return with_cursor(SIZE_1G - SIZE_2M - PAGE_SIZE, 8 * SIZE_2M, map_range);
}

static int map_frames(struct vm_cursor *c)
{
	uint64_t done;
	int err = vm_map_frames(c, frames, FRAMES, WB_RW, &done);

	/* These have moved; finish() puts the others. */
	for (uint64_t i = 0; i < done; i++)
		frames[i] = NULL;
	return err;
}

static int op_map_frames(void)
{
	return with_cursor(SIZE_1G - 500 * PAGE_SIZE, 4 * SIZE_2M, map_frames);
}

static int unmap_inside(struct vm_cursor *c)
{
	uint64_t pages;

	return vm_unmap(c, SIZE_1G / 2, &pages);
}

/* A gigabyte is split at both ends, and two large pages in it. */
static int op_unmap(void)
{
	return with_cursor(SIZE_1G + SIZE_1G / 4 + PAGE_SIZE, SIZE_1G / 2, unmap_inside);
}

static int take_all(struct vm_cursor *c)
{
	struct pt_fragment f;
	int err;

	do
		err = vm_take_next(c, c->c.end - c->c.va, &f);
	while (err == 0);
	return err == -ENOENT ? 0 : err;
}

static int op_take(void)
{
	return with_cursor(SIZE_1G + SIZE_1G / 4 + PAGE_SIZE, SIZE_1G / 2, take_all);
}

static int protect_inside(struct vm_cursor *c)
{
	uint64_t pages;

	return vm_protect(c, SIZE_1G / 2, PT_READ | PT_MEM_WB, &pages);
}

static int op_protect(void)
{
	return with_cursor(SIZE_1G + SIZE_1G / 4 + PAGE_SIZE, SIZE_1G / 2, protect_inside);
}

static int protect_each(struct vm_cursor *c)
{
	struct pt_leaf old;
	int err;

	do
		err = vm_protect_next(c, c->c.end - c->c.va, PT_READ | PT_MEM_WB, &old);
	while (err == 0);
	return err == -ENOENT ? 0 : err;
}

static int op_protect_next(void)
{
	return with_cursor(SIZE_1G + SIZE_1G / 4 + PAGE_SIZE, SIZE_1G / 2, protect_each);
}

static int clear_each(struct vm_cursor *c)
{
	struct pt_leaf old;
	int err;

	do
		err = vm_clear_marks_next(c, c->c.end - c->c.va, PT_DIRTY, &old);
	while (err == 0);
	return err == -ENOENT ? 0 : err;
}

static int op_clear(void)
{
	return with_cursor(SIZE_1G + SIZE_1G / 4 + PAGE_SIZE, SIZE_1G / 2, clear_each);
}

static int reserve(struct vm_cursor *c)
{
	return vm_reserve(c, 5);
}

static int op_reserve(void)
{
	return with_cursor(0, PAGE_SIZE, reserve);
}

static int map_reserved(struct vm_cursor *c)
{
	struct frame *f = frame_alloc(0, FRAME_GUEST, 0);
	int err = f == NULL ? -ENOMEM : vm_reserve(c, 4);

	if (err == 0) {
		/* From here on nothing may fail. */
		frame_alloc_fail_after(0);
		CU_ASSERT_EQUAL(vm_map(c, f, WB_RW), 0);
		frame_alloc_fail_after(-1);
		undisturbed = true;
	} else if (f != NULL) {
		frame_put(f);
	}
	return err;
}

static int op_map_reserved(void)
{
	return with_cursor(0, WINDOW, map_reserved);
}

static int collapse(struct vm_cursor *c)
{
	return vm_collapse(c, SIZE_2M);
}

/* Needs no memory at all. */
static int op_collapse(void)
{
	return with_cursor(4 * SIZE_2M, SIZE_2M, collapse);
}

/* --- running them ----------------------------------------------------------------------------- */

static const struct operation {
	const char *name;
	int (*run)(void);
	unsigned least; /* allocations that it makes at least */
} operations[] = {
	{ "open", op_open, 1 },
	{ "map", op_map_small, 2 },
	{ "map large", op_map_large, 0 },
	{ "map range", op_map_range, 2 },
	{ "map frames", op_map_frames, 2 },
	{ "unmap", op_unmap, 3 },
	{ "take", op_take, 3 },
	{ "protect", op_protect, 3 },
	{ "protect next", op_protect_next, 3 },
	{ "clear marks", op_clear, 3 },
	{ "reserve", op_reserve, 5 },
	{ "map reserved", op_map_reserved, 5 },
	{ "collapse", op_collapse, 0 },
};

static void complain(const char *text)
{
	fprintf(stderr, "audit: %s\n", text);
}

static int map_untracked_at(uint64_t at, hpa_t to, uint64_t len)
{
	struct vm_cursor c;
	int err = vm_cursor_open(&c, &space, gpa(base + at), gpa(base + at + len), VM_CHANGE);

	if (err != 0)
		return err;
	err = vm_map_untracked(&c, to, len, PT_RW | PT_DIRTY | PT_MEM_WB);
	vm_cursor_close(&c);
	return err;
}

static void prepare_frames(void)
{
	for (unsigned i = 0; i < FRAMES; i++) {
		frames[i] = frame_alloc(0, FRAME_GUEST, 0);
		CU_ASSERT_PTR_NOT_NULL_FATAL(frames[i]);
	}
}

/* A gigabyte; a table of small pages; and one that could be one large page. */
static void prepare(const struct pt_ops *ops)
{
	char why[128];

	arena_init(ARENA);
	CU_ASSERT_EQUAL_FATAL(ept_setup(0xf0106734141 | 1 << 17, 46, why, sizeof(why)), 0);
	npt_setup(true, 46);
	host_pt_setup(true, 46);
	CU_ASSERT_EQUAL_FATAL(vm_space_init(&space, ops), 0);
	CU_ASSERT_EQUAL(map_untracked_at(SIZE_1G, hpa(DEVICE), SIZE_1G), 0);
	CU_ASSERT_EQUAL(map_untracked_at(SIZE_2M + PAGE_SIZE, hpa(DEVICE), 9 * PAGE_SIZE), 0);
	for (uint64_t i = 0; i < 512; i++)
		CU_ASSERT_EQUAL(map_untracked_at(4 * SIZE_2M + i * PAGE_SIZE,
						 hpa(DEVICE + i * PAGE_SIZE), PAGE_SIZE),
				0);
	prepare_frames();
}

static uint64_t used(void)
{
	struct frame_account a;

	frame_account(&a);
	return a.by_kind[FRAME_GUEST] + a.by_kind[FRAME_STAGE2_TABLE] + a.by_kind[FRAME_HOST_TABLE];
}

static void finish(void)
{
	struct vm_audit audit;

	vm_audit(&space, &audit, complain);
	CU_ASSERT_EQUAL(audit.violations, 0);
	CU_ASSERT_EQUAL(lock_held(), 0);
	CU_ASSERT_FALSE(epoch_inside());
	vm_space_destroy(&space);
	for (unsigned i = 0; i < FRAMES; i++)
		if (frames[i] != NULL)
			frame_put(frames[i]);
	epoch_drain();
	CU_ASSERT_EQUAL(used(), 0);
	CU_ASSERT_EQUAL(frame_audit(complain), 0);
	arena_fini();
}

/* Before `at` as after the operation (whose frames are others each time), from there as before. */
static bool image_right(uint64_t at, bool all)
{
	for (uint64_t i = 0; i < IMAGES; i++) {
		bool done = all || base + i * SAMPLE < at;
		const struct image *want = done ? &after : &before;
		bool same_memory = now.hpa[i] == want->hpa[i] ||
				   ((want->attr[i] & PT_TRACKED) != 0 && now.hpa[i] != 0);

		if (now.attr[i] != want->attr[i] || !same_memory) {
			fprintf(stderr, "page 0x%llx: 0x%llx 0x%x, not 0x%llx 0x%x\n",
				(unsigned long long)(i * SAMPLE), (unsigned long long)now.hpa[i],
				now.attr[i], (unsigned long long)want->hpa[i], want->attr[i]);
			return false;
		}
	}
	return true;
}

/* Has the failure that was asked for not happened yet? */
static bool failure_left(unsigned skip)
{
	bool left = undisturbed;

	for (unsigned i = 0; i <= skip && !left; i++) {
		struct frame *f = frame_alloc(0, FRAME_KERNEL, 0);

		left = f == NULL;
		if (f != NULL)
			frame_put(f);
	}
	frame_alloc_fail_after(-1);
	return left;
}

/* One allocation, `skip` from the first, fails. True: it makes no more than that. */
static bool fail_one(const struct operation *o, const struct pt_ops *ops, unsigned skip)
{
	bool more, right;
	int err;

	prepare(ops);
	undisturbed = false;
	frame_alloc_fail_after(skip);
	err = o->run();
	more = !failure_left(skip);
	image_take(&now);
	right = image_right(stopped, err == 0);
	if (!right || (err != 0 && (err != -ENOMEM || !more))) {
		fprintf(stderr, "%s, %s: allocation %u fails, %s\n", ops->limits->name, o->name,
			skip, err_name(err));
		CU_FAIL("as it should not be after a failed allocation");
	}
	finish();
	return !more;
}

static void fail_each(const struct operation *o, const struct pt_ops *ops)
{
	unsigned skip = 0;

	prepare(ops);
	image_take(&before);
	CU_ASSERT_EQUAL(o->run(), 0);
	image_take(&after);
	finish();
	while (!fail_one(o, ops, skip))
		skip++;
	if (skip < o->least)
		fprintf(stderr, "%s: %u allocations\n", o->name, skip);
	CU_ASSERT(skip >= o->least);
}

static void run_all(const struct pt_ops *ops, uint64_t first)
{
	base = first;
	for (unsigned i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		fail_each(&operations[i], ops);
}

static void test_ept(void)
{
	run_all(&ept_ops, 0);
}

static void test_npt(void)
{
	run_all(&npt_ops, SIZE_1G * 512 - SIZE_1G); /* across a border of root slots */
}

static void test_host(void)
{
	run_all(&host_pt_ops, UINT64_C(0xffffa00000000000));
}

static void test_fake(void)
{
	run_all(&fake_pt_ops, (UINT64_C(1) << 48) - SIZE_1G);
}

/* Not even the root. */
static void test_root(void)
{
	arena_init(ARENA);
	frame_alloc_fail_after(0);
	CU_ASSERT_EQUAL(vm_space_init(&space, &ept_ops), -ENOMEM);
	CU_ASSERT_EQUAL(used(), 0);
	arena_fini();
}

void suite_vm_failures(void);

void suite_vm_failures(void)
{
	CU_pSuite s = CU_add_suite("vm_failures", NULL, NULL);

	CU_add_test(s, "each allocation fails once, EPT", test_ept);
	CU_add_test(s, "each allocation fails once, NPT", test_npt);
	CU_add_test(s, "each allocation fails once, host", test_host);
	CU_add_test(s, "each allocation fails once, fake format", test_fake);
	CU_add_test(s, "no memory for a root", test_root);
}
