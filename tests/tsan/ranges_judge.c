/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The judge of tests/tsan/ranges.h. One thread, after the others have ended:
 *
 *   1. all calls in the order of their tickets, on a model of pages: each must have told what the
 *      model says; each change of a page becomes a version of it (tests/tsan/ranges_pages.h)
 *   2. each probe against the versions that its page had at its time
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tests/tsan/ranges_pages.h"
#include "tests/tsan/threads.h"

#define MARKS (PT_ACCESSED | PT_DIRTY)

static bool large[RANGE_SLOTS];

static void wrong(const char *what, const struct op *o, uint64_t page)
{
	static const char *const names[OP_KINDS] = {
		"query",      "next",  "find_next", "map",     "map_new",      "map_untracked",
		"map_frames", "unmap", "take_next", "protect", "protect_next", "clear_marks_next",
		"collapse"
	};
	const struct page *p = &range_pages[page < RANGE_PAGES ? page : 0];
	const struct version *v = &p->version[p->count - 1];
	char text[256];

	snprintf(text, sizeof(text),
		 "%s: %s at %llu+%llu = %d, tickets %llu..%llu: page %llu is 0x%llx attr 0x%x %s, "
		 "seen 0x%llx+0x%llx attr 0x%x",
		 what, names[o->kind], (unsigned long long)o->at, (unsigned long long)o->len,
		 o->err, (unsigned long long)o->t0, (unsigned long long)o->t1,
		 (unsigned long long)page, (unsigned long long)v->hpa, v->attr,
		 large[page / SLOT_PAGES % RANGE_SLOTS] ? "large" : "small",
		 (unsigned long long)o->seen.hpa.hpa, (unsigned long long)o->seen.size,
		 o->seen.attr);
	check_failed(text, __FILE__, __LINE__);
}

