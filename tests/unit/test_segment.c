/* SPDX-License-Identifier: MPL-2.0 */
/* Segments: all or nothing, split, slice, clone, next, raw, and what empty ones do not do. */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "mm/frame_alloc.h"
#include "mm/frame_block.h"
#include "mm/frame_unique.h"
#include "mm/segment.h"
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

static struct frame_account account_now(void)
{
	struct frame_account a;

	frame_account(&a);
	return a;
}

/* S2: each frame has this many references. */
static void expect_refs(const struct segment *s, uint32_t refs)
{
	for (uint64_t pfn = s->first; pfn < s->end; pfn++)
		CU_ASSERT_EQUAL(frame_refs(frame_slot(pfn)), refs);
}

static struct segment take(uint64_t n)
{
	struct segment s = { 0, 0 };

	CU_ASSERT_EQUAL_FATAL(segment_alloc(n, 1, FRAME_GUEST, 0, &s), 0);
	CU_ASSERT_EQUAL(segment_frames(&s), n);
	return s;
}

static void test_from_unused(void)
{
	struct frame_account before;
	struct segment s;

	half_init();
	before = account_now();
	CU_ASSERT_EQUAL(segment_from_unused(hpa(HALF), hpa(HALF + SIZE_2M), FRAME_KERNEL, &s), 0);
	CU_ASSERT_EQUAL(segment_hpa(&s).hpa, HALF);
	CU_ASSERT_EQUAL(segment_size(&s), SIZE_2M);
	CU_ASSERT_TRUE(segment_is(&s, FRAME_KERNEL));
	CU_ASSERT_FALSE(segment_is(&s, FRAME_GUEST));
	expect_refs(&s, 1);
	CU_ASSERT_EQUAL(account_now().by_kind[FRAME_KERNEL], SIZE_2M);
	CU_ASSERT_EQUAL(account_now().total, before.total + SIZE_2M);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	segment_drop(&s);
	CU_ASSERT_EQUAL(segment_frames(&s), 0);
	frame_alloc_drain();
	CU_ASSERT_EQUAL(account_now().by_kind[FRAME_FREE], before.by_kind[FRAME_FREE] + SIZE_2M);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

static struct frame slots[ARENA / PAGE_SIZE];

static void refused(uint64_t start, uint64_t end, int err)
{
	struct frame_account before = account_now(), after;
	struct segment s = { 77, 99 };

	memcpy((void *)slots, frame_slot(0), sizeof(slots));
	CU_ASSERT_EQUAL(segment_from_unused(hpa(start), hpa(end), FRAME_KERNEL, &s), err);
	CU_ASSERT_EQUAL(memcmp(slots, frame_slot(0), sizeof(slots)), 0);
	after = account_now();
	CU_ASSERT_EQUAL(memcmp(&before, &after, sizeof(after)), 0);
	CU_ASSERT_EQUAL(s.first, 77);
	CU_ASSERT_EQUAL(s.end, 99);
}

/*
 * 4.4, the failure path that gives the allocator frames it never handed out: here a failure changes
 * no slot and no account, wherever in the range the obstacle lies (S6).
 */
static void test_from_unused_refused(void)
{
	struct frame *f;

	half_init();
	refused(HALF + 1, HALF + SIZE_2M, -EINVAL);
	refused(HALF, HALF + SIZE_2M - 8, -EINVAL);
	refused(HALF + PAGE_SIZE, HALF, -EINVAL);
	refused(HALF, ARENA + PAGE_SIZE, -ERANGE);
	refused(ARENA, ARENA + PAGE_SIZE, -ERANGE);
	refused(HALF, UINT64_MAX & ~0xfffull, -ERANGE);
	refused(0, HALF, -EPERM);
	refused(HALF - PAGE_SIZE, HALF + PAGE_SIZE, -EPERM); /* begins in a free block's tail */
	for (uint64_t i = 0; i < 512; i += 511) {
		CU_ASSERT_EQUAL_FATAL(frame_from_unused(hpa(HALF + i * PAGE_SIZE), FRAME_GUEST, &f),
				      0);
		refused(HALF, HALF + SIZE_2M, -EEXIST);
		CU_ASSERT_EQUAL_FATAL(frame_to_unique(f), 0);
		refused(HALF, HALF + SIZE_2M, -EACCES);
		frame_unique_drop(f);
		refused(HALF, HALF + SIZE_2M, -EPERM); /* it is in a stack now */
		frame_alloc_forget();
		memset(frame_slot(0), 0, ARENA / PAGE_SIZE * sizeof(struct frame));
		frame_alloc_add(hpa(PAGE_SIZE), HALF - PAGE_SIZE);
	}
	arena_fini();
}

/* A block that begins before the range reaches into it. */
static void test_from_unused_inside_block(void)
{
	struct frame *f;

	half_init();
	for (uint64_t i = 0; i < 512; i++)
		CU_ASSERT_EQUAL_FATAL(frame_from_unused(hpa(HALF + i * PAGE_SIZE), FRAME_GUEST, &f),
				      0);
	CU_ASSERT_EQUAL_FATAL(frame_join(frame_at(hpa(HALF))), 0);
	refused(HALF + SIZE_2M / 2, HALF + SIZE_2M / 2 + PAGE_SIZE, -EEXIST);
	refused(HALF + SIZE_2M - PAGE_SIZE, HALF + SIZE_2M + PAGE_SIZE, -EEXIST);
	frame_put(frame_at(hpa(HALF)));
	arena_fini();
}

static void test_alloc(void)
{
	struct frame_account before, after;
	struct segment s;

	arena_init(ARENA);
	before = account_now();
	for (uint64_t n = 1; n < 1030; n = n * 3 / 2 + 1) {
		for (uint64_t align = 1; align <= 1024; align *= 4) {
			CU_ASSERT_EQUAL_FATAL(segment_alloc(n, align, FRAME_GUEST, 0, &s), 0);
			CU_ASSERT_EQUAL(segment_frames(&s), n);
			CU_ASSERT_EQUAL(s.first % align, 0);
			expect_refs(&s, 1);
			CU_ASSERT_EQUAL(account_now().by_kind[FRAME_GUEST], n * PAGE_SIZE);
			CU_ASSERT_EQUAL(account_now().by_kind[FRAME_FREE],
					before.by_kind[FRAME_FREE] - n * PAGE_SIZE);
			CU_ASSERT_EQUAL(frame_audit(tell), 0);
			segment_drop(&s);
		}
	}
	frame_alloc_drain();
	after = account_now();
	CU_ASSERT_EQUAL(memcmp(&before, &after, sizeof(after)), 0);
	arena_fini();
}

static void test_alloc_refused(void)
{
	struct segment s = { 77, 99 };

	arena_init(ARENA);
	CU_ASSERT_EQUAL(segment_alloc(0, 1, FRAME_GUEST, 0, &s), -EINVAL);
	CU_ASSERT_EQUAL(segment_alloc(1, 0, FRAME_GUEST, 0, &s), -EINVAL);
	CU_ASSERT_EQUAL(segment_alloc(1, 3, FRAME_GUEST, 0, &s), -EINVAL);
	CU_ASSERT_EQUAL(segment_alloc(ARENA / PAGE_SIZE, 1, FRAME_GUEST, 0, &s), -ENOMEM);
	CU_ASSERT_EQUAL(segment_alloc(1, ARENA / PAGE_SIZE, FRAME_GUEST, 0, &s), -ENOMEM);
	CU_ASSERT_EQUAL(segment_alloc(UINT64_MAX, 1, FRAME_GUEST, 0, &s), -ENOMEM);
	CU_ASSERT_EQUAL(segment_alloc(1, UINT64_C(1) << 63, FRAME_GUEST, 0, &s), -ENOMEM);
	frame_alloc_fail_after(0);
	CU_ASSERT_EQUAL(segment_alloc(1, 1, FRAME_GUEST, 0, &s), -ENOMEM);
	CU_ASSERT_EQUAL(s.first, 77);
	CU_ASSERT_EQUAL(s.end, 99);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

static void test_zeroed(void)
{
	struct segment s;
	uint64_t *words;

	arena_init(ARENA);
	s = take(700);
	memset(segment_bytes(&s), 0x5a, segment_size(&s));
	segment_drop(&s);
	CU_ASSERT_EQUAL_FATAL(segment_alloc(700, 1, FRAME_GUEST, ALLOC_ZERO, &s), 0);
	words = segment_bytes(&s);
	for (uint64_t i = 0; i < segment_size(&s) / 8; i++)
		CU_ASSERT_EQUAL_FATAL(words[i], 0);
	segment_drop(&s);
	arena_fini();
}

/* S3: two ranges that make up the original; no count changes. */
static void test_split(void)
{
	struct segment s, rest;

	arena_init(ARENA);
	s = take(10);
	rest = segment_split(&s, 3);
	CU_ASSERT_EQUAL(segment_frames(&s), 3);
	CU_ASSERT_EQUAL(segment_frames(&rest), 7);
	CU_ASSERT_EQUAL(s.end, rest.first);
	expect_refs(&s, 1);
	expect_refs(&rest, 1);
	segment_drop(&s);
	expect_refs(&rest, 1);
	s = segment_split(&rest, 0); /* at either end one is empty */
	CU_ASSERT_EQUAL(segment_frames(&rest), 0);
	CU_ASSERT_EQUAL(segment_frames(&s), 7);
	rest = segment_split(&s, 7);
	CU_ASSERT_EQUAL(segment_frames(&rest), 0);
	segment_drop(&rest);
	segment_drop(&s);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

/* S4: one reference more to exactly what is covered; each lives as long as its last holder. */
static void test_slice_clone(void)
{
	struct segment s, part, all, none;

	arena_init(ARENA);
	s = take(10);
	part = segment_slice(&s, 2, 5);
	for (unsigned i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(frame_refs(frame_slot(s.first + i)), i >= 2 && i < 5 ? 2 : 1);
	all = segment_clone(&part);
	expect_refs(&part, 3);
	none = segment_slice(&s, 4, 4);
	CU_ASSERT_EQUAL(segment_frames(&none), 0);
	segment_drop(&none);
	expect_refs(&part, 3);
	segment_drop(&s);
	expect_refs(&part, 2);
	CU_ASSERT_EQUAL(account_now().by_kind[FRAME_GUEST], 3 * PAGE_SIZE);
	segment_drop(&part);
	expect_refs(&all, 1);
	segment_drop(&all);
	CU_ASSERT_EQUAL(account_now().by_kind[FRAME_GUEST], 0);
	arena_fini();
}

static void split_beyond(void *s)
{
	segment_split(s, 11);
}

static void slice_beyond(void *s)
{
	segment_slice(s, 5, 11);
}

static void slice_backwards(void *s)
{
	segment_slice(s, 5, 4);
}

static void test_bounds(void)
{
	struct segment s;

	arena_init(ARENA);
	s = take(10);
	CU_ASSERT_TRUE(panics(split_beyond, &s, "offset 11 of 10 frames"));
	CU_ASSERT_TRUE(panics(slice_beyond, &s, "offsets 5 to 11 of 10 frames"));
	CU_ASSERT_TRUE(panics(slice_backwards, &s, "offsets 5 to 4 of 10 frames"));
	segment_drop(&s);
	arena_fini();
}

/* S5: ascending, each with its reference, and an empty segment in the end. */
static void test_next(void)
{
	struct segment s;
	struct frame *f;
	uint64_t first;

	arena_init(ARENA);
	s = take(5);
	first = s.first;
	for (unsigned i = 0; i < 5; i++) {
		f = segment_next(&s);
		CU_ASSERT_PTR_EQUAL_FATAL(f, frame_slot(first + i));
		CU_ASSERT_EQUAL(frame_refs(f), 1);
		CU_ASSERT_EQUAL(segment_frames(&s), 4 - i);
		frame_put(f);
	}
	CU_ASSERT_PTR_NULL(segment_next(&s));
	CU_ASSERT_PTR_NULL(segment_next(&s));
	s = segment_from_frame(frame_alloc(0, FRAME_GUEST, 0));
	CU_ASSERT_EQUAL(segment_frames(&s), 1);
	expect_refs(&s, 1);
	segment_drop(&s);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

static void from_frame(void *f)
{
	segment_from_frame(f);
}

static void from_raw(void *range)
{
	const hpa_t *r = range;

	segment_from_raw(r[0], r[1]);
}

static void test_raw(void)
{
	struct segment s;
	struct frame *block;
	hpa_t r[2];

	arena_init(ARENA);
	s = take(6);
	segment_into_raw(&s, &r[0], &r[1]);
	CU_ASSERT_EQUAL(segment_frames(&s), 0);
	CU_ASSERT_EQUAL(r[1].hpa - r[0].hpa, 6 * PAGE_SIZE);
	s = segment_from_raw(r[0], r[1]);
	CU_ASSERT_EQUAL(segment_hpa(&s).hpa, r[0].hpa);
	expect_refs(&s, 1);
	segment_drop(&s);
	CU_ASSERT_TRUE(panics(from_raw, r, "precondition failed"));
	r[1] = r[0];
	s = segment_from_raw(r[0], r[1]);
	CU_ASSERT_EQUAL(segment_frames(&s), 0);
	block = frame_alloc(FRAME_ORDER_2M, FRAME_GUEST, 0);
	CU_ASSERT_TRUE(panics(from_frame, block, "precondition failed"));
	r[0] = frame_hpa(block);
	r[1] = hpa_add(r[0], SIZE_2M);
	CU_ASSERT_TRUE(panics(from_raw, r, "precondition failed"));
	frame_put(block);
	arena_fini();
}

/*
 * Asterinas #3920: an empty segment owns nothing, so the frame at its place may be in somebody
 * else's hands at this very moment. Here the slots cannot even be read.
 */
static void test_empty_touches_nothing(void)
{
	struct segment s, t;
	hpa_t start, end;

	arena_init(ARENA);
	s = take(1);
	t = segment_slice(&s, 0, 0);
	segment_drop(&s);
	CU_ASSERT_EQUAL(
		mprotect(frame_slot(0), ARENA / PAGE_SIZE * sizeof(struct frame), PROT_NONE), 0);
	CU_ASSERT_TRUE(segment_is(&t, FRAME_KERNEL));
	CU_ASSERT_TRUE(segment_is(&t, FRAME_GUEST));
	CU_ASSERT_PTR_NULL(segment_bytes(&t));
	CU_ASSERT_PTR_NULL(segment_next(&t));
	s = segment_clone(&t);
	s = segment_split(&t, 0);
	segment_into_raw(&s, &start, &end);
	s = segment_from_raw(start, end);
	segment_drop(&s);
	segment_drop(&t);
	CU_ASSERT_EQUAL(segment_from_unused(start, start, FRAME_KERNEL, &s), 0);
	CU_ASSERT_EQUAL(segment_frames(&s), 0);
	arena_fini();
}

static void bytes_of(void *s)
{
	segment_bytes(s);
}

static void test_bytes(void)
{
	struct segment s;

	arena_init(ARENA);
	CU_ASSERT_EQUAL_FATAL(segment_alloc(3, 1, FRAME_KERNEL, 0, &s), 0);
	CU_ASSERT_TRUE(panics(bytes_of, &s, "the bytes of a kernel frame"));
	segment_drop(&s);
	arena_fini();
}

/*
 * Asterinas #2063: what was asked for in frames comes back in frames, all of it, also when the
 * number is no power of two and the pieces come back in another order and by other CPUs.
 */
static void test_other_portions(void)
{
	struct frame_account before, after;
	struct segment s;

	arena_init(ARENA);
	before = account_now();
	for (uint64_t n = 1; n <= 1500; n += 499) {
		s = take(n);
		for (uint64_t i = 0; i < n; i++) {
			host_cpu = i % 3;
			frame_put(frame_slot(s.first + i * 1009 % n));
		}
		CU_ASSERT_EQUAL(account_now().by_kind[FRAME_GUEST], 0);
	}
	for (host_cpu = 2; host_cpu > 0; host_cpu--)
		frame_alloc_drain();
	frame_alloc_drain();
	after = account_now();
	CU_ASSERT_EQUAL(memcmp(&before, &after, sizeof(after)), 0);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

void suite_segment(void);
void suite_segment(void)
{
	CU_pSuite s = CU_add_suite("segments", NULL, NULL);

	CU_add_test(s, "from unused", test_from_unused);
	CU_add_test(s, "from unused, refused", test_from_unused_refused);
	CU_add_test(s, "from inside a block", test_from_unused_inside_block);
	CU_add_test(s, "alloc", test_alloc);
	CU_add_test(s, "alloc, refused", test_alloc_refused);
	CU_add_test(s, "zeroed", test_zeroed);
	CU_add_test(s, "split", test_split);
	CU_add_test(s, "slice and clone", test_slice_clone);
	CU_add_test(s, "bounds", test_bounds);
	CU_add_test(s, "next", test_next);
	CU_add_test(s, "raw", test_raw);
	CU_add_test(s, "empty touches nothing", test_empty_touches_nothing);
	CU_add_test(s, "untyped bytes", test_bytes);
	CU_add_test(s, "other portions", test_other_portions);
}
