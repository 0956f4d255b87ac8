/* SPDX-License-Identifier: MPL-2.0 */
/* The frame allocator: shapes, accounts, zeroed memory, holes, and random use against a model. */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "mm/frame_alloc.h"
#include "tests/host/arena.h"
#include "tests/host/random.h"

#define ARENA (UINT64_C(16) << 20)

static unsigned complaints;

static void complain(const char *text)
{
	(void)text;
	complaints++;
}

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

static bool all_zero(const struct frame *f)
{
	const uint64_t *p = hpa_ptr(frame_hpa(f));

	for (uint64_t i = 0; i < frame_size(f) / sizeof(*p); i++)
		if (p[i] != 0)
			return false;
	return true;
}

/* Every order: aligned, counted, booked; and all as before when it is given back. */
static void test_orders(void)
{
	struct frame_account before, during, after;

	arena_init(UINT64_C(4) << 30);
	before = account_now();
	CU_ASSERT_EQUAL(before.largest_free, SIZE_1G);
	for (unsigned order = 0; order < FRAME_ORDERS; order++) {
		uint64_t size = PAGE_SIZE << order;
		struct frame *f = frame_alloc(order, FRAME_KERNEL, 0);

		CU_ASSERT_PTR_NOT_NULL_FATAL(f);
		CU_ASSERT_TRUE(hpa_aligned(frame_hpa(f), size));
		CU_ASSERT_EQUAL(f->order, order);
		CU_ASSERT_EQUAL(frame_refs(f), 1);
		during = account_now();
		CU_ASSERT_EQUAL(during.by_kind[FRAME_KERNEL], size);
		CU_ASSERT_EQUAL(during.by_kind[FRAME_FREE], before.by_kind[FRAME_FREE] - size);
		CU_ASSERT_EQUAL(frame_audit(tell), 0);
		frame_put(f);
		frame_alloc_drain();
		after = account_now();
		CU_ASSERT_EQUAL(memcmp(&before, &after, sizeof(after)), 0);
	}
	arena_fini();
}

