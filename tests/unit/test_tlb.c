/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Flush domains. CPUs are numbers here; a kick makes the CPU leave, as the hypervisor does. What
 * must hold at each moment: a CPU that has a translation and is inside is one that sync kicks.
 */
#include <CUnit/CUnit.h>
#include <string.h>

#include "mm/tlb.h"
#include "tests/host/arena.h"

static struct tlb_domain domain;
static uint64_t kicked; /* mask of CPUs */

static void on(unsigned cpu)
{
	host_cpu = cpu;
}

/* The kicked CPU leaves at once. */
static void kick(unsigned cpu)
{
	unsigned me = host_cpu;

	kicked |= UINT64_C(1) << cpu;
	on(cpu);
	tlb_leave(&domain);
	on(me);
}

static void begin(void)
{
	tlb_domain_init(&domain);
	tlb_set_kick(kick);
	kicked = 0;
	on(0);
}

/* Kicks who must be kicked, and waits. */
static void sync(uint64_t generation)
{
	tlb_kick_stale(&domain, generation);
	tlb_wait(&domain, generation);
}

static void end(void)
{
	tlb_set_kick(NULL);
	on(0);
}

/* Flush before the first use and after each bump, and at no other time. */
static void test_enter(void)
{
	uint64_t first;

	begin();
	first = atomic_load(&domain.generation);
	CU_ASSERT_TRUE(tlb_enter(&domain));
	tlb_leave(&domain);
	CU_ASSERT_FALSE(tlb_enter(&domain));
	tlb_leave(&domain);
	on(1);
	CU_ASSERT_TRUE(tlb_enter(&domain));
	tlb_leave(&domain);
	on(0);
	/* Nobody enters between the two changes: one number is enough for both. */
	CU_ASSERT_EQUAL(tlb_bump(&domain), first + 1);
	CU_ASSERT_EQUAL(tlb_bump(&domain), first + 1);
	CU_ASSERT_TRUE(tlb_enter(&domain));
	tlb_leave(&domain);
	CU_ASSERT_FALSE(tlb_enter(&domain));
	tlb_leave(&domain);
	CU_ASSERT_EQUAL(tlb_bump(&domain), first + 3);
	CU_ASSERT_EQUAL(atomic_load(&domain.flushes), 3);
	end();
}

/* A CPU that is outside is never interrupted, whatever it last saw. */
static void test_sync_leaves_others_alone(void)
{
	begin();
	on(1);
	tlb_enter(&domain);
	tlb_leave(&domain);
	on(0);
	sync(tlb_bump(&domain));
	CU_ASSERT_EQUAL(kicked, 0);
	CU_ASSERT_EQUAL(atomic_load(&domain.kicks), 0);
	end();
}

/* Exactly those who are inside with something stale are kicked, CPU 63 included. */
static void test_sync_kicks(void)
{
	uint64_t generation;

	begin();
	on(1);
	tlb_enter(&domain);
	on(63);
	tlb_enter(&domain);
	on(0);
	generation = tlb_bump(&domain);
	on(2);
	tlb_enter(&domain); /* after the bump: it has flushed */
	on(0);
	CU_ASSERT_FALSE(tlb_passed(&domain, generation));
	CU_ASSERT_TRUE(tlb_passed(&domain, generation - 1));
	sync(generation);
	CU_ASSERT_EQUAL(kicked, UINT64_C(1) << 63 | UINT64_C(1) << 1);
	CU_ASSERT_EQUAL(atomic_load(&domain.kicks), 2);
	CU_ASSERT_TRUE(tlb_passed(&domain, generation));
	CU_ASSERT_EQUAL(atomic_load(&domain.inside), UINT64_C(1) << 2);
	end();
}

/* An older generation's sync does not disturb who has seen it. */
static void test_old_generation(void)
{
	uint64_t first, second;

	begin();
	first = tlb_bump(&domain);
	on(1);
	tlb_enter(&domain);
	on(0);
	sync(first);
	CU_ASSERT_EQUAL(kicked, 0);
	second = tlb_bump(&domain);
	sync(first);
	CU_ASSERT_EQUAL(kicked, 0);
	sync(second);
	CU_ASSERT_EQUAL(kicked, 2);
	end();
}

