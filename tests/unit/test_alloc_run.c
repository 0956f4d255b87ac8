/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Runs of frames of any length, and memory that comes back in other portions than it was handed out
 * in, against a model: who owns each page.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "mm/frame_alloc.h"
#include "mm/frame_block.h"
#include "tests/host/arena.h"
#include "tests/host/random.h"

#define PAGES 4096
#define ARENA (PAGES * PAGE_SIZE)

static void tell(const char *text)
{
	fprintf(stderr, "audit: %s\n", text);
}

static uint64_t free_bytes(void)
{
	struct frame_account a;

	frame_account(&a);
	return a.by_kind[FRAME_FREE];
}

static struct frame *run(uint64_t n, uint64_t align)
{
	return frame_alloc_contiguous(n, align, FRAME_GUEST, 0);
}

static void put_run(struct frame *f, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		frame_put(f + i);
}

/* All that there is, though no two of its blocks are of one size: page 0 is not free. */
static void test_across_blocks(void)
{
	struct frame *f;
	uint64_t all;

	arena_init(ARENA);
	all = free_bytes();
	for (uint64_t n = PAGES - 1; n > PAGES / 2; n -= 101) {
		f = run(n, 1);
		CU_ASSERT_PTR_NOT_NULL_FATAL(f);
		CU_ASSERT_EQUAL(free_bytes(), all - n * PAGE_SIZE);
		CU_ASSERT_EQUAL(frame_audit(tell), 0);
		put_run(f, n);
		CU_ASSERT_EQUAL(free_bytes(), all);
		CU_ASSERT_EQUAL(frame_audit(tell), 0);
	}
	CU_ASSERT_PTR_NULL(run(PAGES, 1));
	CU_ASSERT_PTR_NULL(run(PAGES - 1, 2)); /* it begins at 1 */
	f = run(PAGES - 2, 2);
	CU_ASSERT_PTR_EQUAL(f, frame_slot(2));
	put_run(f, PAGES - 2);
	arena_fini();
}

/* A run of which some is in use already is not a run; right beside it one is. */
static void test_around_holes(void)
{
	struct frame *f, *g;

	arena_init(ARENA);
	f = run(PAGES - 1, 1);
	CU_ASSERT_PTR_EQUAL_FATAL(f, frame_slot(1));
	/* Free: 100 to 399 and 1000 to 2999. */
	put_run(frame_slot(100), 300);
	put_run(frame_slot(1000), 2000);
	CU_ASSERT_PTR_NULL(run(2001, 1));
	CU_ASSERT_PTR_NULL(run(1977, 1024)); /* 1024 to 2999 are 1976 */
	g = run(1976, 1024);
	CU_ASSERT_PTR_EQUAL_FATAL(g, frame_slot(1024));
	put_run(g, 1976);
	g = run(2000, 8);
	CU_ASSERT_PTR_EQUAL_FATAL(g, frame_slot(1000));
	CU_ASSERT_PTR_EQUAL(run(300, 4), frame_slot(100));
	CU_ASSERT_PTR_NULL(run(1, 1));
	CU_ASSERT_EQUAL(free_bytes(), 0);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	put_run(frame_slot(1), PAGES - 1);
	frame_alloc_drain();
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	CU_ASSERT_PTR_NOT_NULL(frame_alloc(11, FRAME_GUEST, 0));
	arena_fini();
}

/* Longer than any block: from two gigabytes that follow each other. */
static void test_above_largest_order(void)
{
	const uint64_t gigabyte = UINT64_C(1) << FRAME_ORDER_1G;
	struct frame *f;

	arena_init(UINT64_C(4) << 30);
	f = run(gigabyte + 5, 1);
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	for (uint64_t i = 0; i < gigabyte + 5; i++)
		CU_ASSERT_EQUAL_FATAL(frame_refs(f + i), 1);
	CU_ASSERT_PTR_NULL(run(3 * gigabyte, 1));
	put_run(f, gigabyte + 5);
	frame_alloc_drain();
	f = run(gigabyte, 2 * gigabyte);
	CU_ASSERT_PTR_EQUAL(f, frame_slot(2 * gigabyte));
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

/* --- random use ------------------------------------------------------------------------------- */

static uint8_t owned[PAGES];

/* The longest run of free pages that begins at a multiple of `align`. */
static uint64_t longest(uint64_t align)
{
	uint64_t best = 0;

	for (uint64_t at = 0; at < PAGES; at += align) {
		uint64_t n = 0;

		while (at + n < PAGES && !owned[at + n])
			n++;
		best = n > best ? n : best;
	}
	return best;
}

static void own(struct frame *f, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		CU_ASSERT_EQUAL_FATAL(owned[frame_pfn(f) + i], 0);
		CU_ASSERT_EQUAL_FATAL(frame_refs(f + i), 1);
		CU_ASSERT_EQUAL_FATAL(frame_size(f + i), PAGE_SIZE);
		owned[frame_pfn(f) + i] = 1;
	}
}

