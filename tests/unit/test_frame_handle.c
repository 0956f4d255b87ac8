/* SPDX-License-Identifier: MPL-2.0 */
/* Frames by their address: states, from_unused, from_in_use, raw references. (ostd.md M8, M11-M14)
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "mm/frame.h"
#include "mm/frame_alloc.h"
#include "mm/frame_unique.h"
#include "tests/host/arena.h"

#define ARENA (UINT64_C(16) << 20)
#define HALF  (ARENA / 2) /* from here on no memory is the allocator's */

static void tell(const char *text)
{
	fprintf(stderr, "audit: %s\n", text);
}

static void half_init(void)
{
	arena_init(ARENA);
	frame_alloc_forget();
	memset(frame_slot(0), 0, ARENA / PAGE_SIZE * sizeof(struct frame));
	frame_alloc_add(hpa(PAGE_SIZE), HALF - PAGE_SIZE);
}

static uint64_t booked(enum frame_kind kind)
{
	struct frame_account a;

	frame_account(&a);
	return a.by_kind[kind];
}

static uint64_t total(void)
{
	struct frame_account a;

	frame_account(&a);
	return a.total;
}

static bool same_slots(const struct frame *copy)
{
	return memcmp(copy, frame_slot(0), ARENA / PAGE_SIZE * sizeof(struct frame)) == 0;
}

static struct frame slots[ARENA / PAGE_SIZE];

static void note_slots(void)
{
	memcpy((void *)slots, frame_slot(0), sizeof(slots));
}

