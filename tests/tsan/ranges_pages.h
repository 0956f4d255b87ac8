/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What each page was at which time, by the replay of tests/tsan/ranges_judge.c, and what those who
 * looked or marked without a lock can have met.
 *
 * Of the marks two things are known. A page has those ("must") that somebody set, and had set
 * before the call, after all that erases them was over. And it has none if nobody set one in its
 * slot (a large page has one set of marks) since they were erased.
 */
#ifndef TESTS_TSAN_RANGES_PAGES_H
#define TESTS_TSAN_RANGES_PAGES_H

#include "tests/tsan/ranges.h"

/* A page from t0 on; the next version takes over by t1, in TLBs when its cursor closes. */
struct version {
	uint64_t t0, t1, closed;
	uint64_t hpa; /* attr 0 and hpa 0: nothing there */
	pt_attr_t attr;
	bool mapped;
};

struct erased {
	uint64_t t0, t1, closed; /* t0 0: not known */
};

struct page {
	struct version *version; /* the last one is what the page is now */
	unsigned count, room;
	pt_attr_t must;
	struct erased erased[2]; /* of PT_ACCESSED, of PT_DIRTY */
};

extern struct page range_pages[RANGE_PAGES];

/* All pages are absent; the marks that the probes set are sorted. */
void pages_begin(const struct range_log logs[RANGE_CPUS]);

/* What the page is now. */
static inline struct version *page_now(uint64_t page)
{
	return &range_pages[page].version[range_pages[page].count - 1];
}

/* The page is something else from `o` on. `fresh`: another mapping, its marks are not set. */
void page_set(uint64_t page, const struct op *o, bool mapped, uint64_t hpa, pt_attr_t attr,
	      bool fresh);

/* `o` has cleared these marks. */
void page_erase(uint64_t page, const struct op *o, pt_attr_t marks);

/* `o` has joined a slot: what any of its pages had, all have. */
void pages_join(const struct op *o);

/* A probe that sets marks is over. Called in the order of these ends. */
void page_marked(const struct probe *p);

/* Has mark `b` (0: accessed, 1: dirty) been set in the slot, ending after `since` and beginning
 * before `t1`? */
bool slot_marked(uint64_t slot, unsigned b, uint64_t since, uint64_t t1);

/* After the replay: some state of the page at its time must explain it. */
void page_explain(const struct probe *p, unsigned cpu);

#endif