#define EXPECT(cond, o, page)                    \
	do {                                     \
		if (!(cond))                     \
			wrong(#cond, (o), page); \
	} while (0)

/* Large pages that a change of [first, end) covers in part fall apart. */
static void split(uint64_t first, uint64_t end)
{
	for (uint64_t slot = 0; slot < RANGE_SLOTS; slot++) {
		uint64_t a = slot * SLOT_PAGES, b = a + SLOT_PAGES;

		if (first < end && first < b && a < end && (a < first || end < b))
			large[slot] = false;
	}
}

static void unmap(const struct op *o, uint64_t first, uint64_t end)
{
	split(first, end);
	for (uint64_t page = first; page < end; page++) {
		if (page % SLOT_PAGES == 0)
			large[page / SLOT_PAGES] = false;
		page_set(page, o, false, 0, 0, true);
	}
}

static uint64_t mapped_in(uint64_t first, uint64_t end)
{
	uint64_t n = 0;

	for (; first < end; first++)
		n += page_now(first)->mapped;
	return n;
}

static uint64_t first_mapped(uint64_t first, uint64_t end)
{
	while (first < end && !page_now(first)->mapped)
		first++;
	return first;
}

/* --- marks ------------------------------------------------------------------------------------ */

static void check_marks(const struct op *o, uint64_t first, uint64_t end)
{
	for (uint64_t page = first; page < end; page++)
		EXPECT((range_pages[page].must & ~o->seen.attr) == 0, o, page);
	for (unsigned b = 0; b < 2; b++) {
		uint64_t since = range_pages[first].erased[b].t0;

		if ((o->seen.attr & (PT_ACCESSED << b)) != 0 && since != 0)
			EXPECT(slot_marked(first / SLOT_PAGES, b, since, o->t1), o, first);
	}
}

/* --- calls ------------------------------------------------------------------------------------ */

static uint64_t leaf_first(const struct op *o)
{
	return (o->seen.va - RANGE_BASE) / PAGE_SIZE;
}

static uint64_t leaf_end(const struct op *o)
{
	return leaf_first(o) + o->seen.size / PAGE_SIZE;
}

/* The mapping that was seen is that of `page`, `size` pages large. */
static void check_leaf(const struct op *o, uint64_t page, uint64_t size)
{
	const struct version *v = page_now(page);

	EXPECT(v->mapped, o, page);
	EXPECT(leaf_first(o) == round_down(page, size) && o->seen.size == size * PAGE_SIZE, o,
	       page);
	if (leaf_end(o) > RANGE_PAGES || page < leaf_first(o) || page >= leaf_end(o))
		return;
	EXPECT(o->seen.hpa.hpa + (page - leaf_first(o)) * PAGE_SIZE == v->hpa, o, page);
	EXPECT((o->seen.attr & ~MARKS) == v->attr, o, page);
	check_marks(o, leaf_first(o), leaf_end(o));
}

static uint64_t size_at(uint64_t page)
{
	return large[page / SLOT_PAGES] ? SLOT_PAGES : 1;
}

/* The same when what reaches out of [first, end) is split off. */
static uint64_t size_within(uint64_t page, uint64_t first, uint64_t end)
{
	uint64_t slot = round_down(page, SLOT_PAGES);

	return slot >= first && slot + SLOT_PAGES <= end ? size_at(page) : 1;
}

static void do_query(const struct op *o)
{
	EXPECT(o->err == 0 && o->after == o->at, o, o->at);
	if (o->seen.attr != 0) {
		check_leaf(o, o->at, size_at(o->at));
	}
	EXPECT((o->seen.attr != 0) == page_now(o->at)->mapped, o, o->at);
}

static void do_next(const struct op *o)
{
	uint64_t end = o->at + o->len, page = first_mapped(o->at, end), after = end;

	EXPECT((o->err == 0) == (page < end), o, page);
	if (o->err == 0 && page < end) {
		if (o->kind == OP_NEXT) {
			check_leaf(o, page, size_at(page));
		}
		after = o->kind == OP_FIND_NEXT ? page
						: round_down(page, size_at(page)) + size_at(page);
	}
	EXPECT(o->after == (after < end ? after : end), o, page);
}

static void do_map(const struct op *o)
{
	/* For a large page it may be an empty table. */
	if (o->err == -EEXIST && o->len == 1)
		EXPECT(page_now(o->at)->mapped, o, o->at);
	if (o->err != 0)
		return;
	EXPECT(o->after == o->at + o->len, o, o->at);
	EXPECT(o->kind != OP_MAP_NEW || mapped_in(o->at, o->after) == 0, o, o->at);
	split(o->at, o->after);
	if (o->len == SLOT_PAGES)
		large[o->at / SLOT_PAGES] = true;
	for (uint64_t i = 0; i < o->len; i++)
		page_set(o->at + i, o, true, o->hpa[0] + i * PAGE_SIZE, o->attr | PT_TRACKED, true);
}

static void do_map_frames(const struct op *o)
{
	EXPECT(o->after == o->at + o->pages, o, o->at);
	split(o->at, o->after);
	for (uint64_t i = 0; i < o->pages; i++)
		page_set(o->at + i, o, true, o->hpa[i], o->attr | PT_TRACKED, true);
}

/* With the largest pages that fit. */
static void do_map_untracked(const struct op *o)
{
	EXPECT(o->after <= o->at + o->len && (o->err != 0 || o->after == o->at + o->len), o, o->at);
	split(o->at, o->after);
	for (uint64_t page = o->at; page < o->after; page++) {
		uint64_t hpa = o->hpa[0] + (page - o->at) * PAGE_SIZE;

		if (page % SLOT_PAGES == 0 && page + SLOT_PAGES <= o->after)
			large[page / SLOT_PAGES] = hpa % SIZE_2M == 0;
		page_set(page, o, true, hpa, o->attr, true);
	}
}

static void do_unmap(const struct op *o)
{
	EXPECT(o->err == 0 ? o->after == o->at + o->len : o->err == -ENOMEM, o, o->at);
	EXPECT(o->pages == mapped_in(o->at, o->after), o, o->at);
	unmap(o, o->at, o->after);
}

static void do_take_next(const struct op *o)
{
	uint64_t end = o->at + o->len, page = first_mapped(o->at, end);

	if (o->err == -ENOENT)
		EXPECT(page == end && o->after == end, o, page);
	if (o->err != 0)
		return;
	EXPECT(leaf_first(o) >= o->at && leaf_end(o) <= end && leaf_first(o) <= page, o, page);
	EXPECT(o->after == leaf_end(o), o, page);
	if (leaf_end(o) > RANGE_PAGES)
		return;
	EXPECT(o->pages == mapped_in(leaf_first(o), leaf_end(o)), o, page);
	if (!o->table && page < end) {
		check_leaf(o, page, size_within(page, o->at, end));
	}
	EXPECT(o->table || page < end, o, page);
	unmap(o, leaf_first(o), leaf_end(o));
}

static void protect_page(const struct op *o, uint64_t page)
{
	const struct version *v = page_now(page);
	pt_attr_t mask = PT_RIGHTS | PT_MEM_MASK;

	if (v->mapped)
		page_set(page, o, true, v->hpa, (v->attr & ~mask) | (o->attr & mask), false);
}

static void do_protect(const struct op *o)
{
	EXPECT(o->err == 0 ? o->after == o->at + o->len : o->err == -ENOMEM, o, o->at);
	EXPECT(o->pages == mapped_in(o->at, o->after), o, o->at);
	split(o->at, o->after);
	for (uint64_t page = o->at; page < o->after; page++)
		protect_page(o, page);
}

/* protect_next and clear_marks_next. */
static void do_one(const struct op *o)
{
	uint64_t end = o->at + o->len, page = first_mapped(o->at, end), size;

	if (o->err == -ENOENT)
		EXPECT(page == end && o->after == end, o, page);
	else
		EXPECT(page < end, o, o->at);
	if (o->err != 0 || page >= end)
		return;
	size = size_within(page, o->at, end);
	check_leaf(o, page, size);
	EXPECT(o->after == page + size, o, page);
	split(page, page + size);
	for (uint64_t i = page; i < page + size; i++) {
		if (o->kind == OP_PROTECT_NEXT)
			protect_page(o, i);
		else
			page_erase(i, o, o->attr);
	}
}

static bool uniform(uint64_t first)
{
	const struct version *v = page_now(first);

	if (!v->mapped || v->hpa % SIZE_2M != 0)
		return false;
	for (uint64_t i = 1; i < SLOT_PAGES; i++) {
		const struct version *n = page_now(first + i);

		if (!n->mapped || n->hpa != v->hpa + i * PAGE_SIZE || n->attr != v->attr)
			return false;
	}
	return true;
}

static void do_collapse(const struct op *o)
{
	uint64_t slot = o->at / SLOT_PAGES;

	EXPECT(o->err == 0 || o->err == -ENOENT || o->err == -EBUSY, o, o->at);
	EXPECT((uniform(o->at) && !large[slot]) == (o->err != -ENOENT), o, o->at);
	EXPECT(o->err != -EBUSY || (page_now(o->at)->attr & PT_TRACKED) != 0, o, o->at);
	if (o->err != 0)
		return;
	EXPECT(o->after == o->at + SLOT_PAGES, o, o->at);
	large[slot] = true;
	pages_join(o);
}

static void replay(const struct op *o)
{
	static void (*const kinds[OP_KINDS])(const struct op *) = {
		[OP_QUERY] = do_query,		 [OP_NEXT] = do_next,
		[OP_FIND_NEXT] = do_next,	 [OP_MAP] = do_map,
		[OP_MAP_NEW] = do_map,		 [OP_MAP_UNTRACKED] = do_map_untracked,
		[OP_MAP_FRAMES] = do_map_frames, [OP_UNMAP] = do_unmap,
		[OP_TAKE_NEXT] = do_take_next,	 [OP_PROTECT] = do_protect,
		[OP_PROTECT_NEXT] = do_one,	 [OP_CLEAR_NEXT] = do_one,
		[OP_COLLAPSE] = do_collapse,
	};

	kinds[o->kind](o);
}

/* The next event of a log: a call counts when it begins, a mark when it has been set. */
struct place {
	unsigned op, probe;
};

static uint64_t op_time(const struct range_log *log, const struct place *p)
{
	return p->op < log->op_count ? log->ops[p->op].t0 : UINT64_MAX;
}

static uint64_t probe_time(const struct range_log *log, const struct place *p)
{
	return p->probe < log->probe_count ? log->probes[p->probe].t1 : UINT64_MAX;
}

void ranges_judge(const struct range_log logs[RANGE_CPUS])
{
	struct place at[RANGE_CPUS] = { 0 };

	memset(large, 0, sizeof(large));
	pages_begin(logs);
	for (;;) {
		uint64_t first = UINT64_MAX;
		unsigned who = 0;

		for (unsigned cpu = 0; cpu < RANGE_CPUS; cpu++) {
			uint64_t a = op_time(&logs[cpu], &at[cpu]);
			uint64_t b = probe_time(&logs[cpu], &at[cpu]);

			if ((a < b ? a : b) < first) {
				first = a < b ? a : b;
				who = cpu;
			}
		}
		if (first == UINT64_MAX)
			break;
		if (op_time(&logs[who], &at[who]) == first) {
			replay(&logs[who].ops[at[who].op++]);
		} else {
			const struct probe *p = &logs[who].probes[at[who].probe++];

			page_marked(p);
		}
	}
	for (unsigned cpu = 0; cpu < RANGE_CPUS; cpu++)
		for (unsigned i = 0; i < logs[cpu].probe_count; i++)
			page_explain(&logs[cpu].probes[i], cpu);
}