static void sync_from_inside(void *context)
{
	(void)context;
	tlb_enter(&domain);
	sync(tlb_bump(&domain));
}

static void sync_without_kick(void *context)
{
	(void)context;
	tlb_set_kick(NULL);
	on(5);
	tlb_enter(&domain);
	on(0);
	sync(tlb_bump(&domain));
}

static void test_misuse(void)
{
	begin();
	CU_ASSERT_TRUE(panics(sync_from_inside, NULL, "precondition failed"));
	CU_ASSERT_TRUE(panics(sync_without_kick, NULL, "CPU 5 is inside a guest"));
	end();
}

/*
 * Every order of two guest CPUs (enter, use, leave, enter, use, leave) and a CPU that changes the
 * only translation twice (store, bump + sync, the old frame is free). `entry` is what the table
 * says, `cached` what each TLB remembers; a use of a frame that is free is the bug.
 */
enum { GUESTS = 2, GUEST_STEPS = 6, CHANGER_STEPS = 4, NOTHING = -1 };

static struct {
	int entry, cached[GUESTS];
	bool inside[GUESTS], free[3];
	bool bad;
} world;

static void world_kick(unsigned cpu)
{
	world.inside[cpu - 1] = false;
	kick(cpu);
}

static void guest_step(unsigned guest, unsigned step)
{
	on(1 + guest);
	switch (step % 3) {
	case 0:
		if (tlb_enter(&domain))
			world.cached[guest] = NOTHING;
		world.inside[guest] = true;
		break;
	case 1:
		if (!world.inside[guest])
			break; /* kicked out */
		if (world.cached[guest] == NOTHING)
			world.cached[guest] = world.entry;
		world.bad |= world.free[world.cached[guest]];
		break;
	default:
		if (world.inside[guest])
			tlb_leave(&domain);
		world.inside[guest] = false;
	}
}

static void changer_step(unsigned step)
{
	on(0);
	if (step % 2 == 0) {
		world.entry++;
	} else {
		sync(tlb_bump(&domain));
		world.free[world.entry - 1] = true;
	}
}

static void run_schedule(const uint8_t *order, unsigned steps)
{
	unsigned at[GUESTS + 1] = { 0 };

	begin();
	tlb_set_kick(world_kick);
	memset(&world, 0, sizeof(world));
	for (unsigned i = 0; i < GUESTS; i++)
		world.cached[i] = NOTHING;
	for (unsigned i = 0; i < steps; i++) {
		unsigned who = order[i];

		if (who == GUESTS)
			changer_step(at[who]++);
		else
			guest_step(who, at[who]++);
	}
	CU_ASSERT_FALSE(world.bad);
	end();
}

static uint64_t try_schedules(uint8_t *order, unsigned len, const unsigned *left)
{
	const unsigned total = GUESTS * GUEST_STEPS + CHANGER_STEPS;
	uint64_t tried = 0;

	if (len == total) {
		run_schedule(order, total);
		return 1;
	}
	for (uint8_t who = 0; who <= GUESTS; who++) {
		unsigned rest[GUESTS + 1];

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
	const unsigned left[GUESTS + 1] = { GUEST_STEPS, GUEST_STEPS, CHANGER_STEPS };
	uint8_t order[GUESTS * GUEST_STEPS + CHANGER_STEPS];

	CU_ASSERT_EQUAL(try_schedules(order, 0, left), 1681680); /* 16! / (6! 6! 4!) */
}

void suite_tlb(void);
void suite_tlb(void)
{
	CU_pSuite s = CU_add_suite("tlb", NULL, NULL);

	CU_add_test(s, "enter", test_enter);
	CU_add_test(s, "sync leaves others alone", test_sync_leaves_others_alone);
	CU_add_test(s, "sync kicks", test_sync_kicks);
	CU_add_test(s, "old generation", test_old_generation);
	CU_add_test(s, "misuse", test_misuse);
	CU_add_test(s, "every schedule", test_every_schedule);
}