/* All of it, page by page, once each; then none, and nothing has changed; then all again. */
static void test_exhaustion(void)
{
	const uint64_t pages = ARENA / PAGE_SIZE - 1;
	static struct frame *taken[ARENA / PAGE_SIZE];
	struct frame_account a;
	uint64_t n = 0;

	arena_init(ARENA);
	while (n <= pages && (taken[n] = frame_alloc(0, FRAME_GUEST, 0)) != NULL)
		n++;
	CU_ASSERT_EQUAL(n, pages);
	a = account_now();
	CU_ASSERT_EQUAL(a.by_kind[FRAME_FREE], 0);
	CU_ASSERT_EQUAL(a.by_kind[FRAME_GUEST], a.total);
	CU_ASSERT_EQUAL(a.largest_free, 0);
	for (unsigned order = 0; order < FRAME_ORDERS; order++)
		CU_ASSERT_PTR_NULL(frame_alloc(order, FRAME_GUEST, ALLOC_ZERO));
	CU_ASSERT_EQUAL(frame_alloc_prezero(4), 0);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	for (uint64_t i = 0; i < n; i++) {
		struct frame *f = taken[i * 1009 % pages]; /* 1009 is prime to the number */

		CU_ASSERT_EQUAL(frame_refs(f), 1);
		frame_put(f);
	}
	frame_alloc_drain();
	CU_ASSERT_EQUAL(account_now().largest_free, ARENA / 2);
	CU_ASSERT_EQUAL(account_now().by_kind[FRAME_FREE], pages * PAGE_SIZE);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

/* What keeps a block from forming is in this CPU's own stack: it is found there. */
static void test_block_behind_stack(void)
{
	struct frame *f;

	arena_init(SIZE_2M * 2);
	f = frame_alloc(0, FRAME_GUEST, 0); /* fills the stack from the second half, or the first */
	frame_put(f);
	f = frame_alloc(FRAME_ORDER_2M, FRAME_GUEST, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_PTR_NULL(frame_alloc(FRAME_ORDER_2M, FRAME_GUEST, 0)); /* page 0 is not ours */
	frame_put(f);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

static void test_zeroed(void)
{
	static const unsigned orders[] = { 0, 1, 3, FRAME_ORDER_2M };

	arena_init(ARENA);
	for (unsigned i = 0; i < 4; i++) {
		struct frame *f = frame_alloc(orders[i], FRAME_GUEST, 0);
		hpa_t at = frame_hpa(f);

		memset(hpa_ptr(at), 0xa5, frame_size(f));
		frame_put(f);
		f = frame_alloc(orders[i], FRAME_GUEST, ALLOC_ZERO);
		CU_ASSERT_EQUAL(frame_hpa(f).hpa, at.hpa); /* the very same memory */
		CU_ASSERT_TRUE(all_zero(f));
		frame_put(f);
	}
	arena_fini();
}

/* Frames zeroed ahead are found by who wants them, and by who wants anything when all else is gone.
 */
static void test_prezero(void)
{
	static struct frame *taken[ARENA / PAGE_SIZE];
	struct frame *zeroed;
	unsigned n = 0;

	arena_init(ARENA);
	while ((taken[n] = frame_alloc(0, FRAME_GUEST, 0)) != NULL)
		memset(hpa_ptr(frame_hpa(taken[n++])), 0xee, PAGE_SIZE);
	for (unsigned i = 0; i < 10; i++)
		frame_put(taken[--n]);
	CU_ASSERT_EQUAL(frame_alloc_prezero(4), 4);
	CU_ASSERT_EQUAL(account_now().zeroed, 4 * PAGE_SIZE);
	CU_ASSERT_EQUAL(account_now().by_kind[FRAME_FREE], 10 * PAGE_SIZE);
	zeroed = frame_alloc(0, FRAME_GUEST, ALLOC_ZERO);
	CU_ASSERT_TRUE(all_zero(zeroed));
	CU_ASSERT_EQUAL(account_now().zeroed, 3 * PAGE_SIZE);
	/* More than there is: all that is left becomes zeroed, no frame is lost or made. */
	CU_ASSERT_EQUAL(frame_alloc_prezero(100), 6);
	CU_ASSERT_EQUAL(account_now().zeroed, 9 * PAGE_SIZE);
	CU_ASSERT_EQUAL(frame_alloc_prezero(100), 0);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	for (unsigned i = 0; i < 9; i++)
		CU_ASSERT_PTR_NOT_NULL(frame_alloc(0, FRAME_GUEST, i % 2 ? ALLOC_ZERO : 0));
	CU_ASSERT_PTR_NULL(frame_alloc(0, FRAME_GUEST, 0));
	CU_ASSERT_EQUAL(account_now().zeroed, 0);
	arena_fini();
}

/* A frame that was given back dirty never counts as zeroed. */
static void test_dirty_is_not_zeroed(void)
{
	arena_init(ARENA);
	frame_alloc_prezero(32);
	for (unsigned i = 0; i < 200; i++) {
		struct frame *f = frame_alloc(0, FRAME_GUEST, ALLOC_ZERO);

		CU_ASSERT_TRUE(all_zero(f));
		memset(hpa_ptr(frame_hpa(f)), 0xff, PAGE_SIZE);
		frame_put(f);
		if (i % 8 == 0)
			frame_alloc_prezero(3);
	}
	arena_fini();
}

/* The skip-th allocation fails, that one only, whatever its order. */
static void test_fail_after(void)
{
	arena_init(ARENA);
	for (unsigned skip = 0; skip < 4; skip++) {
		frame_alloc_fail_after(skip);
		for (unsigned i = 0; i < 6; i++) {
			struct frame *f = frame_alloc(i % 2 ? FRAME_ORDER_2M : 0, FRAME_GUEST, 0);

			CU_ASSERT_EQUAL(f == NULL, i == skip);
			if (f != NULL)
				frame_put(f);
		}
	}
	frame_alloc_fail_after(2);
	frame_alloc_fail_after(-1);
	for (unsigned i = 0; i < 6; i++) {
		struct frame *f = frame_alloc(0, FRAME_GUEST, 0);

		CU_ASSERT_PTR_NOT_NULL_FATAL(f);
		frame_put(f);
	}
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

static void alloc_too_large(void *context)
{
	(void)context;
	frame_alloc(FRAME_ORDERS, FRAME_GUEST, 0);
}

static void alloc_as_free(void *context)
{
	(void)context;
	frame_alloc(0, FRAME_FREE, 0);
}

static void alloc_before_memory(void *context)
{
	(void)context;
	frame_alloc_forget();
	frame_alloc(0, FRAME_GUEST, 0);
}

static void add_unaligned(void *context)
{
	(void)context;
	frame_alloc_add(hpa(0x800), PAGE_SIZE);
}

static void add_beyond(void *context)
{
	(void)context;
	frame_alloc_add(hpa(ARENA), PAGE_SIZE);
}

static void test_misuse(void)
{
	arena_init(ARENA);
	CU_ASSERT_TRUE(panics(alloc_too_large, NULL, "precondition failed: order"));
	CU_ASSERT_TRUE(panics(alloc_as_free, NULL, "precondition failed: order"));
	CU_ASSERT_TRUE(panics(alloc_before_memory, NULL, "precondition failed: buddy.ready"));
	CU_ASSERT_TRUE(panics(add_unaligned, NULL, "precondition failed"));
	CU_ASSERT_TRUE(panics(add_beyond, NULL, "precondition failed"));
	arena_fini();
}

/* Memory that comes in pieces, out of order, is one block in the end. */
static void test_add_in_pieces(void)
{
	arena_init(SIZE_2M);
	frame_alloc_forget();
	memset(frame_slot(0), 0, 512 * sizeof(struct frame));
	for (uint64_t i = 0; i < 512; i++)
		frame_alloc_add(hpa((i * 3 % 512) * PAGE_SIZE), PAGE_SIZE);
	CU_ASSERT_EQUAL(account_now().largest_free, SIZE_2M);
	CU_ASSERT_EQUAL(account_now().total, SIZE_2M);
	CU_ASSERT_PTR_NOT_NULL(frame_alloc(FRAME_ORDER_2M, FRAME_GUEST, 0));
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

/* The buddy of a block beside a hole of RAM has no slot: nobody looks at it. */
static void test_hole(void)
{
	const uint64_t section = UINT64_C(1) << 28; /* of RAM; its metadata has 2 MiB */
	struct frame *f;

	arena_init(4 * section);
	frame_alloc_forget();
	frame_forget_regions();
	memset(frame_slot(0), 0, 4 * SIZE_2M);
	CU_ASSERT_EQUAL(mprotect(frame_slot(section / PAGE_SIZE), SIZE_2M, PROT_NONE), 0);
	frame_init_region(hpa(0), section);
	frame_init_region(hpa(2 * section), 2 * section);
	frame_alloc_add(hpa(0), section);
	frame_alloc_add(hpa(2 * section), 2 * section);
	CU_ASSERT_EQUAL(account_now().largest_free, 2 * section);
	f = frame_alloc(16, FRAME_GUEST, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	frame_put(f);
	f = frame_alloc(17, FRAME_GUEST, 0);
	CU_ASSERT_EQUAL(frame_hpa(f).hpa, 2 * section);
	frame_put(f);
	CU_ASSERT_PTR_NULL(frame_alloc(18, FRAME_GUEST, 0));
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

/* What was booked by hand shows, and the sums still agree. */
static void test_account_by_hand(void)
{
	uint64_t total;

	arena_init(ARENA);
	total = account_now().total;
	frame_account_add(FRAME_IMAGE, 3 * PAGE_SIZE);
	frame_account_add(FRAME_META, 2 * PAGE_SIZE);
	frame_account_add(FRAME_META, -(int64_t)PAGE_SIZE);
	CU_ASSERT_EQUAL(account_now().by_kind[FRAME_IMAGE], 3 * PAGE_SIZE);
	CU_ASSERT_EQUAL(account_now().by_kind[FRAME_META], PAGE_SIZE);
	CU_ASSERT_EQUAL(account_now().total, total + 4 * PAGE_SIZE);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

/* The audit can fail: lost memory, a broken link, an element that is not free. */
static void test_audit_finds(void)
{
	struct frame *f;

	arena_init(ARENA);
	complaints = 0;
	frame_account_add(FRAME_GUEST, PAGE_SIZE);
	CU_ASSERT_EQUAL(frame_audit(complain), 1);
	frame_account_add(FRAME_GUEST, -(int64_t)PAGE_SIZE);
	CU_ASSERT_EQUAL(frame_audit(complain), 0);
	f = frame_slot(2048); /* head of the upper half */
	CU_ASSERT_EQUAL_FATAL(atomic_load(&f->refs), FRAME_FREE_HEAD + 11);
	f->link.prev = 77;
	CU_ASSERT(frame_audit(complain) >= 1);
	f->link.prev = FRAME_NONE;
	CU_ASSERT_EQUAL(frame_audit(complain), 0);
	atomic_store(&f->refs, FRAME_BUSY + 1);
	CU_ASSERT(frame_audit(complain) >= 1);
	CU_ASSERT(complaints >= 3);
	arena_fini();
}

/* So that no state of a slot goes unseen: a word that is none, a stack or a 2 MiB block disturbed.
 */
static void test_audit_finds_states(void)
{
	static const uint32_t bad[] = { FRAME_REFS_MAX + 2, FRAME_UNIQUE + 1, FRAME_FREE_HEAD - 1,
					FRAME_FREE_HEAD + FRAME_RECENT + 1, FRAME_CACHED + 1 };
	struct frame *f, *block;

	arena_init(ARENA);
	f = frame_alloc(0, FRAME_GUEST, 0);
	block = frame_alloc(FRAME_ORDER_2M, FRAME_GUEST, 0);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		atomic_store(&f->refs, bad[i]);
		CU_ASSERT_EQUAL(frame_audit(complain), 1);
	}
	atomic_store(&f->refs, FRAME_FREE_HEAD + 9); /* not aligned to its size */
	CU_ASSERT_EQUAL(frame_audit(complain), 1);
	atomic_store(&f->refs, FRAME_BUSY + 1);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	frame_put(f);
	frame_put(block);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	atomic_store(&f->refs, FRAME_BUSY + 1);
	CU_ASSERT_EQUAL(frame_audit(complain), 1);
	atomic_store(&f->refs, FRAME_CACHED);
	atomic_store(&block->refs, FRAME_BUSY + 1);
	CU_ASSERT_EQUAL(frame_audit(complain), 1);
	atomic_store(&block->refs, FRAME_FREE_HEAD + FRAME_RECENT);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

/* --- random use against a model: who owns each page ----------------------------------------- */

#define BLOCKS	    256
#define RANDOM_CPUS 3

static struct {
	struct frame *frame;
	enum frame_kind kind;
	unsigned refs;
} model[BLOCKS];
static uint8_t owned[ARENA / PAGE_SIZE]; /* 1: part of a block in the model */
static uint64_t used[FRAME_KINDS];

static void model_alloc(uint64_t *rng, unsigned slot)
{
	static const unsigned orders[] = { 0, 0, 0, 0, 0, 1, 2, 3, 5, 8, FRAME_ORDER_2M };
	unsigned order = orders[random_below(rng, 11)];
	enum frame_kind kind = random_below(rng, 2) ? FRAME_GUEST : FRAME_KERNEL;
	unsigned flags = random_below(rng, 2) ? ALLOC_ZERO : 0;
	struct frame *f = frame_alloc(order, kind, flags);

	if (f == NULL) {
		/* Never for a page as long as there is one but in the stacks of the other CPUs. */
		CU_ASSERT(order != 0 ||
			  account_now().by_kind[FRAME_FREE] <=
				  (RANDOM_CPUS - 1) * 2 * FRAME_STACK_MAX * PAGE_SIZE);
		return;
	}
	CU_ASSERT_TRUE(hpa_aligned(frame_hpa(f), PAGE_SIZE << order));
	for (uint64_t i = 0; i < UINT64_C(1) << order; i++) {
		CU_ASSERT_EQUAL_FATAL(owned[frame_pfn(f) + i], 0);
		owned[frame_pfn(f) + i] = 1;
	}
	if (flags & ALLOC_ZERO)
		CU_ASSERT_TRUE(all_zero(f));
	memset(hpa_ptr(frame_hpa(f)), (int)slot | 1, frame_size(f));
	used[kind] += PAGE_SIZE << order;
	model[slot].frame = f;
	model[slot].kind = kind;
	model[slot].refs = 1;
}

static void model_put(unsigned slot)
{
	struct frame *f = model[slot].frame;
	uint64_t pages = frame_size(f) / PAGE_SIZE;

	CU_ASSERT_EQUAL(frame_refs(f), model[slot].refs);
	CU_ASSERT_EQUAL(*(uint8_t *)hpa_ptr(frame_hpa(f)), (uint8_t)(slot | 1));
	frame_put(f);
	if (--model[slot].refs != 0)
		return;
	memset(&owned[frame_pfn(f)], 0, pages);
	used[model[slot].kind] -= pages * PAGE_SIZE;
	model[slot].frame = NULL;
}

static void model_step(uint64_t *rng)
{
	unsigned slot = (unsigned)random_below(rng, BLOCKS);

	host_cpu = (unsigned)random_below(rng, RANDOM_CPUS);
	if (model[slot].frame == NULL) {
		model_alloc(rng, slot);
	} else if (random_below(rng, 8) == 0) {
		frame_get(model[slot].frame);
		model[slot].refs++;
	} else {
		model_put(slot);
	}
	if (random_below(rng, 50) == 0)
		frame_alloc_drain();
	if (random_below(rng, 50) == 0)
		frame_alloc_prezero((unsigned)random_below(rng, 20));
}

static void model_check(void)
{
	struct frame_account a = account_now();

	CU_ASSERT_EQUAL(a.by_kind[FRAME_GUEST], used[FRAME_GUEST]);
	CU_ASSERT_EQUAL(a.by_kind[FRAME_KERNEL], used[FRAME_KERNEL]);
	CU_ASSERT_EQUAL(a.by_kind[FRAME_FREE], a.total - used[FRAME_GUEST] - used[FRAME_KERNEL]);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
}

static void test_random(void)
{
	uint64_t rng = random_seed(1);

	arena_init(ARENA);
	memset(model, 0, sizeof(model));
	memset(owned, 0, sizeof(owned));
	memset(used, 0, sizeof(used));
	owned[0] = 1; /* never handed out */
	for (unsigned i = 0; i < 60000; i++) {
		model_step(&rng);
		if (i % 256 == 0)
			model_check();
	}
	for (unsigned slot = 0; slot < BLOCKS; slot++)
		while (model[slot].frame != NULL)
			model_put(slot);
	for (host_cpu = 2; host_cpu > 0; host_cpu--)
		frame_alloc_drain();
	frame_alloc_drain();
	model_check();
	CU_ASSERT_EQUAL(account_now().largest_free, ARENA / 2);
	arena_fini();
}

void suite_alloc(void);
void suite_alloc(void)
{
	CU_pSuite s = CU_add_suite("alloc", NULL, NULL);

	CU_add_test(s, "orders", test_orders);
	CU_add_test(s, "exhaustion", test_exhaustion);
	CU_add_test(s, "block behind the stack", test_block_behind_stack);
	CU_add_test(s, "zeroed", test_zeroed);
	CU_add_test(s, "prezero", test_prezero);
	CU_add_test(s, "dirty is not zeroed", test_dirty_is_not_zeroed);
	CU_add_test(s, "fail after", test_fail_after);
	CU_add_test(s, "misuse", test_misuse);
	CU_add_test(s, "add in pieces", test_add_in_pieces);
	CU_add_test(s, "hole", test_hole);
	CU_add_test(s, "account by hand", test_account_by_hand);
	CU_add_test(s, "audit finds", test_audit_finds);
	CU_add_test(s, "audit finds states", test_audit_finds_states);
	CU_add_test(s, "random", test_random);
}
