/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Address ranges, against a map with one byte for each page: where the lowest place is, who is
 * told off, and that the tree is as it should be after each step. Pools, where its nodes come from.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "mm/frame_alloc.h"
#include "mm/range.h"
#include "tests/host/arena.h"
#include "tests/host/random.h"

#define START UINT64_C(0xffffc00000000000)
#define PAGES 512
#define END   (START + PAGES * PAGE_SIZE)

static struct range range;
static char owner[PAGES]; /* their addresses are owners */
static unsigned reports;

static void report(const char *text)
{
	reports++;
	printf("%s\n", text);
}

static struct range_audit audit(void)
{
	struct range_audit a = { .report = report };

	CU_ASSERT_EQUAL(range_audit(&range, &a), 0);
	CU_ASSERT_EQUAL(a.used_bytes + a.free_bytes, range.end - range.start);
	return a;
}

static void begin(void)
{
	arena_init(16 * SIZE_2M);
	CU_ASSERT_EQUAL_FATAL(range_init(&range, START, END), 0);
	CU_ASSERT_EQUAL(audit().largest, END - START);
}

static void end(void)
{
	struct frame_account account;

	audit();
	range_fini(&range);
	frame_alloc_drain();
	frame_account(&account);
	CU_ASSERT_EQUAL(account.by_kind[FRAME_KERNEL], 0);
	arena_fini();
}

static uint64_t take(unsigned pages)
{
	uint64_t at = 0;

	CU_ASSERT_EQUAL(range_alloc(&range, pages * PAGE_SIZE, PAGE_SIZE, owner, &at), 0);
	return at;
}

static int give(uint64_t at, unsigned pages)
{
	return range_free(&range, at, pages * PAGE_SIZE);
}

