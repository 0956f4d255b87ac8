/* SPDX-License-Identifier: MPL-2.0 */
/* What becomes of memory that is given back: twice, in the long run, zeroed, by 2 MiB. */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "mm/frame_alloc.h"
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

/* Blocks of 2 MiB given back come first again, unjoined; more than a few, and larger ones, join. */
static void test_recent_blocks(void)
{
	struct frame *f[16], *g;

	arena_init(UINT64_C(64) << 20);
	for (unsigned i = 0; i < 16; i++)
		f[i] = frame_alloc(FRAME_ORDER_2M, FRAME_GUEST, 0);
	for (unsigned i = 0; i < 16; i++)
		frame_put(f[i]);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	for (unsigned i = 8; i-- > 0;) {
		g = frame_alloc(FRAME_ORDER_2M, FRAME_KERNEL, 0);
		CU_ASSERT_PTR_EQUAL(g, f[i]);
		CU_ASSERT_EQUAL(frame_size(g), SIZE_2M);
	}
	for (unsigned i = 0; i < 8; i++)
		frame_put(f[i]);
	g = frame_alloc(13, FRAME_GUEST, 0); /* 32 MiB: there is none until they are joined */
	CU_ASSERT_PTR_NOT_NULL_FATAL(g);
	frame_put(g);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

static void put(void *f)
{
	frame_put(f);
}

static void put_uncached(void *f)
{
	frame_alloc_drain();
	frame_put(f);
}

/* A frame, or a block, given back twice stops the machine, wherever it is by then. */
static void test_double_free(void)
{
	struct frame *f;

	arena_init(ARENA);
	f = frame_alloc(0, FRAME_GUEST, 0);
	frame_put(f);
	CU_ASSERT_TRUE(panics(put, f, "no reference to give back"));
	CU_ASSERT_TRUE(panics(put_uncached, f, "no reference to give back"));
	f = frame_alloc(FRAME_ORDER_2M, FRAME_GUEST, 0);
	frame_put(f);
	CU_ASSERT_TRUE(panics(put, f, "no reference to give back"));
	CU_ASSERT_TRUE(panics(put, f + 1, "no reference to give back"));
	CU_ASSERT_TRUE(panics(put_uncached, f, "no reference to give back"));
	arena_fini();
}

/* Asterinas #1012, #785: over a long run of every kind of use nothing trickles away. */
static void test_long_run(void)
{
	struct frame_account before, after;
	struct frame *f;

	arena_init(4 * ARENA);
	before = account_now();
	for (unsigned i = 0; i < 20000; i++) {
		f = frame_alloc(i % 11, (enum frame_kind)(1 + i % (FRAME_KINDS - 1)),
				i % 64 ? 0 : ALLOC_ZERO);
		CU_ASSERT_PTR_NOT_NULL_FATAL(f);
		frame_get(f);
		frame_put(f);
		if (i % 3)
			frame_put(f);
		else
			frame_put_deferred(f);
		if (i % 50 == 0)
			frame_alloc_prezero(3);
		if (i % 16 == 0)
			epoch_drain();
	}
	epoch_drain();
	frame_alloc_drain();
	after = account_now();
	CU_ASSERT_EQUAL(memcmp(&before, &after, sizeof(after)), 0);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

/* A frame that is known to be zero when it ends needs no zeroing when it is wanted next. */
static void test_finish_zeroed(void)
{
	struct frame *f;

	arena_init(ARENA);
	for (unsigned i = 0; i < 100; i++) {
		f = frame_alloc(0, FRAME_STAGE2_TABLE, ALLOC_ZERO);
		CU_ASSERT_TRUE(frame_drop(f));
		frame_finish_zeroed(f);
		CU_ASSERT_EQUAL(account_now().zeroed, PAGE_SIZE);
		CU_ASSERT_EQUAL(frame_audit(tell), 0);
	}
	CU_ASSERT_PTR_EQUAL(frame_alloc(0, FRAME_GUEST, ALLOC_ZERO), f);
	arena_fini();
}

static void finish_dirty(void *f)
{
	frame_drop(f);
	frame_finish_zeroed(f);
}

static void test_finish_not_zeroed(void)
{
	struct frame *f;

	arena_init(ARENA);
	f = frame_alloc(0, FRAME_STAGE2_TABLE, ALLOC_ZERO);
	((uint8_t *)hpa_ptr(frame_hpa(f)))[4095] = 1;
	CU_ASSERT_TRUE(panics(finish_dirty, f, "precondition failed"));
	frame_put(f);
	arena_fini();
}

void suite_alloc_ends(void);
void suite_alloc_ends(void)
{
	CU_pSuite s = CU_add_suite("memory given back", NULL, NULL);

	CU_add_test(s, "recent blocks", test_recent_blocks);
	CU_add_test(s, "double free", test_double_free);
	CU_add_test(s, "long run", test_long_run);
	CU_add_test(s, "finish zeroed", test_finish_zeroed);
	CU_add_test(s, "finish not zeroed", test_finish_not_zeroed);
}
