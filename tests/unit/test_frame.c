/* SPDX-License-Identifier: MPL-2.0 */
/* Frames: the count word's states, blocks and their tails, regions of RAM. (ostd.md 2.1, M1-M16) */
#include <CUnit/CUnit.h>
#include <string.h>
#include <sys/mman.h>

#include "mm/frame.h"
#include "mm/frame_alloc.h"
#include "tests/host/arena.h"

#define ARENA (UINT64_C(16) << 20)

static uint32_t raw_refs(const struct frame *f)
{
	return atomic_load(&f->refs);
}

static struct frame *take(unsigned order)
{
	struct frame *f = frame_alloc(order, FRAME_GUEST, 0);

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	return f;
}

/* M1: slots and addresses are inverse to each other. */
static void test_addresses(void)
{
	arena_init(ARENA);
	for (uint64_t pfn = 0; pfn < ARENA / PAGE_SIZE; pfn += 97) {
		struct frame *f = frame_at(hpa(pfn * PAGE_SIZE + pfn % PAGE_SIZE));

		CU_ASSERT_PTR_EQUAL(f, frame_slot(pfn));
		CU_ASSERT_EQUAL(frame_pfn(f), pfn);
		CU_ASSERT_EQUAL(frame_hpa(f).hpa, pfn * PAGE_SIZE);
		CU_ASSERT_EQUAL(hva_to_hpa(hpa_to_hva(hpa(pfn))).hpa, pfn);
	}
	CU_ASSERT_PTR_NOT_NULL(frame_at(hpa(ARENA - 1)));
	CU_ASSERT_PTR_NULL(frame_at(hpa(ARENA)));
	CU_ASSERT_PTR_NULL(frame_at(hpa(UINT64_MAX)));
	arena_fini();
}

/* Only what was registered exists; regions that touch become one. */
static void test_regions(void)
{
	arena_init(ARENA);
	frame_alloc_forget();
	frame_forget_regions();
	CU_ASSERT_EQUAL(frame_limit, 0);
	CU_ASSERT_PTR_NULL(frame_at(hpa(0)));
	frame_init_region(hpa(0x1000), 0x3000);
	frame_init_region(hpa(0x4000), 0x1000);
	frame_init_region(hpa(0x9000), 0x2000);
	CU_ASSERT_EQUAL(frame_limit, 0xb);
	for (uint64_t pfn = 0; pfn < 16; pfn++) {
		bool ram = (pfn >= 1 && pfn < 5) || (pfn >= 9 && pfn < 11);

		CU_ASSERT_EQUAL(frame_at(hpa(pfn * PAGE_SIZE + 0xfff)) != NULL, ram);
	}
	arena_fini();
}

static void region_unaligned(void *context)
{
	(void)context;
	frame_init_region(hpa(0x1800), 0x1000);
}

static void region_out_of_order(void *context)
{
	(void)context;
	frame_init_region(hpa(0x2000), 0x1000);
}

static void regions_too_many(void *context)
{
	(void)context;
	frame_forget_regions();
	for (uint64_t i = 0; i <= FRAME_REGIONS; i++)
		frame_init_region(hpa(i * 0x2000), 0x1000);
}

static void test_regions_refused(void)
{
	arena_init(ARENA);
	CU_ASSERT_TRUE(panics(region_unaligned, NULL, "precondition failed"));
	CU_ASSERT_TRUE(panics(region_out_of_order, NULL, "RAM at 0x2000 is out of order"));
	CU_ASSERT_TRUE(panics(regions_too_many, NULL, "one region too many"));
	arena_fini();
}

static void test_count(void)
{
	struct frame *f;

	arena_init(ARENA);
	f = take(0);
	CU_ASSERT_EQUAL(raw_refs(f), FRAME_BUSY + 1);
	CU_ASSERT_EQUAL(frame_refs(f), 1);
	CU_ASSERT_EQUAL(f->kind, FRAME_GUEST);
	CU_ASSERT_EQUAL(frame_size(f), PAGE_SIZE);
	frame_get(f);
	CU_ASSERT_EQUAL(frame_refs(f), 2);
	frame_get_n(f, 510);
	CU_ASSERT_EQUAL(frame_refs(f), 512);
	for (unsigned left = 511; left > 0; left--) {
		frame_put(f);
		CU_ASSERT_EQUAL(frame_refs(f), left);
	}
	frame_put(f);
	CU_ASSERT_EQUAL(raw_refs(f), FRAME_CACHED);
	CU_ASSERT_EQUAL(frame_refs(f), 0);
	arena_fini();
}