/* M11: one slot changes, the books follow; its last put gives it to the allocator. */
static void test_from_unused(void)
{
	struct frame *f = NULL;
	uint64_t before;

	half_init();
	before = total();
	note_slots();
	CU_ASSERT_EQUAL(frame_from_unused(hpa(HALF + 0x5000), FRAME_KERNEL, &f), 0);
	CU_ASSERT_PTR_EQUAL_FATAL(f, frame_at(hpa(HALF + 0x5000)));
	CU_ASSERT_EQUAL(frame_refs(f), 1);
	CU_ASSERT_EQUAL(f->kind, FRAME_KERNEL);
	CU_ASSERT_EQUAL(frame_size(f), PAGE_SIZE);
	CU_ASSERT_EQUAL(frame_word(f), 0);
	CU_ASSERT_EQUAL(booked(FRAME_KERNEL), PAGE_SIZE);
	CU_ASSERT_EQUAL(total(), before + PAGE_SIZE);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	slots[frame_pfn(f)] = *f;
	CU_ASSERT_TRUE(same_slots(slots));
	frame_put(f);
	CU_ASSERT_EQUAL(booked(FRAME_KERNEL), 0);
	CU_ASSERT_EQUAL(booked(FRAME_FREE), before + PAGE_SIZE);
	CU_ASSERT_EQUAL(frame_state(f), FRAME_STATE_FREE);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

static void expect(hpa_t at, int unused, int in_use)
{
	struct frame *f = NULL;

	note_slots();
	CU_ASSERT_EQUAL(frame_from_unused(at, FRAME_KERNEL, &f), unused);
	CU_ASSERT_EQUAL(frame_unique_from_unused(at, FRAME_KERNEL, &f), unused);
	CU_ASSERT_EQUAL(frame_from_in_use(at, &f), in_use);
	CU_ASSERT_PTR_NULL(f);
	CU_ASSERT_TRUE(same_slots(slots));
}

/* The address is looked at before the slot: alignment first, then the range. */
static void test_addresses_refused(void)
{
	half_init();
	expect(hpa(HALF + 1), -EINVAL, -EINVAL);
	expect(hpa(HALF + 0x800), -EINVAL, -EINVAL);
	expect(hpa(ARENA + 1), -EINVAL, -EINVAL);
	expect(hpa(ARENA), -ERANGE, -ERANGE);
	expect(hpa(UINT64_MAX - 0xfff), -ERANGE, -ERANGE);
	arena_fini();
}

/* Each state has its error, for the head and for the tails; nothing changes. */
static void test_states_refused(void)
{
	struct frame *f, *block;

	half_init();
	CU_ASSERT_EQUAL(frame_state(frame_at(hpa(HALF))), FRAME_STATE_UNUSED);
	CU_ASSERT_EQUAL(frame_state(frame_slot(0)), FRAME_STATE_UNUSED);
	f = frame_alloc(0, FRAME_GUEST, 0);
	CU_ASSERT_EQUAL(frame_state(f), FRAME_STATE_SHARED);
	atomic_store(&f->refs, FRAME_BUSY);
	CU_ASSERT_EQUAL(frame_state(f), FRAME_STATE_BUSY);
	expect(frame_hpa(f), -EBUSY, -EBUSY);
	atomic_store(&f->refs, FRAME_BUSY + 1);
	CU_ASSERT_EQUAL_FATAL(frame_to_unique(f), 0);
	CU_ASSERT_EQUAL(frame_state(f), FRAME_STATE_UNIQUE);
	expect(frame_hpa(f), -EACCES, -EACCES);
	frame_unique_drop(f);
	CU_ASSERT_EQUAL(frame_state(f), FRAME_STATE_FREE); /* in this CPU's stack */
	expect(frame_hpa(f), -EPERM, -EPERM);
	for (unsigned order = 1; order <= 10; order++) {
		block = frame_alloc(order, FRAME_KERNEL, 0);
		CU_ASSERT_PTR_NOT_NULL_FATAL(block);
		CU_ASSERT_EQUAL_FATAL(frame_to_unique(block), 0);
		for (unsigned i = 1; i < 1u << order; i = 2 * i + 1) {
			CU_ASSERT_EQUAL(frame_state(block + i), FRAME_STATE_TAIL);
			expect(frame_hpa(block + i), -EEXIST, -EACCES);
		}
		frame_unique_drop(block);
		/* Heads and tails of free blocks: of one that was just given back, and joined. */
		for (unsigned i = 0; i < 1u << order; i = 2 * i + 1) {
			CU_ASSERT_EQUAL(frame_state(block + i), FRAME_STATE_FREE);
			expect(frame_hpa(block + i), -EPERM, -EPERM);
		}
	}
	expect(hpa(HALF - PAGE_SIZE), -EPERM, -EPERM); /* the last frame of a large free block */
	arena_fini();
}

/* A frame that is not in use has no reference to share: -ENOENT. */
static void test_unused_not_in_use(void)
{
	struct frame *f = NULL;

	half_init();
	CU_ASSERT_EQUAL(frame_from_in_use(hpa(HALF), &f), -ENOENT);
	CU_ASSERT_EQUAL(frame_from_in_use(hpa(0), &f), -ENOENT);
	CU_ASSERT_PTR_NULL(f);
	arena_fini();
}

/* M12: one reference more; through a tail, to the block. */
static void test_from_in_use(void)
{
	struct frame *f, *got, *again;

	half_init();
	f = frame_alloc(0, FRAME_GUEST, 0);
	CU_ASSERT_EQUAL(frame_from_in_use(frame_hpa(f), &got), 0);
	CU_ASSERT_PTR_EQUAL(got, f);
	CU_ASSERT_EQUAL(frame_refs(f), 2);
	CU_ASSERT_EQUAL(frame_from_unused(frame_hpa(f), FRAME_GUEST, &again), -EEXIST);
	frame_put(f);
	CU_ASSERT_EQUAL(frame_refs(f), 1);
	frame_put(got);
	f = frame_alloc(FRAME_ORDER_2M, FRAME_GUEST, 0);
	CU_ASSERT_EQUAL(frame_from_in_use(hpa_add(frame_hpa(f), 0x1ff000), &got), 0);
	CU_ASSERT_PTR_EQUAL(got, f);
	CU_ASSERT_EQUAL(frame_refs(f), 2);
	frame_put(f);
	frame_put(f);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

static void in_use_once_more(void *f)
{
	struct frame *got;

	frame_from_in_use(frame_hpa(f), &got);
}

static void get_many(void *f)
{
	frame_get_n(f, FRAME_REFS_MAX);
}

/*
 * 4.4, a storm of clones: a 32-bit count is within reach, so the machine stops while the count is
 * still far from any other state, however it is raised. (M14)
 */
static void test_count_overflow(void)
{
	struct frame *f;

	half_init();
	f = frame_alloc(0, FRAME_GUEST, 0);
	CU_ASSERT_TRUE(panics(get_many, f, "cannot take 1073741823 more"));
	frame_get_n(f, FRAME_REFS_MAX - 1);
	CU_ASSERT_EQUAL(frame_refs(f), FRAME_REFS_MAX);
	CU_ASSERT_TRUE(panics(in_use_once_more, f, "cannot take 1 more"));
	CU_ASSERT_TRUE(panics(get_many, f, "cannot take 1073741823 more"));
	frame_put(f);
	in_use_once_more(f);
	CU_ASSERT_EQUAL(frame_refs(f), FRAME_REFS_MAX);
	CU_ASSERT(FRAME_UNIQUE - FRAME_REFS_MAX > UINT32_C(1) << 28);
	arena_fini();
}

static void from_raw(void *at)
{
	frame_from_raw(*(hpa_t *)at);
}

static void unique_from_raw(void *at)
{
	frame_unique_from_raw(*(hpa_t *)at);
}

/* M8: an address owns what it was made of; one that owns nothing is not taken for a reference. */
static void test_raw(void)
{
	struct frame *f;
	hpa_t at, bad;

	half_init();
	f = frame_alloc(0, FRAME_GUEST, 0);
	frame_get(f);
	at = frame_into_raw(f);
	CU_ASSERT_EQUAL(frame_refs(f), 2);
	frame_put(f);
	CU_ASSERT_EQUAL(frame_refs(f), 1);
	CU_ASSERT_PTR_EQUAL(frame_from_raw(at), f);
	CU_ASSERT_EQUAL(frame_refs(f), 1);
	CU_ASSERT_TRUE(panics(unique_from_raw, &at, "precondition failed"));
	CU_ASSERT_EQUAL(frame_to_unique(f), 0);
	CU_ASSERT_TRUE(panics(from_raw, &at, "precondition failed"));
	CU_ASSERT_EQUAL(frame_unique_into_raw(f).hpa, at.hpa);
	CU_ASSERT_PTR_EQUAL(frame_unique_from_raw(at), f);
	frame_unique_drop(f);
	CU_ASSERT_TRUE(panics(from_raw, &at, "precondition failed"));
	CU_ASSERT_TRUE(panics(unique_from_raw, &at, "precondition failed"));
	bad = hpa(ARENA);
	CU_ASSERT_TRUE(panics(from_raw, &bad, "precondition failed"));
	CU_ASSERT_TRUE(panics(unique_from_raw, &bad, "precondition failed"));
	arena_fini();
}

static void bytes_of(void *f)
{
	frame_bytes(f);
}

static void own_bytes_of(void *f)
{
	frame_own_bytes(f);
}

/* The bytes of untyped frames only, of all of a block; and for their owners those of our own. */
static void test_bytes(void)
{
	struct frame *f;

	half_init();
	for (unsigned kind = FRAME_FREE + 1; kind < FRAME_KINDS; kind++) {
		f = frame_alloc(0, (enum frame_kind)kind, 0);
		CU_ASSERT_EQUAL(frame_kind_untyped((enum frame_kind)kind), kind == FRAME_GUEST);
		if (kind == FRAME_GUEST) {
			CU_ASSERT_PTR_EQUAL(frame_bytes(f), hpa_ptr(frame_hpa(f)));
		} else {
			CU_ASSERT_TRUE(panics(bytes_of, f, "the bytes of a"));
		}
		if (kind == FRAME_KERNEL)
			CU_ASSERT_PTR_EQUAL(frame_own_bytes(f), hpa_ptr(frame_hpa(f)))
		else
			CU_ASSERT_TRUE(panics(own_bytes_of, f, "the bytes of a"));
		frame_put(f);
	}
	f = frame_alloc(3, FRAME_GUEST, 0);
	memset(frame_bytes(f), 1, frame_size(f));
	frame_put(f);
	arena_fini();
}

void suite_frame_handle(void);
void suite_frame_handle(void)
{
	CU_pSuite s = CU_add_suite("frame by address", NULL, NULL);

	CU_add_test(s, "from unused", test_from_unused);
	CU_add_test(s, "addresses refused", test_addresses_refused);
	CU_add_test(s, "states refused", test_states_refused);
	CU_add_test(s, "unused is not in use", test_unused_not_in_use);
	CU_add_test(s, "from in use", test_from_in_use);
	CU_add_test(s, "count overflow", test_count_overflow);
	CU_add_test(s, "raw references", test_raw);
	CU_add_test(s, "untyped bytes", test_bytes);
}