/* The lowest place that is large enough, and neighbours become one again, in each order. */
static void test_first_fit(void)
{
	static const uint8_t orders[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
					      { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };

	begin();
	for (unsigned i = 0; i < 6; i++) {
		uint64_t at[3] = { take(1), take(2), take(3) };

		CU_ASSERT_EQUAL(at[0], START);
		CU_ASSERT_EQUAL(at[1], START + PAGE_SIZE);
		CU_ASSERT_EQUAL(at[2], START + 3 * PAGE_SIZE);
		for (unsigned k = 0; k < 3; k++) {
			unsigned which = orders[i][k];

			CU_ASSERT_EQUAL(give(at[which], which + 1), 0);
			audit();
		}
		CU_ASSERT_EQUAL(audit().free, 1);
	}
	/* A hole of 2 pages is passed over by 3, taken by 1. */
	take(1);
	CU_ASSERT_EQUAL(take(2), START + PAGE_SIZE);
	take(1);
	CU_ASSERT_EQUAL(give(START + PAGE_SIZE, 2), 0);
	CU_ASSERT_EQUAL(take(3), START + 4 * PAGE_SIZE);
	CU_ASSERT_EQUAL(take(1), START + PAGE_SIZE);
	end();
}

static void test_align(void)
{
	uint64_t at;

	begin();
	CU_ASSERT_EQUAL(take(1), START);
	CU_ASSERT_EQUAL(range_alloc(&range, PAGE_SIZE, 64 * PAGE_SIZE, owner, &at), 0);
	CU_ASSERT_EQUAL(at, START + 64 * PAGE_SIZE);
	CU_ASSERT_EQUAL(audit().free, 2); /* what was skipped can be had */
	CU_ASSERT_EQUAL(take(63), START + PAGE_SIZE);
	CU_ASSERT_EQUAL(give(at, 1), 0);
	/* Fills its block to the end: nothing is left behind it. */
	CU_ASSERT_EQUAL(range_alloc(&range, 448 * PAGE_SIZE, PAGE_SIZE, owner, &at), 0);
	CU_ASSERT_EQUAL(audit().free, 0);
	end();
}

static void test_exhausted(void)
{
	uint64_t at = 7;

	begin();
	CU_ASSERT_EQUAL(range_alloc(&range, END - START + PAGE_SIZE, PAGE_SIZE, owner, &at),
			-ENOSPC);
	CU_ASSERT_EQUAL(range_alloc(&range, PAGE_SIZE, UINT64_C(1) << 63, owner, &at), -ENOSPC);
	CU_ASSERT_EQUAL(range_alloc(&range, -PAGE_SIZE, PAGE_SIZE, owner, &at), -ENOSPC);
	take(PAGES);
	CU_ASSERT_EQUAL(audit().largest, 0);
	CU_ASSERT_EQUAL(range_alloc(&range, PAGE_SIZE, PAGE_SIZE, owner, &at), -ENOSPC);
	CU_ASSERT_EQUAL(at, 7);
	CU_ASSERT_EQUAL(give(START, PAGES), 0);
	CU_ASSERT_EQUAL(take(PAGES), START);
	end();
}

/* Each of them is told, and changes nothing. */
static void test_wrong_free(void)
{
	uint64_t a, b;

	begin();
	a = take(4);
	b = take(4);
	CU_ASSERT_EQUAL(give(b + 4 * PAGE_SIZE, 1), -ENOENT); /* never handed out */
	CU_ASSERT_EQUAL(give(a, 3), -ENOENT);		      /* its beginning */
	CU_ASSERT_EQUAL(give(a + PAGE_SIZE, 3), -ENOENT);     /* its end */
	CU_ASSERT_EQUAL(give(a, 8), -ENOENT);		      /* two at once */
	CU_ASSERT_EQUAL(give(a, 5), -ENOENT);
	CU_ASSERT_EQUAL(give(a, 0), -EINVAL);
	CU_ASSERT_EQUAL(give(a + 1, 4), -EINVAL);
	CU_ASSERT_EQUAL(range_free(&range, a, 4 * PAGE_SIZE + 1), -EINVAL);
	CU_ASSERT_EQUAL(range_free(&range, a, -PAGE_SIZE), -EINVAL);
	CU_ASSERT_EQUAL(give(START - PAGE_SIZE, 1), -EINVAL);
	CU_ASSERT_EQUAL(give(END, 1), -EINVAL);
	CU_ASSERT_EQUAL(give(0, 1), -EINVAL);
	CU_ASSERT_EQUAL(audit().used_bytes, 8 * PAGE_SIZE);
	CU_ASSERT_EQUAL(give(a, 4), 0);
	CU_ASSERT_EQUAL(give(a, 4), -ENOENT); /* twice */
	CU_ASSERT_EQUAL(give(b, 4), 0);
	CU_ASSERT_EQUAL(give(b, 4), -ENOENT); /* twice, now inside a larger free block */
	CU_ASSERT_EQUAL(audit().free, 1);
	end();
}

static void test_owner(void)
{
	uint64_t at;

	begin();
	CU_ASSERT_EQUAL(range_alloc(&range, 2 * PAGE_SIZE, PAGE_SIZE, &owner[5], &at), 0);
	CU_ASSERT_PTR_EQUAL(range_owner(&range, at), &owner[5]);
	CU_ASSERT_PTR_EQUAL(range_owner(&range, at + 2 * PAGE_SIZE - 1), &owner[5]);
	CU_ASSERT_PTR_NULL(range_owner(&range, at + 2 * PAGE_SIZE));
	CU_ASSERT_PTR_NULL(range_owner(&range, START - 1));
	CU_ASSERT_PTR_NULL(range_owner(&range, END));
	CU_ASSERT_EQUAL(give(at, 2), 0);
	CU_ASSERT_PTR_NULL(range_owner(&range, at));
	end();
}

/* Without memory nothing is handed out and nothing changes; what is handed out comes back. */
static void test_no_memory(void)
{
	unsigned n = 0;
	uint64_t at;
	int err;

	arena_init(16 * SIZE_2M);
	frame_alloc_fail_after(0);
	CU_ASSERT_EQUAL(range_init(&range, START, END), -ENOMEM);
	CU_ASSERT_EQUAL_FATAL(range_init(&range, START, END), 0);
	frame_alloc_fail_after(0);
	while ((err = range_alloc(&range, PAGE_SIZE, PAGE_SIZE, owner, &at)) == 0)
		n++;
	CU_ASSERT_EQUAL(err, -ENOMEM);
	CU_ASSERT_EQUAL(audit().used, n);
	frame_alloc_fail_after(0);
	/* Each second one: as many free blocks as there can be, and no allocation by any of them.
	 */
	for (unsigned i = 0; i < n; i += 2)
		CU_ASSERT_EQUAL(give(START + i * PAGE_SIZE, 1), 0);
	for (unsigned i = 1; i < n; i += 2)
		CU_ASSERT_EQUAL(give(START + i * PAGE_SIZE, 1), 0);
	CU_ASSERT_EQUAL(audit().free, 1);
	frame_alloc_fail_after(-1);
	end();
}

/* The least power of two that is above n, its exponent. */
static unsigned bits(uint64_t n)
{
	return n == 0 ? 0 : 64 - (unsigned)__builtin_clzll(n);
}

/*
 * Whatever the order, the tree is about as low as it can be: an AVL tree of n nodes is less than
 * 1.4405 log2(n + 2) high. All operations are a few ways down.
 */
static void test_logarithmic(void)
{
	static const unsigned step[] = { 1, 2, 3, 7 };
	const unsigned n = 16384;

	for (unsigned k = 0; k < 4; k++) {
		struct range_audit a;

		arena_init(16 * SIZE_2M);
		CU_ASSERT_EQUAL_FATAL(range_init(&range, START, START + n * PAGE_SIZE), 0);
		for (unsigned i = 0; i < n; i++)
			CU_ASSERT_EQUAL_FATAL(take(1), START + i * PAGE_SIZE);
		a = audit();
		CU_ASSERT_EQUAL(a.used, n);
		CU_ASSERT_TRUE(a.depth * 10000 <= 14405 * bits(a.used + a.free + 2));
		for (unsigned i = 0; i < n; i += step[k])
			CU_ASSERT_EQUAL_FATAL(give(START + i * PAGE_SIZE, 1), 0);
		a = audit();
		CU_ASSERT_TRUE(a.depth * 10000 <= 14405 * bits(a.used + a.free + 2));
		range_fini(&range);
		arena_fini();
	}
}

/* --- at random, against a map --- */

static uint16_t page_of[PAGES]; /* 0: free; else 1 + first page of its range */

/* Where first fit puts it, by looking at each page; PAGES: nowhere. */
static unsigned expected(unsigned pages, unsigned align)
{
	unsigned need = pages + align - 1;

	for (unsigned i = 0; i < PAGES;) {
		unsigned len = 0;

		while (i + len < PAGES && page_of[i + len] == 0)
			len++;
		/* START is aligned to more than any `align` here. */
		if (len >= need)
			return (i + align - 1) / align * align;
		i += len != 0 ? len : 1;
	}
	return PAGES;
}

static void random_alloc(uint64_t *random)
{
	unsigned pages = 1 + (unsigned)random_below(random, random_below(random, 8) ? 12 : 100);
	unsigned align = 1u << random_below(random, random_below(random, 4) ? 1 : 6);
	unsigned want = expected(pages, align);
	uint64_t at;
	int err = range_alloc(&range, pages * PAGE_SIZE, align * PAGE_SIZE, &owner[pages], &at);

	CU_ASSERT_EQUAL(err, want == PAGES ? -ENOSPC : 0);
	if (err != 0)
		return;
	CU_ASSERT_EQUAL_FATAL(at, START + want * PAGE_SIZE);
	for (unsigned i = 0; i < pages; i++)
		page_of[want + i] = (uint16_t)(want + 1);
}

static unsigned length_at(unsigned first)
{
	unsigned n = 0;

	while (first + n < PAGES && page_of[first + n] == first + 1)
		n++;
	return n;
}

/* Any pages: right only if they are just what was handed out. */
static void random_free(uint64_t *random)
{
	unsigned first = (unsigned)random_below(random, PAGES), pages;
	bool right;

	if (page_of[first] != 0 && random_below(random, 4) != 0)
		first = page_of[first] - 1u;
	pages = length_at(first);
	if (pages == 0 || random_below(random, 4) == 0)
		pages = 1 + (unsigned)random_below(random, 12);
	if (pages > PAGES - first)
		pages = PAGES - first;
	right = length_at(first) == pages;
	CU_ASSERT_EQUAL(give(START + first * PAGE_SIZE, pages), right ? 0 : -ENOENT);
	if (right)
		memset(&page_of[first], 0, pages * sizeof(page_of[0]));
}

static void test_random(void)
{
	uint64_t random = random_seed(1);

	begin();
	memset(page_of, 0, sizeof(page_of));
	for (unsigned step = 0; step < 20000; step++) {
		unsigned at = (unsigned)random_below(&random, PAGES), used = 0;

		if (random_below(&random, 2) != 0)
			random_alloc(&random);
		else
			random_free(&random);
		CU_ASSERT_EQUAL(range_owner(&range, START + at * PAGE_SIZE) != NULL,
				page_of[at] != 0);
		for (unsigned i = 0; i < PAGES; i++)
			used += page_of[i] != 0;
		CU_ASSERT_EQUAL(audit().used_bytes, used * PAGE_SIZE);
	}
	end();
}

/* --- misuse, and the audit itself --- */

static void init_unaligned(void *context)
{
	(void)context;
	range_init(&range, START + 1, END);
}

static void no_owner(void *context)
{
	uint64_t at;

	(void)context;
	range_alloc(&range, PAGE_SIZE, PAGE_SIZE, NULL, &at);
}

static void bad_align(void *context)
{
	uint64_t at;

	(void)context;
	range_alloc(&range, PAGE_SIZE, 3 * PAGE_SIZE, owner, &at);
}

static void test_misuse(void)
{
	begin();
	CU_ASSERT_TRUE(panics(init_unaligned, NULL, "precondition failed"));
	CU_ASSERT_TRUE(panics(no_owner, NULL, "precondition failed"));
	CU_ASSERT_TRUE(panics(bad_align, NULL, "precondition failed"));
	end();
}

static void count(const char *text)
{
	(void)text;
	reports++;
}

/* An end that the tree does not know of, and a node that is not in it. */
static void test_audit_finds(void)
{
	struct range_audit a = { .report = count };

	begin();
	take(3);
	reports = 0;
	range.end += PAGE_SIZE;
	CU_ASSERT_EQUAL(range_audit(&range, &a), 1);
	range.end -= PAGE_SIZE;
	range.blocks.used++;
	CU_ASSERT_EQUAL(range_audit(&range, &a), 1);
	range.blocks.used--;
	range.start += PAGE_SIZE;
	CU_ASSERT_EQUAL(range_audit(&range, &a), 1);
	range.start -= PAGE_SIZE;
	CU_ASSERT_EQUAL(reports, 3);
	end();
}

/* --- pools --- */

static void pool_get_unreserved(void *context)
{
	pool_get(context);
}

static void pool_put_none(void *context)
{
	uint64_t object[2];

	pool_put(context, object);
}

static void pool_fini_in_use(void *context)
{
	pool_get(context);
	pool_fini(context);
}

static void test_pool(void)
{
	uint64_t *object[300];
	struct pool pool;

	begin();
	pool_init(&pool, 16);
	CU_ASSERT_TRUE(panics(pool_get_unreserved, &pool, "precondition failed"));
	CU_ASSERT_TRUE(panics(pool_put_none, &pool, "precondition failed"));
	frame_alloc_fail_after(0);
	CU_ASSERT_EQUAL(pool_reserve(&pool, 1), -ENOMEM);
	CU_ASSERT_EQUAL(pool_reserve(&pool, 300), 0);
	CU_ASSERT_EQUAL(pool.spare, 2 * PAGE_SIZE / 16);
	CU_ASSERT_TRUE(panics(pool_fini_in_use, &pool, "precondition failed"));
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 300; i++) {
			object[i] = pool_get(&pool);
			CU_ASSERT_EQUAL(object[i][0] | object[i][1], 0);
			object[i][0] = object[i][1] = i + 1;
		}
		for (unsigned i = 0; i < 300; i++)
			CU_ASSERT_TRUE(object[i][0] == i + 1 && object[i][1] == i + 1);
		for (unsigned i = 0; i < 300; i++)
			pool_put(&pool, object[i]);
	}
	frame_alloc_fail_after(0);
	CU_ASSERT_EQUAL(pool_reserve(&pool, 300), 0); /* they are all there */
	frame_alloc_fail_after(-1);
	pool_fini(&pool);
	end();
}

void suite_range(void);
void suite_range(void)
{
	CU_pSuite s = CU_add_suite("range", NULL, NULL);

	CU_add_test(s, "first fit", test_first_fit);
	CU_add_test(s, "align", test_align);
	CU_add_test(s, "exhausted", test_exhausted);
	CU_add_test(s, "wrong free", test_wrong_free);
	CU_add_test(s, "owner", test_owner);
	CU_add_test(s, "no memory", test_no_memory);
	CU_add_test(s, "logarithmic", test_logarithmic);
	CU_add_test(s, "random", test_random);
	CU_add_test(s, "misuse", test_misuse);
	CU_add_test(s, "audit finds", test_audit_finds);
	CU_add_test(s, "pool", test_pool);
}
