/* SPDX-License-Identifier: MPL-2.0 */
/* Blocks split and joined: heads, tails, references, errors, and back to the allocator. */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "mm/frame_alloc.h"
#include "mm/frame_block.h"
#include "mm/frame_unique.h"
#include "tests/host/arena.h"

#define ARENA (UINT64_C(16) << 20)

static void tell(const char *text)
{
	fprintf(stderr, "audit: %s\n", text);
}

static struct frame_account account_now(void)
{
	struct frame_account a;

	frame_account(&a);
	return a;
}

static struct frame *take(unsigned order)
{
	struct frame *f = frame_alloc(order, FRAME_GUEST, 0);

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	return f;
}

/* Each page is a frame of its own, with one reference, and can go on its own. */
static void test_split(void)
{
	struct frame_account before, after;
	struct frame *f;

	arena_init(ARENA);
	before = account_now();
	f = take(FRAME_ORDER_2M);
	CU_ASSERT_EQUAL(frame_split(f), 0);
	for (unsigned i = 0; i < FRAME_PARTS; i++) {
		CU_ASSERT_PTR_EQUAL(frame_head(f + i), f + i);
		CU_ASSERT_EQUAL(frame_refs(f + i), 1);
		CU_ASSERT_EQUAL(frame_size(f + i), PAGE_SIZE);
		CU_ASSERT_EQUAL(f[i].kind, FRAME_GUEST);
	}
	CU_ASSERT_EQUAL(account_now().by_kind[FRAME_GUEST], SIZE_2M);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	for (unsigned i = 0; i < FRAME_PARTS; i++)
		frame_put(f + i * 77 % FRAME_PARTS);
	frame_alloc_drain();
	after = account_now();
	CU_ASSERT_EQUAL(memcmp(&before, &after, sizeof(after)), 0);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

/* 1 GiB into 2 MiB into pages, and all the way back. */
static void test_gigabyte(void)
{
	struct frame *f, *part;

	arena_init(UINT64_C(3) << 30);
	f = take(FRAME_ORDER_1G);
	CU_ASSERT_EQUAL(frame_split(f), 0);
	part = f + 5 * FRAME_PARTS;
	CU_ASSERT_EQUAL(frame_size(part), SIZE_2M);
	CU_ASSERT_PTR_EQUAL(frame_head(part + 3), part);
	CU_ASSERT_PTR_EQUAL(frame_head(f + 3), f);
	CU_ASSERT_EQUAL(frame_size(f), SIZE_2M);
	CU_ASSERT_EQUAL(frame_split(part), 0);
	CU_ASSERT_PTR_EQUAL(frame_head(part + 3), part + 3);
	CU_ASSERT_EQUAL(frame_join(f), -ENOENT);
	CU_ASSERT_EQUAL(frame_join(part), 0);
	CU_ASSERT_EQUAL(frame_join(f), 0);
	CU_ASSERT_EQUAL(frame_size(f), SIZE_1G);
	for (unsigned i = 0; i < 1u << FRAME_ORDER_1G; i += 101)
		CU_ASSERT_PTR_EQUAL(frame_head(f + i), f);
	CU_ASSERT_EQUAL(frame_join(f), -EINVAL);
	frame_put(f);
	CU_ASSERT_EQUAL(account_now().largest_free, SIZE_1G);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

/* Unique stays unique, in both directions; kind and word are the block's. */
static void test_unique(void)
{
	struct frame *f;

	arena_init(ARENA);
	f = take(FRAME_ORDER_2M);
	CU_ASSERT_EQUAL_FATAL(frame_to_unique(f), 0);
	frame_set_word(f, 42);
	CU_ASSERT_EQUAL(frame_split(f), 0);
	for (unsigned i = 0; i < FRAME_PARTS; i++) {
		CU_ASSERT_TRUE(frame_is_unique(f + i));
		CU_ASSERT_EQUAL(frame_word(f + i), 42);
	}
	frame_set_word(f + 1, 43);
	frame_from_unique(f + 9);
	CU_ASSERT_EQUAL(frame_join(f), -EBUSY);
	CU_ASSERT_EQUAL(frame_to_unique(f + 9), 0);
	CU_ASSERT_EQUAL(frame_join(f), 0);
	CU_ASSERT_TRUE(frame_is_unique(f));
	CU_ASSERT_EQUAL(frame_word(f), 42);
	frame_unique_drop(f);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

static void split_small(void *f)
{
	frame_split(f);
}

static void test_split_refused(void)
{
	struct frame *f;

	arena_init(ARENA);
	f = take(FRAME_ORDER_2M);
	frame_get(f);
	CU_ASSERT_EQUAL(frame_split(f), -EBUSY);
	CU_ASSERT_EQUAL(frame_refs(f), 2);
	CU_ASSERT_EQUAL(frame_size(f), SIZE_2M);
	CU_ASSERT_PTR_EQUAL(frame_head(f + 1), f);
	frame_put(f);
	frame_put(f);
	f = take(8);
	CU_ASSERT_TRUE(panics(split_small, f, "precondition failed"));
	frame_put(f);
	arena_fini();
}

static struct frame slots[ARENA / PAGE_SIZE];

/* An error leaves every slot as it was. */
static void join_refused(struct frame *f, int err)
{
	memcpy((void *)slots, frame_slot(0), sizeof(slots));
	CU_ASSERT_EQUAL(frame_join(f), err);
	CU_ASSERT_EQUAL(memcmp(slots, frame_slot(0), sizeof(slots)), 0);
}

static void test_join_refused(void)
{
	struct frame *f, *other;

	arena_init(ARENA);
	f = take(FRAME_ORDER_2M);
	CU_ASSERT_EQUAL(frame_split(f), 0);
	join_refused(f + 1, -EINVAL);
	join_refused(f + 256, -EINVAL);
	for (unsigned i = 0; i < FRAME_PARTS; i += 73) {
		frame_get(f + i);
		join_refused(f, -EBUSY);
		frame_put(f + i);
	}
	CU_ASSERT_EQUAL_FATAL(frame_to_unique(f + 511), 0);
	join_refused(f, -EBUSY);
	frame_repurpose(f + 511, FRAME_KERNEL);
	frame_from_unique(f + 511);
	join_refused(f, -ENOENT);
	frame_put(f + 511);
	join_refused(f, -ENOENT); /* in this CPU's stack */
	frame_alloc_drain();
	join_refused(f, -ENOENT); /* a free block */
	other = take(0);
	CU_ASSERT_PTR_EQUAL_FATAL(other, f + 511); /* the smallest that will do */
	CU_ASSERT_EQUAL(frame_join(f), 0);	   /* wherever it comes from */
	frame_put(f);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

/* The memory ends before the block would, or has a hole. */
static void test_join_no_memory(void)
{
	static struct frame *f[2 * FRAME_PARTS];
	unsigned n = 0;

	arena_init(ARENA);
	frame_alloc_forget();
	frame_forget_regions();
	memset(frame_slot(0), 0, ARENA / PAGE_SIZE * sizeof(struct frame));
	frame_init_region(hpa(0), SIZE_2M - PAGE_SIZE);
	frame_init_region(hpa(SIZE_2M), SIZE_2M / 2);
	for (uint64_t at = 0; at < SIZE_2M + SIZE_2M / 2; at += PAGE_SIZE)
		if (frame_at(hpa(at)) != NULL)
			CU_ASSERT_EQUAL_FATAL(frame_from_unused(hpa(at), FRAME_GUEST, &f[n++]), 0);
	CU_ASSERT_EQUAL(frame_join(f[0]), -ERANGE);
	CU_ASSERT_EQUAL(frame_join(f[FRAME_PARTS - 1]), -ERANGE);
	CU_ASSERT_EQUAL(frame_size(f[0]), PAGE_SIZE);
	for (unsigned i = 0; i < n; i++)
		CU_ASSERT_EQUAL(frame_refs(f[i]), 1);
	arena_fini();
}

/* Frames that were never the allocator's as a block are one as good as any. */
static void test_join_from_unused(void)
{
	struct frame *f;

	arena_init(ARENA);
	frame_alloc_forget();
	memset(frame_slot(0), 0, ARENA / PAGE_SIZE * sizeof(struct frame));
	frame_alloc_add(hpa(0), SIZE_2M);
	for (uint64_t i = 0; i < FRAME_PARTS; i++)
		CU_ASSERT_EQUAL_FATAL(
			frame_from_unused(hpa(SIZE_2M + i * PAGE_SIZE), FRAME_GUEST, &f), 0);
	f = frame_at(hpa(SIZE_2M));
	CU_ASSERT_EQUAL(frame_join(f), 0);
	CU_ASSERT_PTR_EQUAL(frame_head(f + 300), f);
	CU_ASSERT_EQUAL(account_now().by_kind[FRAME_GUEST], SIZE_2M);
	frame_put(f);
	CU_ASSERT_EQUAL(account_now().by_kind[FRAME_FREE], 2 * SIZE_2M);
	frame_alloc_drain();
	CU_ASSERT_EQUAL(account_now().largest_free, 2 * SIZE_2M);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

void suite_frame_block(void);
void suite_frame_block(void)
{
	CU_pSuite s = CU_add_suite("frame blocks", NULL, NULL);

	CU_add_test(s, "split", test_split);
	CU_add_test(s, "gigabyte", test_gigabyte);
	CU_add_test(s, "unique", test_unique);
	CU_add_test(s, "split refused", test_split_refused);
	CU_add_test(s, "join refused", test_join_refused);
	CU_add_test(s, "join without memory", test_join_no_memory);
	CU_add_test(s, "join what was unused", test_join_from_unused);
}
