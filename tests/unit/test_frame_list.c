/* SPDX-License-Identifier: MPL-2.0 */
/* Lists of frames: the ends, the cursor, membership, and random use against a sequence. (L1-L4) */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "mm/frame_alloc.h"
#include "mm/frame_list.h"
#include "mm/frame_unique.h"
#include "tests/host/arena.h"
#include "tests/host/random.h"

#define ARENA (UINT64_C(16) << 20)

static unsigned complaints;

static void tell(const char *text)
{
	fprintf(stderr, "audit: %s\n", text);
}

static void complain(const char *text)
{
	(void)text;
	complaints++;
}

static struct frame *take(unsigned order)
{
	struct frame *f = frame_alloc(order, FRAME_GUEST, 0);

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_EQUAL_FATAL(frame_to_unique(f), 0);
	return f;
}

static uint64_t free_bytes(void)
{
	struct frame_account a;

	frame_account(&a);
	return a.by_kind[FRAME_FREE];
}

/* Queue and stack at both ends. */
static void test_ends(void)
{
	struct frame_list l = FRAME_LIST_INIT;
	struct frame *f[4];

	arena_init(ARENA);
	CU_ASSERT_PTR_NULL(frame_list_pop_front(&l));
	CU_ASSERT_PTR_NULL(frame_list_pop_back(&l));
	CU_ASSERT_EQUAL(frame_list_audit(&l, tell), 0);
	for (unsigned i = 0; i < 4; i++)
		f[i] = take(i);
	frame_list_push_back(&l, f[1]);
	frame_list_push_front(&l, f[0]);
	frame_list_push_back(&l, f[2]);
	frame_list_push_back(&l, f[3]);
	CU_ASSERT_EQUAL(l.size, 4);
	CU_ASSERT_EQUAL(frame_list_audit(&l, tell), 0);
	CU_ASSERT_PTR_EQUAL(frame_list_pop_front(&l), f[0]);
	CU_ASSERT_PTR_EQUAL(frame_list_pop_back(&l), f[3]);
	CU_ASSERT_PTR_EQUAL(frame_list_pop_back(&l), f[2]);
	CU_ASSERT_PTR_EQUAL(frame_list_pop_front(&l), f[1]);
	CU_ASSERT_EQUAL(l.size, 0);
	CU_ASSERT_PTR_NULL(frame_list_pop_front(&l));
	CU_ASSERT_EQUAL(frame_list_audit(&l, tell), 0);
	for (unsigned i = 0; i < 4; i++)
		frame_unique_drop(f[i]);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

/* Membership is of this list, of unique heads in it, and of nothing else. */
static void test_contains(void)
{
	struct frame_list a, b;
	struct frame_cursor c;
	struct frame *f, *g, *block;

	arena_init(ARENA);
	frame_list_init(&a);
	frame_list_init(&b);
	f = take(0);
	g = take(0);
	block = take(FRAME_ORDER_2M);
	CU_ASSERT_FALSE(frame_list_contains(&a, frame_hpa(f)));
	frame_list_push_back(&a, f);
	frame_list_push_back(&a, block);
	frame_list_push_back(&b, g);
	CU_ASSERT_NOT_EQUAL(a.id, b.id);
	CU_ASSERT_TRUE(frame_list_contains(&a, frame_hpa(f)));
	CU_ASSERT_FALSE(frame_list_contains(&b, frame_hpa(f)));
	CU_ASSERT_TRUE(frame_list_contains(&b, frame_hpa(g)));
	CU_ASSERT_FALSE(frame_list_contains(&a, frame_hpa(g)));
	CU_ASSERT_TRUE(frame_list_contains(&a, frame_hpa(block)));
	CU_ASSERT_FALSE(frame_list_contains(&a, frame_hpa(block + 1)));
	CU_ASSERT_FALSE(frame_list_contains(&a, hpa_add(frame_hpa(f), 1)));
	CU_ASSERT_FALSE(frame_list_contains(&a, hpa(ARENA)));
	CU_ASSERT_FALSE(frame_list_contains(&a, hpa(UINT64_MAX & ~0xfffull)));
	c = frame_list_ghost(&b);
	CU_ASSERT_FALSE(frame_list_at(&b, frame_hpa(f), &c));
	CU_ASSERT_PTR_NULL(frame_cursor_frame(&c));
	CU_ASSERT_TRUE(frame_list_at(&a, frame_hpa(block), &c));
	CU_ASSERT_PTR_EQUAL(frame_cursor_frame(&c), block);
	/* L4: what is taken out is in no list, and linked to nothing. */
	CU_ASSERT_PTR_EQUAL(frame_cursor_take(&c), block);
	CU_ASSERT_FALSE(frame_list_contains(&a, frame_hpa(block)));
	CU_ASSERT_EQUAL(atomic_load(&block->link.list), 0);
	CU_ASSERT_EQUAL(block->link.next, FRAME_NONE);
	CU_ASSERT_EQUAL(block->link.prev, FRAME_NONE);
	frame_unique_drop(block);
	frame_list_drop(&a);
	frame_list_drop(&b);
	arena_fini();
}

/* Round the ring both ways: the ghost is between the last and the first. */
static void test_cursor(void)
{
	struct frame_list l = FRAME_LIST_INIT;
	struct frame_cursor c;
	struct frame *f[3];

	arena_init(ARENA);
	c = frame_list_front(&l);
	CU_ASSERT_PTR_NULL(frame_cursor_frame(&c));
	frame_cursor_next(&c);
	frame_cursor_prev(&c);
	CU_ASSERT_PTR_NULL(frame_cursor_frame(&c));
	CU_ASSERT_PTR_NULL(frame_cursor_take(&c));
	for (unsigned i = 0; i < 3; i++)
		f[i] = take(0);
	frame_cursor_insert(&c, f[0]); /* at the ghost: append */
	frame_cursor_insert(&c, f[2]);
	c = frame_list_back(&l);
	frame_cursor_insert(&c, f[1]);
	CU_ASSERT_PTR_EQUAL(frame_cursor_frame(&c), f[2]);
	frame_cursor_next(&c);
	CU_ASSERT_PTR_NULL(frame_cursor_frame(&c));
	for (unsigned i = 0; i < 3; i++) {
		frame_cursor_next(&c);
		CU_ASSERT_PTR_EQUAL(frame_cursor_frame(&c), f[i]);
	}
	frame_cursor_next(&c);
	for (unsigned i = 3; i-- > 0;) {
		frame_cursor_prev(&c);
		CU_ASSERT_PTR_EQUAL(frame_cursor_frame(&c), f[i]);
	}
	frame_cursor_prev(&c);
	CU_ASSERT_PTR_NULL(frame_cursor_frame(&c));
	c = frame_list_front(&l);
	frame_cursor_next(&c);
	CU_ASSERT_PTR_EQUAL(frame_cursor_take(&c), f[1]);
	CU_ASSERT_PTR_EQUAL(frame_cursor_frame(&c), f[2]); /* the successor */
	CU_ASSERT_PTR_EQUAL(frame_cursor_take(&c), f[2]);
	CU_ASSERT_PTR_NULL(frame_cursor_frame(&c)); /* none: the ghost */
	CU_ASSERT_EQUAL(l.size, 1);
	frame_unique_drop(f[1]);
	frame_unique_drop(f[2]);
	frame_list_drop(&l);
	arena_fini();
}

static unsigned ends;

static void note_end(struct frame *f)
{
	(void)f;
	ends++;
}

/* Dropping a list drops each frame once, and nothing is lost. */
static void test_drop(void)
{
	struct frame_list l = FRAME_LIST_INIT;
	uint64_t before;

	arena_init(ARENA);
	before = free_bytes();
	ends = 0;
	frame_set_destructor(FRAME_GUEST, note_end);
	for (unsigned i = 0; i < 100; i++)
		frame_list_push_back(&l, take(i % 3));
	frame_list_drop(&l);
	CU_ASSERT_EQUAL(ends, 100);
	CU_ASSERT_EQUAL(l.size, 0);
	CU_ASSERT_EQUAL(free_bytes(), before);
	CU_ASSERT_EQUAL(frame_list_audit(&l, tell), 0);
	frame_set_destructor(FRAME_GUEST, NULL);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

static struct frame_list one = FRAME_LIST_INIT, other = FRAME_LIST_INIT;

static void push_other(void *f)
{
	frame_list_push_back(&other, f);
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

static void push_without_ids(void *f)
{
	struct frame_list l = FRAME_LIST_INIT;

	atomic_store(&frame_list_ids, INT64_MAX);
	frame_list_push_back(&l, f);
}

/* A frame is in one list, for as long as the list says. */
static void test_misuse(void)
{
	struct frame *f, *shared;

	arena_init(ARENA);
	f = take(0);
	shared = frame_alloc(0, FRAME_GUEST, 0);
	CU_ASSERT_TRUE(panics(push_without_ids, f, "no list id is left"));
	CU_ASSERT_TRUE(panics(push_other, shared, "is shared, or in a list"));
	frame_list_push_back(&one, f);
	CU_ASSERT_TRUE(panics(push_other, f, "is shared, or in a list"));
	CU_ASSERT_TRUE(panics(from_unique, f, "is in a list"));
	CU_ASSERT_TRUE(panics(repurpose, f, "is in a list"));
	CU_ASSERT_TRUE(panics(drop, f, "is in a list"));
	frame_put(shared);
	frame_list_drop(&one);
	arena_fini();
}

/*
 * Asterinas #1780: owners that swap what their frames' metadata holds must not swap the links:
 * links and id are the list's own, out of reach of frame_set_word.
 */
static void test_links_are_private(void)
{
	struct frame_list a = FRAME_LIST_INIT, b = FRAME_LIST_INIT;
	struct frame *f, *g;
	uint64_t word;

	arena_init(ARENA);
	f = take(0);
	g = take(0);
	frame_set_word(f, UINT64_MAX);
	frame_set_word(g, 0);
	frame_list_push_back(&a, f);
	frame_list_push_back(&b, g);
	frame_list_push_back(&a, take(0));
	word = frame_word(f);
	frame_set_word(f, frame_word(g));
	frame_set_word(g, word);
	CU_ASSERT_EQUAL(frame_list_audit(&a, tell), 0);
	CU_ASSERT_EQUAL(frame_list_audit(&b, tell), 0);
	CU_ASSERT_PTR_EQUAL(frame_list_pop_front(&a), f);
	CU_ASSERT_EQUAL(frame_word(f), 0);
	frame_unique_drop(f);
	frame_list_drop(&a);
	frame_list_drop(&b);
	arena_fini();
}

/* What is left in a slot from before, an old list's id above all, makes no member. */
static void test_stale_id(void)
{
	struct frame_list l = FRAME_LIST_INIT;
	struct frame *f, *g;

	arena_init(ARENA);
	f = take(0);
	g = take(0);
	frame_list_push_back(&l, g);
	frame_unique_drop(f);
	atomic_store(&f->link.list, l.id);
	CU_ASSERT_FALSE(frame_list_contains(&l, frame_hpa(f)));
	CU_ASSERT_PTR_EQUAL_FATAL(frame_alloc(0, FRAME_GUEST, 0), f);
	CU_ASSERT_FALSE(frame_list_contains(&l, frame_hpa(f)));
	CU_ASSERT_EQUAL(frame_to_unique(f), 0);
	CU_ASSERT_FALSE(frame_list_contains(&l, frame_hpa(f)));
	CU_ASSERT_EQUAL(frame_list_audit(&l, tell), 0);
	frame_unique_drop(f);
	frame_list_drop(&l);
	arena_fini();
}

/* The audit can fail: each kind of damage is seen. */
static void test_audit_finds(void)
{
	struct frame_list l = FRAME_LIST_INIT;
	struct frame *f[3], *stranger;
	uint32_t kept;

	arena_init(ARENA);
	for (unsigned i = 0; i < 3; i++)
		frame_list_push_back(&l, f[i] = take(0));
	complaints = 0;
	kept = f[1]->link.prev;
	f[1]->link.prev = FRAME_NONE;
	CU_ASSERT(frame_list_audit(&l, complain) != 0);
	f[1]->link.prev = kept;
	l.size++;
	CU_ASSERT(frame_list_audit(&l, complain) != 0);
	l.size--;
	kept = l.last;
	l.last = l.first;
	CU_ASSERT(frame_list_audit(&l, complain) != 0);
	l.last = kept;
	stranger = take(0);
	atomic_store(&stranger->link.list, l.id);
	CU_ASSERT(frame_list_audit(&l, complain) != 0);
	atomic_store(&stranger->link.list, 0);
	atomic_store(&f[2]->refs, FRAME_BUSY + 1);
	CU_ASSERT(frame_list_audit(&l, complain) != 0);
	atomic_store(&f[2]->refs, FRAME_UNIQUE);
	kept = f[2]->link.next;
	f[2]->link.next = (uint32_t)frame_pfn(f[0]); /* a ring without an end */
	CU_ASSERT(frame_list_audit(&l, complain) != 0);
	f[2]->link.next = kept;
	CU_ASSERT(complaints >= 6);
	CU_ASSERT_EQUAL(frame_list_audit(&l, tell), 0);
	frame_unique_drop(stranger);
	frame_list_drop(&l);
	arena_fini();
}

/* --- random use against a sequence with a ghost (L3) ------------------------------------------ */

#define MOST 64

static struct frame *sequence[MOST];
static unsigned length, place; /* place == length: the ghost */

static void sequence_insert(struct frame *f)
{
	memmove(&sequence[place + 1], &sequence[place], (length - place) * sizeof(f));
	sequence[place++] = f;
	length++;
}

static struct frame *sequence_take(void)
{
	struct frame *f = place < length ? sequence[place] : NULL;

	if (f != NULL) {
		length--;
		memmove(&sequence[place], &sequence[place + 1], (length - place) * sizeof(f));
	}
	return f;
}

static void random_step(uint64_t *rng, struct frame_cursor *c)
{
	struct frame *f;

	switch (random_below(rng, 6)) {
	case 0:
		frame_cursor_next(c);
		place = place == length ? 0 : place + 1;
		break;
	case 1:
		frame_cursor_prev(c);
		place = place == 0 ? length : place - 1;
		break;
	case 2:
		f = frame_cursor_take(c);
		CU_ASSERT_PTR_EQUAL(f, sequence_take());
		if (f != NULL)
			frame_unique_drop(f);
		break;
	case 3:
		place = (unsigned)random_below(rng, length + 1);
		if (place == length) {
			*c = frame_list_ghost(c->list);
		} else {
			CU_ASSERT_TRUE(frame_list_at(c->list, frame_hpa(sequence[place]), c));
		}
		break;
	default:
		if (length == MOST)
			break;
		f = take(0);
		frame_cursor_insert(c, f);
		sequence_insert(f);
	}
	CU_ASSERT_PTR_EQUAL(frame_cursor_frame(c), place < length ? sequence[place] : NULL);
	CU_ASSERT_EQUAL(c->list->size, length);
}

static void test_random(void)
{
	struct frame_list l = FRAME_LIST_INIT;
	struct frame_cursor c = frame_list_front(&l);
	uint64_t rng = random_seed(1);

	arena_init(SIZE_2M);
	length = place = 0;
	for (unsigned i = 0; i < 20000; i++) {
		random_step(&rng, &c);
		if (i % 64 == 0)
			CU_ASSERT_EQUAL(frame_list_audit(&l, tell), 0);
	}
	for (unsigned i = 0; i < length; i++) {
		struct frame *f = frame_list_pop_front(&l);

		CU_ASSERT_PTR_EQUAL(f, sequence[i]);
		frame_unique_drop(f);
	}
	CU_ASSERT_EQUAL(l.size, 0);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

void suite_frame_list(void);
void suite_frame_list(void)
{
	CU_pSuite s = CU_add_suite("frame lists", NULL, NULL);

	CU_add_test(s, "ends", test_ends);
	CU_add_test(s, "contains", test_contains);
	CU_add_test(s, "cursor", test_cursor);
	CU_add_test(s, "drop", test_drop);
	CU_add_test(s, "misuse", test_misuse);
	CU_add_test(s, "links are private", test_links_are_private);
	CU_add_test(s, "stale id", test_stale_id);
	CU_add_test(s, "audit finds", test_audit_finds);
	CU_add_test(s, "random", test_random);
}