static void take_run(uint64_t *rng)
{
	uint64_t n = 1 + random_below(rng, random_below(rng, 4) == 0 ? 1500 : 100);
	uint64_t align = UINT64_C(1) << random_below(rng, 8);
	struct frame *f;

	frame_alloc_drain(); /* now what is free is in the lists, all of it */
	f = run(n, align);
	if (f == NULL) {
		/* 64 blocks of each order are looked at: there are not more that are large. */
		CU_ASSERT(n < 64 || longest(align) < n);
		return;
	}
	CU_ASSERT_EQUAL(frame_pfn(f) % align, 0);
	own(f, n);
}

static void take_block(void)
{
	struct frame *f = frame_alloc(FRAME_ORDER_2M, FRAME_GUEST, 0);

	if (f == NULL)
		return;
	CU_ASSERT_EQUAL(frame_split(f), 0);
	own(f, FRAME_PARTS);
}

static void give_some(uint64_t *rng)
{
	uint64_t at = random_below(rng, PAGES), n = random_below(rng, 600);

	for (uint64_t pfn = at; pfn < at + n && pfn < PAGES; pfn++) {
		if (pfn == 0 || !owned[pfn])
			continue;
		owned[pfn] = 0;
		frame_put(frame_slot(pfn));
	}
}

/* A whole that happens to be all owned goes back as one. */
static void give_joined(uint64_t *rng)
{
	uint64_t at = random_below(rng, PAGES / FRAME_PARTS) * FRAME_PARTS;

	for (uint64_t i = 0; i < FRAME_PARTS; i++)
		if (at + i == 0 || !owned[at + i])
			return;
	CU_ASSERT_EQUAL(frame_join(frame_slot(at)), 0);
	frame_put(frame_slot(at));
	memset(&owned[at], 0, FRAME_PARTS);
}

static void random_step(uint64_t *rng)
{
	switch (random_below(rng, 5)) {
	case 0:
	case 1:
		take_run(rng);
		break;
	case 2:
		take_block();
		break;
	case 3:
		give_joined(rng);
		break;
	default:
		give_some(rng);
	}
}

static void test_random(void)
{
	uint64_t rng = random_seed(1), left;

	arena_init(ARENA);
	memset(owned, 0, sizeof(owned));
	owned[0] = 1; /* never handed out */
	for (unsigned i = 0; i < 4000; i++) {
		random_step(&rng);
		left = 0;
		for (unsigned pfn = 0; pfn < PAGES; pfn++)
			left += !owned[pfn];
		CU_ASSERT_EQUAL_FATAL(free_bytes(), left * PAGE_SIZE);
		if (i % 16 == 0)
			CU_ASSERT_EQUAL_FATAL(frame_audit(tell), 0);
	}
	for (uint64_t pfn = 1; pfn < PAGES; pfn++)
		if (owned[pfn])
			frame_put(frame_slot(pfn));
	frame_alloc_drain();
	CU_ASSERT_PTR_EQUAL(frame_alloc(11, FRAME_GUEST, 0), frame_slot(PAGES / 2));
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

void suite_alloc_run(void);
void suite_alloc_run(void)
{
	CU_pSuite s = CU_add_suite("runs of frames", NULL, NULL);

	CU_add_test(s, "across blocks", test_across_blocks);
	CU_add_test(s, "around holes", test_around_holes);
	CU_add_test(s, "above the largest order", test_above_largest_order);
	CU_add_test(s, "random", test_random);
}