static void put(void *f)
{
	frame_put(f);
}

static void get(void *f)
{
	frame_get(f);
}

static void finish(void *f)
{
	frame_finish(f);
}

/* Each misuse of the count stops the machine, and names the frame. */
static void test_count_misuse(void)
{
	struct frame *f;

	arena_init(ARENA);
	f = take(0);
	CU_ASSERT_TRUE(panics(finish, f, "precondition failed"));
	frame_get_n(f, FRAME_REFS_MAX - 1);
	CU_ASSERT_EQUAL(raw_refs(f), FRAME_REFS_MAX + 1);
	CU_ASSERT_TRUE(panics(get, f, "cannot take 1 more"));
	atomic_store(&f->refs, FRAME_BUSY + 1);
	CU_ASSERT_TRUE(frame_drop(f));
	CU_ASSERT_EQUAL(raw_refs(f), FRAME_BUSY);
	CU_ASSERT_TRUE(panics(get, f, "cannot take 1 more"));
	CU_ASSERT_TRUE(panics(put, f, "no reference to give back"));
	frame_finish(f);
	CU_ASSERT_TRUE(panics(put, f, "no reference to give back"));
	CU_ASSERT_TRUE(panics(get, f, "cannot take 1 more"));
	/* The head of a free block is nobody's either. */
	f = frame_slot(1024);
	CU_ASSERT_EQUAL(raw_refs(f) & FRAME_FREE_HEAD, FRAME_FREE_HEAD);
	CU_ASSERT_EQUAL(frame_refs(f), 0);
	CU_ASSERT_TRUE(panics(put, f, "no reference to give back"));
	CU_ASSERT_TRUE(panics(get, f, "cannot take 1 more"));
	arena_fini();
}

static struct {
	unsigned runs;
	uint32_t refs;
	struct frame *frame, *other;
} destroyed;

static void note_destruction(struct frame *f)
{
	destroyed.runs++;
	destroyed.refs = raw_refs(f);
	destroyed.frame = f;
	/* Asterinas #836: not the allocator's before this has ended; nobody gets it meanwhile. */
	destroyed.other = frame_alloc(0, FRAME_KERNEL, 0);
}

/* The kind's destructor runs once, at the last put, before the allocator has the frame. */
static void test_destructor(void)
{
	struct frame *f, *other;

	arena_init(ARENA);
	frame_set_destructor(FRAME_GUEST, note_destruction);
	memset(&destroyed, 0, sizeof(destroyed));
	f = take(0);
	frame_get(f);
	frame_put(f);
	CU_ASSERT_EQUAL(destroyed.runs, 0);
	frame_put(f);
	CU_ASSERT_EQUAL(destroyed.runs, 1);
	CU_ASSERT_EQUAL(destroyed.refs, FRAME_BUSY);
	CU_ASSERT_PTR_EQUAL(destroyed.frame, f);
	CU_ASSERT_PTR_NOT_EQUAL(destroyed.other, f);
	other = frame_alloc(0, FRAME_KERNEL, 0);
	frame_put(other);
	CU_ASSERT_EQUAL(destroyed.runs, 1);
	frame_set_destructor(FRAME_GUEST, NULL);
	frame_put(take(0));
	CU_ASSERT_EQUAL(destroyed.runs, 1);
	arena_fini();
}

/* Asterinas #3683: after the destructor nothing is left that says what the frame was. */
static void test_nothing_left(void)
{
	struct frame *f;

	arena_init(ARENA);
	f = take(0);
	frame_put(f);
	CU_ASSERT_EQUAL(f->kind, FRAME_FREE);
	CU_ASSERT_EQUAL(frame_state(f), FRAME_STATE_FREE);
	f = take(FRAME_ORDER_2M);
	frame_put(f);
	CU_ASSERT_EQUAL(f->kind, FRAME_FREE);
	CU_ASSERT_EQUAL(frame_state(f), FRAME_STATE_FREE);
	CU_ASSERT_EQUAL(frame_state(f + 1), FRAME_STATE_FREE);
	arena_fini();
}

