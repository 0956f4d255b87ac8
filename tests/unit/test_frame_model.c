/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Every operation on frames, at random, against a model that says of each page whose it is: what
 * the operation answers, and that it changed this page and nothing else. (M2-M8, M11-M15)
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "mm/frame_alloc.h"
#include "mm/frame_list.h"
#include "mm/frame_unique.h"
#include "tests/host/arena.h"
#include "tests/host/random.h"

#define PAGES  32
#define FIRST  2048 /* the upper half of the arena is nobody's */
#define ARENA  (UINT64_C(16) << 20)
#define ROUNDS 60
#define STEPS  1000

static struct page {
	enum frame_state state;
	enum frame_kind kind;
	uint32_t refs;
	bool listed;
	uint64_t word;
	unsigned ends; /* destructors that ran */
} model[PAGES], real_ends[PAGES];

static struct frame_list list;

static void tell(const char *text)
{
	fprintf(stderr, "audit: %s\n", text);
}

static void note_end(struct frame *f)
{
	CU_ASSERT_EQUAL(atomic_load(&f->refs), FRAME_BUSY);
	real_ends[frame_pfn(f) - FIRST].ends++;
}

static void ends(struct page *p, enum frame_state state)
{
	p->ends++;
	p->state = state;
	p->refs = 0;
	p->kind = FRAME_FREE;
}

static void begins(struct page *p, enum frame_state state, enum frame_kind kind)
{
	p->state = state;
	p->refs = 1;
	p->kind = kind;
	p->word = 0;
}

static const int unused_errors[] = {
	[FRAME_STATE_UNUSED] = 0,
	[FRAME_STATE_SHARED] = -EEXIST,
	[FRAME_STATE_UNIQUE] = -EACCES,
	[FRAME_STATE_FREE] = -EPERM,
};

static const int in_use_errors[] = {
	[FRAME_STATE_UNUSED] = -ENOENT,
	[FRAME_STATE_SHARED] = 0,
	[FRAME_STATE_UNIQUE] = -EACCES,
	[FRAME_STATE_FREE] = -EPERM,
};

/* What may be tried on any page. */
static void step_any(uint64_t *rng, struct page *p, struct frame *f)
{
	enum frame_kind kind = random_below(rng, 2) ? FRAME_GUEST : FRAME_KERNEL;
	struct frame *got = NULL;
	int err;

	switch (random_below(rng, 3)) {
	case 0:
		err = frame_from_unused(frame_hpa(f), kind, &got);
		CU_ASSERT_EQUAL(err, unused_errors[p->state]);
		if (err == 0)
			begins(p, FRAME_STATE_SHARED, kind);
		break;
	case 1:
		err = frame_unique_from_unused(frame_hpa(f), kind, &got);
		CU_ASSERT_EQUAL(err, unused_errors[p->state]);
		if (err == 0)
			begins(p, FRAME_STATE_UNIQUE, kind);
		break;
	default:
		err = frame_from_in_use(frame_hpa(f), &got);
		CU_ASSERT_EQUAL(err, in_use_errors[p->state]);
		p->refs += err == 0;
	}
	CU_ASSERT_PTR_EQUAL(got, err == 0 ? f : NULL);
}

static void step_shared(uint64_t *rng, struct page *p, struct frame *f)
{
	int err;

	switch (random_below(rng, 8)) {
	case 0:
		frame_get(f);
		p->refs++;
		break;
	case 1:
		CU_ASSERT_PTR_EQUAL(frame_from_raw(frame_into_raw(f)), f);
		break;
	case 2:
	case 3:
	case 4:
		if (p->refs == 1 && random_below(rng, 8) != 0)
			break; /* or all would soon be the allocator's */
		frame_put(f);
		if (--p->refs == 0)
			ends(p, FRAME_STATE_FREE);
		break;
	default:
		err = frame_to_unique(f);
		CU_ASSERT_EQUAL(err, p->refs == 1 ? 0 : -EBUSY);
		if (err == 0)
			p->state = FRAME_STATE_UNIQUE;
	}
}

static void step_listed(uint64_t *rng, struct page *p, struct frame *f)
{
	struct frame_cursor c;

	CU_ASSERT_TRUE_FATAL(frame_list_at(&list, frame_hpa(f), &c));
	if (random_below(rng, 2)) {
		CU_ASSERT_PTR_EQUAL(frame_cursor_take(&c), f);
		p->listed = false;
	}
}

