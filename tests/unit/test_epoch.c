/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Grace periods. The host's CPUs are numbers here, so every schedule of a few of them is tried, one
 * after the other; tests/tsan/ does it with threads.
 */
#include <CUnit/CUnit.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "base/epoch.h"
#include "base/list.h"
#include "tests/host/arena.h"

struct thing {
	struct epoch_item item;
	unsigned freed;
	struct thing *again; /* deferred by the destructor */
};

static void thing_free(struct epoch_item *item)
{
	struct thing *t = container_of(item, struct thing, item);

	t->freed++;
	if (t->again != NULL)
		epoch_defer(&t->again->item, thing_free);
}

static void on(unsigned cpu)
{
	host_cpu = cpu;
}

static void drain_all(unsigned cpus)
{
	for (unsigned cpu = 0; cpu < cpus; cpu++) {
		on(cpu);
		epoch_drain();
		CU_ASSERT_EQUAL(epoch_pending(), 0);
	}
	on(0);
}

static void test_nesting(void)
{
	CU_ASSERT_FALSE(epoch_inside());
	epoch_enter();
	epoch_enter();
	CU_ASSERT_TRUE(epoch_inside());
	epoch_exit();
	CU_ASSERT_TRUE(epoch_inside());
	on(1);
	CU_ASSERT_FALSE(epoch_inside());
	on(0);
	epoch_exit();
	CU_ASSERT_FALSE(epoch_inside());
}

/* An inner section that ends does not end the outer one. */
static void test_nested_section_holds(void)
{
	struct thing t = { 0 };

	epoch_enter();
	epoch_enter();
	on(1);
	epoch_defer(&t.item, thing_free);
	on(0);
	epoch_exit();
	on(1);
	for (unsigned i = 0; i < 10; i++)
		epoch_poll();
	CU_ASSERT_EQUAL(t.freed, 0);
	on(0);
	epoch_exit();
	drain_all(2);
	CU_ASSERT_EQUAL(t.freed, 1);
}

/* An open section holds up what was deferred after it began; one that begins later does not. */
static void test_who_holds_up(void)
{
	struct thing before = { 0 }, during = { 0 };
	unsigned freed = 0;

	on(1);
	epoch_defer(&before.item, thing_free);
	epoch_drain();
	CU_ASSERT_EQUAL(before.freed, 1);
	on(0);
	epoch_enter();
	on(1);
	epoch_defer(&during.item, thing_free);
	CU_ASSERT_EQUAL(epoch_pending(), 1);
	for (unsigned i = 0; i < 10; i++)
		freed += epoch_poll();
	CU_ASSERT_EQUAL(freed, 0);
	on(0);
	epoch_exit();
	on(1);
	/* Sections that come and go do not hold it up for ever. */
	for (unsigned i = 0; i < 10; i++) {
		on(2);
		epoch_enter();
		on(1);
		freed += epoch_poll();
		on(2);
		epoch_exit();
	}
	CU_ASSERT_EQUAL(freed, 1);
	CU_ASSERT_EQUAL(during.freed, 1);
	drain_all(3);
}

/* Each of many goes once, whatever bucket it was in. */
static _Atomic bool waited;

static void *wait_on_another(void *nothing)
{
	on(1);
	epoch_wait();
	atomic_store(&waited, true);
	return nothing;
}

/* A wait ends with the sections that were open when it began, not with those that came later. */
static void test_wait(void)
{
	pthread_t waiter;
	uint64_t before;

	epoch_wait();
	atomic_store(&waited, false);
	epoch_enter();
	before = atomic_load(&epoch_global);
	pthread_create(&waiter, NULL, wait_on_another, NULL);
	while (atomic_load(&epoch_global) == before)
		sched_yield();
	for (unsigned i = 0; i < 1000; i++)
		sched_yield();
	CU_ASSERT_FALSE(atomic_load(&waited));
	epoch_exit();
	epoch_enter();
	pthread_join(waiter, NULL);
	CU_ASSERT_TRUE(atomic_load(&waited));
	epoch_exit();
}

static void test_many(void)
{
	enum { N = 1000 };
	static struct thing things[N];
	uint64_t pending;

	memset(things, 0, sizeof(things));
	for (unsigned i = 0; i < N; i++) {
		on(i % 2);
		epoch_defer(&things[i].item, thing_free);
		if (i % 7 == 0)
			(void)epoch_poll();
	}
	on(0);
	pending = epoch_pending();
	on(1);
	pending += epoch_pending();
	/* Bounded: what is not freed yet is the last three epochs'. */
	CU_ASSERT(pending < 64);
	drain_all(2);
	for (unsigned i = 0; i < N; i++)
		CU_ASSERT_EQUAL(things[i].freed, 1);
}

/* Without anybody polling, those who defer free what their predecessors left. */
static void test_bounded_without_poll(void)
{
	enum { N = 2000 };
	static struct thing things[N];

	memset(things, 0, sizeof(things));
	for (unsigned i = 0; i < N; i++) {
		epoch_defer(&things[i].item, thing_free);
		CU_ASSERT(epoch_pending() <= 3 * 64);
	}
	drain_all(1);
	for (unsigned i = 0; i < N; i++)
		CU_ASSERT_EQUAL(things[i].freed, 1);
}

/* A destructor may defer. */
static void test_defer_while_freeing(void)
{
	struct thing last = { 0 }, middle = { .again = &last }, first = { .again = &middle };

	epoch_defer(&first.item, thing_free);
	epoch_drain();
	CU_ASSERT_EQUAL(first.freed, 1);
	CU_ASSERT_EQUAL(middle.freed, 1);
	CU_ASSERT_EQUAL(last.freed, 1);
}

