/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What threads did to one space, written down, and judged afterwards.
 *
 * Each call takes a ticket before and one after it. A cursor excludes those that overlap it, so the
 * tickets of overlapping calls tell their order, and the log, in the order of tickets, can be
 * replayed against a model of single pages; calls that do not overlap may be replayed in any order.
 * What is done without a lock, a probe, must be explained by some state of the page between its two
 * tickets; what a CPU does by its TLB, by one that had not been flushed away when it began.
 */
#ifndef TESTS_TSAN_RANGES_H
#define TESTS_TSAN_RANGES_H

#include "mm/vm_space.h"
#include "tests/host/random.h"

#define RANGE_CPUS  4
#define RANGE_SLOTS 4			    /* of 2 MiB */
#define RANGE_BASE  (SIZE_1G - 2 * SIZE_2M) /* two below a gigabyte, two above */
#define SLOT_PAGES  512
#define RANGE_PAGES (RANGE_SLOTS * SLOT_PAGES)

#define OP_FRAMES 4

enum op_kind {
	OP_QUERY,
	OP_NEXT,
	OP_FIND_NEXT,
	OP_MAP,
	OP_MAP_NEW,
	OP_MAP_UNTRACKED,
	OP_MAP_FRAMES,
	OP_UNMAP,
	OP_TAKE_NEXT,
	OP_PROTECT,
	OP_PROTECT_NEXT,
	OP_CLEAR_NEXT,
	OP_COLLAPSE,
	OP_KINDS,
};

/* One call under a cursor. Places and lengths in pages. */
struct op {
	enum op_kind kind;
	int err;		 /* for those that return bool: 0 or -ENOENT */
	uint64_t t0, t1, closed; /* tickets: before, after, when the cursor was closed */
	uint64_t at, len, after; /* where it began, its argument, where the cursor was then */
	uint64_t pages;		 /* what it counted */
	uint64_t hpa[OP_FRAMES]; /* what it mapped; but for OP_MAP_FRAMES the first */
	pt_attr_t attr;		 /* what it set, or which marks it cleared */
	struct pt_leaf seen;	 /* what it told */
	bool table;		 /* OP_TAKE_NEXT: it was a table */
};

enum probe_kind {
	PROBE_LOOK, /* by lookup, translate or walk */
	PROBE_MARK,
	PROBE_WALK, /* of a CPU in the guest */
	PROBE_HIT,  /* the same, by its TLB */
};

/* One look without a lock. */
struct probe {
	enum probe_kind kind;
	bool found; /* a fault: false */
	uint64_t t0, t1, page;
	uint64_t hpa;	 /* of the page */
	pt_attr_t attr;	 /* PROBE_LOOK: all; of a CPU: the right it used */
	pt_attr_t marks; /* that it has set */
};

struct range_log {
	struct op *ops;
	struct probe *probes;
	unsigned op_count, probe_count;
};

/* --- tests/tsan/ranges.c: what all of them share --------------------------------------------- */

extern struct vm_space ranges_space;
extern struct range_log range_logs[RANGE_CPUS];
extern _Atomic uint64_t range_clock;

/* One thread, and the cursor that it has open. */
struct worker {
	unsigned cpu;
	uint64_t rng;
	struct vm_cursor c;
	uint64_t first, end; /* pages */
};

/* Not ordered: the sanitizer must not take it for a lock that everybody takes. */
static inline uint64_t ticket(void)
{
	return atomic_fetch_add_explicit(&range_clock, 1, memory_order_relaxed);
}

static inline uint64_t below(struct worker *w, uint64_t n)
{
	return random_below(&w->rng, n);
}

static inline gpa_t page_gpa(uint64_t page)
{
	return gpa(RANGE_BASE + page * PAGE_SIZE);
}

/* --- tests/tsan/ranges_calls.c -----------------------------------------------------------------
 */

/* Opens a cursor on some range, makes some calls, closes it, logs all: at most RANGE_CALLS. */
#define RANGE_CALLS 21
void ranges_under_cursor(struct worker *w);

/* --- tests/tsan/ranges_judge.c -----------------------------------------------------------------
 */

/* Replays the logs of all CPUs from an empty space on, and explains the probes. Fails the running
 * test where it cannot. Leaves the model as the space should be. */
void ranges_judge(const struct range_log logs[RANGE_CPUS]);

/* What the model says of a page: 0 for nothing, else its memory and *attr without marks. */
bool ranges_page(uint64_t page, uint64_t *hpa, pt_attr_t *attr);

/* Gives the judge's memory back. */
void ranges_forget(void);

#endif
