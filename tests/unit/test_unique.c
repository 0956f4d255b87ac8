/* SPDX-License-Identifier: MPL-2.0 */
/* Unique frames: from and to shared ones, another kind, the word. (ostd.md 1.3, M3, M13, M15) */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "mm/frame_alloc.h"
#include "mm/frame_unique.h"
#include "tests/host/arena.h"

#define ARENA (UINT64_C(16) << 20)

static void tell(const char *text)
{
	fprintf(stderr, "audit: %s\n", text);
}

static uint64_t booked(enum frame_kind kind)
{
	struct frame_account a;

	frame_account(&a);
	return a.by_kind[kind];
}

static struct frame *take_unique(unsigned order)
{
	struct frame *f = frame_alloc_unique(order, FRAME_GUEST, 0);

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_TRUE_FATAL(frame_is_unique(f));
	return f;
}

/* Of every way through the allocator: unique, in no list, booked, zeroed if wanted. */
static void test_alloc(void)
{
	static const unsigned orders[] = { 0, 0, 3, FRAME_ORDER_2M, FRAME_ORDER_2M };
	struct frame *f;

	arena_init(ARENA);
	for (unsigned i = 0; i < 5; i++) {
		f = take_unique(orders[i]);
		CU_ASSERT_EQUAL(f->kind, FRAME_GUEST);
		CU_ASSERT_EQUAL(booked(FRAME_GUEST), frame_size(f));
		CU_ASSERT_EQUAL(atomic_load(&f->link.list), 0);
		*(uint64_t *)hpa_ptr(frame_hpa(f)) = 1;
		frame_unique_drop(f);
		atomic_store(&f->link.list, UINT64_MAX); /* whatever is left there */
		CU_ASSERT_EQUAL(booked(FRAME_GUEST), 0);
	}
	f = frame_alloc_unique(0, FRAME_GUEST, ALLOC_ZERO);
	CU_ASSERT_EQUAL(*(uint64_t *)hpa_ptr(frame_hpa(f)), 0);
	frame_unique_drop(f);
	frame_alloc_fail_after(0);
	CU_ASSERT_PTR_NULL(frame_alloc_unique(0, FRAME_GUEST, 0));
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

static void get(void *f)
{
	frame_get(f);
}

static void put(void *f)
{
	frame_put(f);
}

/* M15: only the count word changes, and only for the one who holds the only reference. */
static void test_convert(void)
{
	struct frame before, after;
	struct frame *f;

	arena_init(ARENA);
	f = frame_alloc(0, FRAME_GUEST, 0);
	frame_get(f);
	CU_ASSERT_EQUAL(frame_to_unique(f), -EBUSY);
	CU_ASSERT_EQUAL(frame_refs(f), 2);
	frame_put(f);
	before = *f;
	CU_ASSERT_EQUAL(frame_to_unique(f), 0);
	CU_ASSERT_TRUE(frame_is_unique(f));
	CU_ASSERT_EQUAL(frame_refs(f), 1);
	CU_ASSERT_TRUE(panics(get, f, "cannot take 1 more"));
	CU_ASSERT_TRUE(panics(put, f, "no reference to give back"));
	frame_from_unique(f);
	CU_ASSERT_FALSE(frame_is_unique(f));
	after = *f;
	CU_ASSERT_EQUAL(memcmp(&before, &after, sizeof(after)), 0);
	frame_put(f);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

static void to_unique(void *f)
{
	frame_to_unique(f);
}

static void from_unique(void *f)
{
	frame_from_unique(f);
}

static void repurpose(void *f)
{
	frame_repurpose(f, FRAME_KERNEL);
}

static void drop(void *f)
{
	frame_unique_drop(f);
}

static void set_word(void *f)
{
	frame_set_word(f, 1);
}

/* What only the one owner may do stops the machine for everybody else. */
static void test_misuse(void)
{
	struct frame *f;

	arena_init(ARENA);
	f = frame_alloc(0, FRAME_GUEST, 0);
	CU_ASSERT_TRUE(panics(from_unique, f, "is not unique"));
	CU_ASSERT_TRUE(panics(repurpose, f, "is not unique"));
	CU_ASSERT_TRUE(panics(drop, f, "is not unique"));
	CU_ASSERT_TRUE(panics(set_word, f, "others may see"));
	frame_put(f);
	CU_ASSERT_TRUE(panics(to_unique, f, "precondition failed"));
	CU_ASSERT_TRUE(panics(drop, f, "is not unique"));
	f = take_unique(0);
	CU_ASSERT_TRUE(panics(to_unique, f, "precondition failed"));
	frame_unique_drop(f);
	CU_ASSERT_TRUE(panics(drop, f, "is not unique")); /* twice */
	arena_fini();
}

static void test_word(void)
{
	struct frame *f;

	arena_init(ARENA);
	f = take_unique(0);
	frame_set_word(f, 0x1234567890abcdef);
	frame_from_unique(f);
	CU_ASSERT_EQUAL(frame_word(f), 0x1234567890abcdef);
	frame_put(f);
	arena_fini();
}

static struct {
	unsigned runs[FRAME_KINDS];
	uint32_t refs;
} ended;

static void note_end(struct frame *f)
{
	ended.runs[f->kind]++;
	ended.refs = atomic_load(&f->refs);
}

static void watch(void)
{
	memset(&ended, 0, sizeof(ended));
	frame_set_destructor(FRAME_GUEST, note_end);
	frame_set_destructor(FRAME_KERNEL, note_end);
}

static void unwatch(void)
{
	frame_set_destructor(FRAME_GUEST, NULL);
	frame_set_destructor(FRAME_KERNEL, NULL);
}

/* The old kind's destructor runs, once and BUSY; the new kind's at the end. The books follow. */
static void test_repurpose(void)
{
	struct frame *f;

	arena_init(ARENA);
	watch();
	f = take_unique(FRAME_ORDER_2M);
	frame_set_word(f, 7);
	*(uint64_t *)hpa_ptr(frame_hpa(f)) = 99;
	frame_repurpose(f, FRAME_KERNEL);
	CU_ASSERT_EQUAL(ended.runs[FRAME_GUEST], 1);
	CU_ASSERT_EQUAL(ended.runs[FRAME_KERNEL], 0);
	CU_ASSERT_EQUAL(ended.refs, FRAME_BUSY);
	CU_ASSERT_TRUE(frame_is_unique(f));
	CU_ASSERT_EQUAL(f->kind, FRAME_KERNEL);
	CU_ASSERT_EQUAL(frame_word(f), 0);
	CU_ASSERT_EQUAL(*(uint64_t *)hpa_ptr(frame_hpa(f)), 99);
	CU_ASSERT_EQUAL(frame_size(f), SIZE_2M);
	CU_ASSERT_EQUAL(booked(FRAME_GUEST), 0);
	CU_ASSERT_EQUAL(booked(FRAME_KERNEL), SIZE_2M);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	frame_unique_drop(f);
	CU_ASSERT_EQUAL(ended.runs[FRAME_GUEST], 1);
	CU_ASSERT_EQUAL(ended.runs[FRAME_KERNEL], 1);
	CU_ASSERT_EQUAL(booked(FRAME_KERNEL), 0);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	unwatch();
	arena_fini();
}

static void drop_in_destructor(struct frame *f)
{
	frame_unique_drop(f);
}

static void put_in_destructor(struct frame *f)
{
	frame_put(f);
}

static void finish_in_destructor(struct frame *f)
{
	frame_set_destructor(FRAME_GUEST, NULL);
	frame_finish(f);
}

/*
 * Asterinas #2441: a destructor that goes wrong while a frame is repurposed must not end the frame
 * a second time. Here it stops the machine before it does.
 */
static void test_repurpose_fails(void)
{
	struct frame *f;

	arena_init(ARENA);
	f = take_unique(0);
	frame_set_destructor(FRAME_GUEST, drop_in_destructor);
	CU_ASSERT_TRUE(panics(repurpose, f, "is not unique"));
	frame_set_destructor(FRAME_GUEST, put_in_destructor);
	CU_ASSERT_TRUE(panics(repurpose, f, "no reference to give back"));
	frame_set_destructor(FRAME_GUEST, finish_in_destructor);
	CU_ASSERT_TRUE(panics(repurpose, f, "its destructor gave it away"));
	frame_set_destructor(FRAME_GUEST, NULL);
	frame_unique_drop(f);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

/* M13: dropped like the last reference: one destructor, then the allocator's. */
static void test_drop(void)
{
	struct frame *f;
	uint64_t free;

	arena_init(ARENA);
	watch();
	free = booked(FRAME_FREE);
	for (unsigned order = 0; order <= FRAME_ORDER_2M; order += FRAME_ORDER_2M) {
		f = take_unique(order);
		frame_unique_drop(f);
		CU_ASSERT_EQUAL(frame_state(f), FRAME_STATE_FREE);
	}
	CU_ASSERT_EQUAL(ended.runs[FRAME_GUEST], 2);
	CU_ASSERT_EQUAL(ended.refs, FRAME_BUSY);
	CU_ASSERT_EQUAL(booked(FRAME_FREE), free);
	unwatch();
	arena_fini();
}

static void test_from_unused(void)
{
	struct frame *f;

	arena_init(ARENA);
	CU_ASSERT_EQUAL_FATAL(frame_unique_from_unused(hpa(0), FRAME_KERNEL, &f), 0);
	CU_ASSERT_TRUE(frame_is_unique(f));
	CU_ASSERT_EQUAL(f->kind, FRAME_KERNEL);
	CU_ASSERT_EQUAL(booked(FRAME_KERNEL), PAGE_SIZE);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	frame_unique_drop(f);
	frame_alloc_drain();
	/* Now that page 0 is the allocator's too, all of it is one block. */
	f = frame_alloc(12, FRAME_GUEST, 0);
	CU_ASSERT_PTR_EQUAL(f, frame_slot(0));
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

/* Back to nobody, a block as a whole, past the allocator; and taken from there again. */
static void test_reset(void)
{
	struct frame_account before, during;
	struct frame *f, *got;

	arena_init(ARENA);
	watch();
	frame_account(&before);
	f = take_unique(FRAME_ORDER_2M);
	frame_reset_unused(f);
	CU_ASSERT_EQUAL(ended.runs[FRAME_GUEST], 1);
	CU_ASSERT_EQUAL(ended.refs, FRAME_BUSY);
	frame_account(&during);
	CU_ASSERT_EQUAL(during.total, before.total - SIZE_2M);
	CU_ASSERT_EQUAL(during.by_kind[FRAME_GUEST], 0);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	for (unsigned i = 0; i < 512; i++)
		CU_ASSERT_EQUAL(frame_from_unused(frame_hpa(f + i), FRAME_GUEST, &got), 0);
	for (unsigned i = 0; i < 512; i++)
		frame_put(f + i);
	frame_alloc_drain();
	frame_account(&during);
	CU_ASSERT_EQUAL(memcmp(&before, &during, sizeof(before)), 0);
	unwatch();
	arena_fini();
}

void suite_unique(void);
void suite_unique(void)
{
	CU_pSuite s = CU_add_suite("unique frames", NULL, NULL);

	CU_add_test(s, "alloc", test_alloc);
	CU_add_test(s, "convert", test_convert);
	CU_add_test(s, "misuse", test_misuse);
	CU_add_test(s, "word", test_word);
	CU_add_test(s, "repurpose", test_repurpose);
	CU_add_test(s, "repurpose fails", test_repurpose_fails);
	CU_add_test(s, "drop", test_drop);
	CU_add_test(s, "from unused", test_from_unused);
	CU_add_test(s, "reset", test_reset);
}