static void step_unique(uint64_t *rng, struct page *p, struct frame *f)
{
	switch (random_below(rng, 6)) {
	case 0:
		frame_from_unique(f);
		p->state = FRAME_STATE_SHARED;
		break;
	case 1:
		frame_repurpose(f, FRAME_KERNEL);
		p->ends++;
		begins(p, FRAME_STATE_UNIQUE, FRAME_KERNEL);
		break;
	case 2:
		frame_reset_unused(f);
		ends(p, FRAME_STATE_UNUSED);
		break;
	case 3:
		p->word = random_below(rng, UINT64_MAX);
		frame_set_word(f, p->word);
		break;
	case 4:
		CU_ASSERT_PTR_EQUAL(frame_unique_from_raw(frame_unique_into_raw(f)), f);
		break;
	default:
		frame_list_push_front(&list, f);
		p->listed = true;
	}
}

static void check_page(const struct page *p, struct frame *f)
{
	CU_ASSERT_EQUAL(frame_state(f), p->state);
	CU_ASSERT_EQUAL(frame_refs(f), p->refs);
	CU_ASSERT_EQUAL(f->kind, p->kind);
	CU_ASSERT_EQUAL(frame_list_contains(&list, frame_hpa(f)), p->listed);
	CU_ASSERT_EQUAL(real_ends[p - model].ends, p->ends);
	if (p->refs != 0)
		CU_ASSERT_EQUAL(frame_word(f), p->word);
}

static void check_books(void)
{
	uint64_t by_kind[FRAME_KINDS] = { 0 }, listed = 0;
	struct frame_account a;

	frame_account(&a);
	for (unsigned i = 0; i < PAGES; i++) {
		if (model[i].refs != 0)
			by_kind[model[i].kind] += PAGE_SIZE;
		listed += model[i].listed;
	}
	CU_ASSERT_EQUAL(a.by_kind[FRAME_GUEST], by_kind[FRAME_GUEST]);
	CU_ASSERT_EQUAL(a.by_kind[FRAME_KERNEL], by_kind[FRAME_KERNEL]);
	CU_ASSERT_EQUAL(list.size, listed);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	CU_ASSERT_EQUAL(frame_list_audit(&list, tell), 0);
}

static void random_step(uint64_t *rng)
{
	unsigned i = (unsigned)random_below(rng, PAGES);
	struct page *p = &model[i];
	struct frame *f = frame_slot(FIRST + i);

	if (p->listed && random_below(rng, 2))
		step_listed(rng, p, f);
	else if (p->state == FRAME_STATE_SHARED && random_below(rng, 4) != 0)
		step_shared(rng, p, f);
	else if (p->state == FRAME_STATE_UNIQUE && !p->listed && random_below(rng, 4) != 0)
		step_unique(rng, p, f);
	else
		step_any(rng, p, f);
	for (i = 0; i < PAGES; i++)
		check_page(&model[i], frame_slot(FIRST + i));
}

static void one_round(uint64_t *rng)
{
	arena_init(ARENA);
	frame_alloc_forget();
	memset(frame_slot(0), 0, ARENA / PAGE_SIZE * sizeof(struct frame));
	frame_alloc_add(hpa(0), FIRST * PAGE_SIZE);
	memset(model, 0, sizeof(model));
	memset(real_ends, 0, sizeof(real_ends));
	frame_list_init(&list);
	for (unsigned i = 0; i < STEPS; i++)
		random_step(rng);
	check_books();
	arena_fini();
}

static void test_random(void)
{
	uint64_t rng = random_seed(1);

	_Static_assert(FRAME_STATE_UNUSED == 0, "the model starts with zeroes");
	frame_set_destructor(FRAME_GUEST, note_end);
	frame_set_destructor(FRAME_KERNEL, note_end);
	for (unsigned i = 0; i < ROUNDS; i++)
		one_round(&rng);
	frame_set_destructor(FRAME_GUEST, NULL);
	frame_set_destructor(FRAME_KERNEL, NULL);
}

void suite_frame_model(void);
void suite_frame_model(void)
{
	CU_pSuite s = CU_add_suite("frames against a model", NULL, NULL);

	CU_add_test(s, "random", test_random);
}