/* A deferred last put takes effect at once, its end after the grace period. */
static void test_deferred(void)
{
	struct frame *f;

	arena_init(ARENA);
	frame_set_destructor(FRAME_GUEST, note_destruction);
	memset(&destroyed, 0, sizeof(destroyed));
	f = take(0);
	frame_get(f);
	epoch_enter();
	frame_put_deferred(f);
	CU_ASSERT_EQUAL(frame_refs(f), 1);
	CU_ASSERT_EQUAL(epoch_pending(), 0);
	frame_put_deferred(f);
	CU_ASSERT_EQUAL(raw_refs(f), FRAME_BUSY);
	for (unsigned i = 0; i < 5; i++)
		epoch_poll();
	CU_ASSERT_EQUAL(destroyed.runs, 0);
	CU_ASSERT_EQUAL(raw_refs(f), FRAME_BUSY);
	epoch_exit();
	epoch_drain();
	CU_ASSERT_EQUAL(destroyed.runs, 1);
	CU_ASSERT_EQUAL(raw_refs(f), FRAME_CACHED);
	frame_set_destructor(FRAME_GUEST, NULL);
	arena_fini();
}

/* A tail finds its head without ever having been written; frames around it find themselves. */
static void test_tails(void)
{
	struct frame *large, *huge, *small;

	arena_init(UINT64_C(4) << 30);
	small = take(0);
	large = take(FRAME_ORDER_2M);
	huge = take(FRAME_ORDER_1G);
	CU_ASSERT_EQUAL(frame_size(large), SIZE_2M);
	CU_ASSERT_EQUAL(frame_size(huge), SIZE_1G);
	CU_ASSERT_PTR_EQUAL(frame_head(small), small);
	for (unsigned i = 0; i < 512; i++)
		CU_ASSERT_PTR_EQUAL(frame_head(large + i), large);
	for (unsigned i = 0; i < 1u << FRAME_ORDER_1G; i += 173)
		CU_ASSERT_PTR_EQUAL(frame_head(huge + i), huge);
	CU_ASSERT_PTR_EQUAL(frame_head(huge + (1u << FRAME_ORDER_1G) - 1), huge);
	CU_ASSERT_PTR_NOT_EQUAL(frame_head(large + 512), large);
	frame_put(large);
	frame_put(huge);
	/* Free again: the tails are nobody's. */
	CU_ASSERT_PTR_EQUAL(frame_head(large + 5), large + 5);
	CU_ASSERT_PTR_EQUAL(frame_head(huge + 5), huge + 5);
	CU_ASSERT_EQUAL(frame_refs(frame_head(huge)), 0);
	arena_fini();
}

/* The slots where there is no RAM are not there: nobody may look at them. */
static void test_head_beside_hole(void)
{
	const uint64_t section = UINT64_C(1) << 28; /* of RAM; its metadata has 2 MiB */
	struct frame *f;

	arena_init(UINT64_C(2) << 30);
	frame_alloc_forget();
	frame_forget_regions();
	memset(frame_slot(0), 0, (UINT64_C(2) << 30) / PAGE_SIZE * sizeof(struct frame));
	CU_ASSERT_EQUAL(mprotect(frame_slot(0), 5 * SIZE_2M, PROT_NONE), 0);
	frame_init_region(hpa(5 * section), 3 * section);
	f = frame_at(hpa(5 * section + 0x123000));
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_PTR_EQUAL(frame_head(f), f);
	arena_fini();
}

static void test_kind_names(void)
{
	for (unsigned a = 0; a < FRAME_KINDS; a++) {
		CU_ASSERT_PTR_NOT_NULL_FATAL(frame_kind_name((enum frame_kind)a));
		for (unsigned b = 0; b < a; b++)
			CU_ASSERT_STRING_NOT_EQUAL(frame_kind_name((enum frame_kind)a),
						   frame_kind_name((enum frame_kind)b));
	}
	CU_ASSERT_STRING_EQUAL(frame_kind_name(FRAME_GUEST), "guest");
	CU_ASSERT_STRING_EQUAL(frame_kind_name(FRAME_KINDS), "?");
}

void suite_frame(void);
void suite_frame(void)
{
	CU_pSuite s = CU_add_suite("frame", NULL, NULL);

	CU_add_test(s, "addresses", test_addresses);
	CU_add_test(s, "regions", test_regions);
	CU_add_test(s, "regions refused", test_regions_refused);
	CU_add_test(s, "count", test_count);
	CU_add_test(s, "count misuse", test_count_misuse);
	CU_add_test(s, "destructor", test_destructor);
	CU_add_test(s, "nothing left", test_nothing_left);
	CU_add_test(s, "deferred", test_deferred);
	CU_add_test(s, "tails", test_tails);
	CU_add_test(s, "head beside a hole", test_head_beside_hole);
	CU_add_test(s, "kind names", test_kind_names);
}