static void exit_twice(void *context)
{
	(void)context;
	epoch_enter();
	epoch_exit();
	epoch_exit();
}

static void drain_inside(void *context)
{
	(void)context;
	epoch_enter();
	epoch_drain();
}

static void wait_inside(void *context)
{
	(void)context;
	epoch_enter();
	epoch_wait();
}

static void test_misuse(void)
{
	CU_ASSERT_TRUE(panics(wait_inside, NULL, "precondition failed: !epoch_inside()"));
	CU_ASSERT_TRUE(panics(exit_twice, NULL, "precondition failed: c->depth != 0"));
	CU_ASSERT_TRUE(panics(drain_inside, NULL, "precondition failed: !epoch_inside()"));
}

/*
 * Every order in which two readers and a writer can take their steps: whoever read the pointer in a
 * section that is still open finds the thing there.
 */
enum { READERS = 2, READER_STEPS = 3, WRITER_STEPS = 6 };

struct schedule {
	struct thing thing;
	struct thing *shared;
	struct thing *got[READERS];
	bool open[READERS];
};

static void reader_step(struct schedule *s, unsigned reader, unsigned step)
{
	on(1 + reader);
	switch (step) {
	case 0:
		epoch_enter();
		s->open[reader] = true;
		break;
	case 1:
		s->got[reader] = s->shared;
		break;
	default:
		s->open[reader] = false;
		epoch_exit();
	}
}

static void writer_step(struct schedule *s, unsigned step)
{
	on(0);
	if (step == 0)
		s->shared = NULL;
	else if (step == 1)
		epoch_defer(&s->thing.item, thing_free);
	else
		epoch_poll();
}

/* `order` has one digit of base 3 for each step: whose turn it is. False: not a schedule. */
static bool run_schedule(const uint8_t *order, unsigned steps)
{
	struct schedule s = { .shared = &s.thing };
	unsigned at[READERS + 1] = { 0 };

	for (unsigned i = 0; i < steps; i++) {
		unsigned who = order[i];

		if (who == READERS)
			writer_step(&s, at[who]++);
		else
			reader_step(&s, who, at[who]++);
		for (unsigned r = 0; r < READERS; r++)
			if (s.open[r] && s.got[r] != NULL && s.thing.freed != 0)
				return false;
	}
	drain_all(1);
	return s.thing.freed == 1;
}

static uint64_t try_schedules(uint8_t *order, unsigned len, const unsigned *left)
{
	const unsigned total = READERS * READER_STEPS + WRITER_STEPS;
	uint64_t tried = 0;

	if (len == total) {
		CU_ASSERT_TRUE(run_schedule(order, total));
		return 1;
	}
	for (uint8_t who = 0; who <= READERS; who++) {
		unsigned rest[READERS + 1];

		if (left[who] == 0)
			continue;
		memcpy(rest, left, sizeof(rest));
		rest[who]--;
		order[len] = who;
		tried += try_schedules(order, len + 1, rest);
	}
	return tried;
}

static void test_every_schedule(void)
{
	const unsigned left[READERS + 1] = { READER_STEPS, READER_STEPS, WRITER_STEPS };
	uint8_t order[READERS * READER_STEPS + WRITER_STEPS];

	CU_ASSERT_EQUAL(try_schedules(order, 0, left), 18480); /* 12! / (3! 3! 6!) */
}

/*
 * A destructor that defers again while the epoch moves on by three: what it deferred waits for a
 * section that met it, though it is in the bucket that is just being reused.
 */
static struct epoch_item outer, inner, filler;
static unsigned inner_freed;

static void inner_free(struct epoch_item *item)
{
	(void)item;
	inner_freed++;
}

static void filler_free(struct epoch_item *item)
{
	(void)item;
}

static void outer_free(struct epoch_item *item)
{
	(void)item;
	atomic_fetch_add(&epoch_global, 3); /* nobody is in a section */
	host_cpu = 1;
	epoch_enter();
	host_cpu = 0;
	epoch_defer(&inner, inner_free);
}

static void test_defer_while_reusing(void)
{
	inner_freed = 0;
	epoch_defer(&outer, outer_free);
	atomic_fetch_add(&epoch_global, 3);
	epoch_defer(&filler, filler_free); /* wants the bucket: frees `outer` */
	epoch_poll();
	CU_ASSERT_EQUAL(inner_freed, 0);
	host_cpu = 1;
	epoch_exit();
	host_cpu = 0;
	epoch_drain();
	CU_ASSERT_EQUAL(inner_freed, 1);
}

void suite_epoch(void);
void suite_epoch(void)
{
	CU_pSuite s = CU_add_suite("epoch", NULL, NULL);

	CU_add_test(s, "nesting", test_nesting);
	CU_add_test(s, "a nested section holds", test_nested_section_holds);
	CU_add_test(s, "who holds up", test_who_holds_up);
	CU_add_test(s, "wait", test_wait);
	CU_add_test(s, "many", test_many);
	CU_add_test(s, "bounded without poll", test_bounded_without_poll);
	CU_add_test(s, "defer while freeing", test_defer_while_freeing);
	CU_add_test(s, "defer while reusing a bucket", test_defer_while_reusing);
	CU_add_test(s, "misuse", test_misuse);
	CU_add_test(s, "every schedule", test_every_schedule);
}
