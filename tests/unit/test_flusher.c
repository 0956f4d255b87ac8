/* SPDX-License-Identifier: MPL-2.0 */
/* TlbFlusher: issue, dispatch, sync; and that forgetting one of them is noticed. */
#include "mm/flusher.h"

#include <stdio.h>
#include <string.h>

#include "ept/stage2.h"
#include "mm/host_pt.h"
#include "tests/host/arena.h"
#include "tests/unit/space.h"

static struct flusher flusher;
static uint64_t kicked;	     /* mask of CPUs */
static unsigned leave_after; /* polls of the waiting CPU until a kicked one leaves */

static void leave(unsigned cpu)
{
	host_cpu = cpu;
	tlb_leave(&space.pt.tlb);
	host_cpu = 0;
}

static void kick(unsigned cpu)
{
	kicked |= UINT64_C(1) << cpu;
	if (leave_after == 0)
		leave(cpu);
}

static void enter(unsigned cpu)
{
	host_cpu = cpu;
	tlb_enter(&space.pt.tlb);
	host_cpu = 0;
}

static void begin(void)
{
	kicked = 0;
	leave_after = 0;
	tlb_set_kick(kick);
	flusher_init(&flusher, &space.pt);
}

static void end(void)
{
	flusher_fini(&flusher);
	tlb_set_kick(NULL);
}

/* Neighbours become one range; more than there is room for, everything. */
static void test_ranges(void)
{
	begin();
	CU_ASSERT_FALSE(flusher_issued(&flusher));
	flusher_issue(&flusher, 0x1000, PAGE_SIZE);
	flusher_issue(&flusher, 0x2000, 2 * PAGE_SIZE);
	CU_ASSERT_EQUAL(flusher.ranges, 1);
	CU_ASSERT_EQUAL(flusher.range[0].start, 0x1000);
	CU_ASSERT_EQUAL(flusher.range[0].end, 0x4000);
	for (uint64_t i = 1; i < FLUSHER_RANGES; i++)
		flusher_issue(&flusher, i * SIZE_1G, PAGE_SIZE);
	CU_ASSERT_EQUAL(flusher.ranges, FLUSHER_RANGES);
	CU_ASSERT_FALSE(flusher.all);
	flusher_issue(&flusher, 77 * SIZE_1G, PAGE_SIZE);
	CU_ASSERT_TRUE(flusher.all && flusher_issued(&flusher));
	flusher_issue(&flusher, 0, PAGE_SIZE); /* no more than that */
	flusher_issue(&flusher, 78 * SIZE_1G, PAGE_SIZE);
	CU_ASSERT_TRUE(flusher.all && flusher.ranges == 1);
	flusher_dispatch(&flusher);
	CU_ASSERT_FALSE(flusher_issued(&flusher));
	flusher_sync(&flusher);
	end();
}

/* Those who are inside with something stale are told at once, all of them, and only they. */
static void test_dispatch(void)
{
	uint64_t generation;

	begin();
	leave_after = 1;
	enter(1);
	enter(3);
	enter(4);
	leave(4);
	flusher_issue_all(&flusher);
	generation = flusher_dispatch(&flusher);
	CU_ASSERT_EQUAL(kicked, 1u << 1 | 1u << 3);
	CU_ASSERT_FALSE(tlb_passed(&space.pt.tlb, generation));
	/* Nothing more to tell. */
	kicked = 0;
	CU_ASSERT_EQUAL(flusher_dispatch(&flusher), generation);
	CU_ASSERT_EQUAL(kicked, 0);
	leave(1);
	leave(3);
	CU_ASSERT_TRUE(tlb_passed(&space.pt.tlb, generation));
	/* Back inside, it has flushed: the next change is news to it. */
	enter(3);
	flusher_issue(&flusher, 0, PAGE_SIZE);
	CU_ASSERT(flusher_dispatch(&flusher) > generation);
	CU_ASSERT_EQUAL(kicked, 1u << 3);
	leave(3);
	flusher_sync(&flusher);
	CU_ASSERT_EQUAL(kicked, 1u << 3);
	end();
}

/* What is held comes back after the sync and the grace period, no sooner. */
static void test_hold(void)
{
	struct frame *f = guest_block(0);

	begin();
	frame_get(f);
	flusher_issue(&flusher, 0x5000, PAGE_SIZE);
	flusher_hold(&flusher, f);
	flusher_dispatch(&flusher);
	CU_ASSERT_EQUAL(frame_refs(f), 2);
	epoch_enter();
	flusher_sync(&flusher);
	CU_ASSERT_EQUAL(frame_refs(f), 1);
	flusher_issue(&flusher, 0x5000, PAGE_SIZE);
	flusher_hold(&flusher, f);
	flusher_dispatch(&flusher);
	flusher_sync(&flusher);
	CU_ASSERT_EQUAL(in_use(FRAME_GUEST), PAGE_SIZE); /* a lock-free walker may look at it */
	epoch_exit();
	epoch_drain();
	CU_ASSERT_EQUAL(in_use(FRAME_GUEST), 0);
	end();
}

/* Held without anything issued: given back without asking anybody. */
static void test_sync_without_dispatch(void)
{
	struct frame *f = guest_block(0);

	begin();
	leave_after = 1;
	enter(1);
	flusher_issue(&flusher, 0, PAGE_SIZE);
	flusher_hold(&flusher, f);
	flusher_excuse(&flusher);
	flusher_sync(&flusher);
	CU_ASSERT_EQUAL(kicked, 0);
	leave(1);
	epoch_drain();
	CU_ASSERT_EQUAL(in_use(FRAME_GUEST), 0);
	end();
}

/* A cursor that dispatches early, goes on changing, and is flushed again at its end. */
static void test_cursor_dispatch(void)
{
	struct vm_cursor c;
	uint64_t pages;

	begin();
	map_fresh(0x1000, 0, WB_RW);
	map_fresh(0x2000, 0, WB_RW);
	enter(2);
	open_at(&c, 0, SIZE_2M, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_unmap(&c, 0x2000, &pages), 0);
	vm_cursor_dispatch(&c);
	CU_ASSERT_EQUAL(kicked, 1u << 2);
	kicked = 0;
	enter(2);
	CU_ASSERT_EQUAL(vm_unmap(&c, 0x2000, &pages), 0);
	CU_ASSERT_EQUAL(pages, 1);
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(kicked, 1u << 2);
	epoch_drain();
	CU_ASSERT_EQUAL(in_use(FRAME_GUEST), 0);
	end();
}

static void forget_dispatch(void *context)
{
	(void)context;
	begin();
	flusher_issue(&flusher, 0, PAGE_SIZE);
	flusher_fini(&flusher);
}

static void forget_sync(void *context)
{
	(void)context;
	begin();
	flusher_issue(&flusher, 0, PAGE_SIZE);
	flusher_hold(&flusher, guest_block(0));
	flusher_dispatch(&flusher);
	flusher_fini(&flusher);
}

static void sync_undispatched(void *context)
{
	(void)context;
	begin();
	flusher_issue(&flusher, 0, PAGE_SIZE);
	flusher_sync(&flusher);
}

static void hold_too_many(void *context)
{
	(void)context;
	begin();
	flusher_issue(&flusher, 0, PAGE_SIZE);
	for (unsigned i = 0; i <= FLUSHER_LEAVES; i++)
		flusher_hold(&flusher, guest_block(0));
}

static void issue_nothing(void *context)
{
	(void)context;
	begin();
	flusher_issue(&flusher, SIZE_2M, PAGE_SIZE);
	flusher_issue(&flusher, 0, 0);
}

static void dispatch_from_inside(void *context)
{
	(void)context;
	begin();
	enter(0);
	flusher_issue(&flusher, 0, PAGE_SIZE);
	flusher_dispatch(&flusher);
}

static void test_misuse(void)
{
	begin();
	CU_ASSERT_TRUE(panics(forget_dispatch, NULL, "1 ranges issued and never dispatched"));
	CU_ASSERT_TRUE(panics(forget_sync, NULL, "1 frames held back and never given back"));
	CU_ASSERT_TRUE(panics(sync_undispatched, NULL, "!flusher_issued"));
	CU_ASSERT_TRUE(panics(hold_too_many, NULL, "!flusher_full"));
	CU_ASSERT_TRUE(panics(issue_nothing, NULL, "len != 0"));
	CU_ASSERT_TRUE(panics(dispatch_from_inside, NULL, "inside"));
	end();
}

#define EACH(name)                    \
	static void each_##name(void) \
	{                             \
		on_each(test_##name); \
	}
#define ALL(X)                   \
	X(ranges)                \
	X(dispatch)              \
	X(hold)                  \
	X(sync_without_dispatch) \
	X(cursor_dispatch)       \
	X(misuse)

ALL(EACH)

void suite_flusher(void);
void suite_flusher(void)
{
	CU_pSuite s = CU_add_suite("flusher", NULL, NULL);

#define ADD(name) CU_add_test(s, #name, each_##name);
	ALL(ADD)
}
