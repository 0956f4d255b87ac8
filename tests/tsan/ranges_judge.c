/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The judge of tests/tsan/ranges.h. One thread, after the others have ended:
 *
 *   1. all calls in the order of their tickets, on a model of pages: each must have told what the
 *      model says; each change of a page becomes a version of it
 *   2. each probe against the versions that its page had at its time
 *
 * Of the marks two things are known. A page has those ("must") that somebody set, and had set
 * before the call, after all that erases them was over. And it has none if nobody set one in its
 * slot (a large page has one set of marks) since they were erased ("clean").
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tests/tsan/ranges.h"
#include "tests/tsan/threads.h"

#define MARKS (PT_ACCESSED | PT_DIRTY)

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

static struct page {
	struct version *version; /* the last one is what the page is now */
	unsigned count, room;
	pt_attr_t must;
	struct erased erased[2]; /* of PT_ACCESSED, of PT_DIRTY */
} pages[RANGE_PAGES];

static bool large[RANGE_SLOTS];
/* It may have fallen apart: map_new of a small page was refused there. The next look tells. */
static bool maybe_small[RANGE_SLOTS];

/* The marks that were set in each slot, by their first ticket; `last` is the latest end of all up
 * to here. By kind of mark. */
static struct marked {
	uint64_t t0, last;
} * marked[RANGE_SLOTS][2];
static unsigned marked_count[RANGE_SLOTS][2];

static void wrong(const char *what, const struct op *o, uint64_t page)
{
	static const char *const names[OP_KINDS] = {
		"query",      "next",  "find_next", "map",     "map_new",      "map_untracked",
		"map_frames", "unmap", "take_next", "protect", "protect_next", "clear_marks_next",
		"collapse"
	};
	const struct page *p = &pages[page < RANGE_PAGES ? page : 0];
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

static struct version *now(uint64_t page)
{
	return &pages[page].version[pages[page].count - 1];
}

static void version_add(uint64_t page, const struct version *v)
{
	struct page *p = &pages[page];

	if (p->count == p->room) {
		p->room = p->room ? 2 * p->room : 4;
		p->version = realloc(p->version, p->room * sizeof(*v));
		if (p->version == NULL)
			abort();
	}
	p->version[p->count++] = *v;
}

static void erase(uint64_t page, const struct op *o, pt_attr_t marks)
{
	struct page *p = &pages[page];

	p->must &= ~marks;
	for (unsigned b = 0; b < 2; b++)
		if ((marks & (PT_ACCESSED << b)) != 0)
			p->erased[b] = (struct erased){ o->t0, o->t1, o->closed };
}

/* The page is something else from here on. `fresh`: another mapping, its marks are not set. */
static void set(uint64_t page, const struct op *o, bool mapped, uint64_t hpa, pt_attr_t attr,
		bool fresh)
{
	struct version v = { o->t0, o->t1, o->closed, hpa, attr, mapped };

	if (v.mapped != now(page)->mapped || v.hpa != now(page)->hpa || v.attr != now(page)->attr)
		version_add(page, &v);
	if (fresh)
		erase(page, o, MARKS);
}

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
		set(page, o, false, 0, 0, true);
	}
}

static uint64_t mapped_in(uint64_t first, uint64_t end)
{
	uint64_t n = 0;

	for (; first < end; first++)
		n += now(first)->mapped;
	return n;
}

static uint64_t first_mapped(uint64_t first, uint64_t end)
{
	while (first < end && !now(first)->mapped)
		first++;
	return first;
}

/* --- marks ------------------------------------------------------------------------------------ */

/* Has a mark of kind `b` been set in the slot, ending after `since` and beginning before `t1`? */
static bool slot_marked(uint64_t slot, unsigned b, uint64_t since, uint64_t t1)
{
	unsigned low = 0, high = marked_count[slot][b];

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (marked[slot][b][mid].t0 < t1)
			low = mid + 1;
		else
			high = mid;
	}
	return low != 0 && marked[slot][b][low - 1].last > since;
}

static void check_marks(const struct op *o, uint64_t first, uint64_t end)
{
	for (uint64_t page = first; page < end; page++)
		EXPECT((pages[page].must & ~o->seen.attr) == 0, o, page);
	for (unsigned b = 0; b < 2; b++) {
		uint64_t since = pages[first].erased[b].t0;

		if ((o->seen.attr & (PT_ACCESSED << b)) != 0 && since != 0)
			EXPECT(slot_marked(first / SLOT_PAGES, b, since, o->t1), o, first);
	}
}

static void mark_set(const struct probe *p)
{
	struct page *page = &pages[p->page];

	for (unsigned b = 0; b < 2; b++) {
		const struct erased *e = &page->erased[b];

		if (p->t0 > (p->kind == PROBE_HIT ? e->closed : e->t1))
			page->must |= p->marks & (PT_ACCESSED << b);
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

/* What was seen in a slot says whether it is, or had to be, in small pages. */
static void learn_size(const struct op *o, uint64_t page)
{
	if (maybe_small[page / SLOT_PAGES] && large[page / SLOT_PAGES])
		large[page / SLOT_PAGES] = o->seen.size == SIZE_2M;
	maybe_small[page / SLOT_PAGES] = false;
}

/* The mapping that was seen is that of `page`, `size` pages large. */
static void check_leaf(const struct op *o, uint64_t page, uint64_t size)
{
	const struct version *v = now(page);

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
		learn_size(o, o->at);
		check_leaf(o, o->at, size_at(o->at));
	}
	EXPECT((o->seen.attr != 0) == now(o->at)->mapped, o, o->at);
}

static void do_next(const struct op *o)
{
	uint64_t end = o->at + o->len, page = first_mapped(o->at, end), after = end;

	EXPECT((o->err == 0) == (page < end), o, page);
	if (o->err == 0 && page < end) {
		if (o->kind == OP_NEXT) {
			learn_size(o, page);
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
	if (o->err == -EEXIST && o->len == 1) {
		EXPECT(now(o->at)->mapped, o, o->at);
		maybe_small[o->at / SLOT_PAGES] = true;
	}
	if (o->err != 0)
		return;
	EXPECT(o->after == o->at + o->len, o, o->at);
	EXPECT(o->kind != OP_MAP_NEW || mapped_in(o->at, o->after) == 0, o, o->at);
	split(o->at, o->after);
	if (o->len == SLOT_PAGES)
		large[o->at / SLOT_PAGES] = true;
	for (uint64_t i = 0; i < o->len; i++)
		set(o->at + i, o, true, o->hpa[0] + i * PAGE_SIZE, o->attr | PT_TRACKED, true);
}

static void do_map_frames(const struct op *o)
{
	EXPECT(o->after == o->at + o->pages, o, o->at);
	split(o->at, o->after);
	for (uint64_t i = 0; i < o->pages; i++)
		set(o->at + i, o, true, o->hpa[i], o->attr | PT_TRACKED, true);
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
		set(page, o, true, hpa, o->attr, true);
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
		learn_size(o, page);
		check_leaf(o, page, size_within(page, o->at, end));
	}
	EXPECT(o->table || page < end, o, page);
	unmap(o, leaf_first(o), leaf_end(o));
}

static void protect_page(const struct op *o, uint64_t page)
{
	const struct version *v = now(page);
	pt_attr_t mask = PT_RIGHTS | PT_MEM_MASK;

	if (v->mapped)
		set(page, o, true, v->hpa, (v->attr & ~mask) | (o->attr & mask), false);
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
	learn_size(o, page);
	size = size_within(page, o->at, end);
	check_leaf(o, page, size);
	EXPECT(o->after == page + size, o, page);
	split(page, page + size);
	for (uint64_t i = page; i < page + size; i++) {
		if (o->kind == OP_PROTECT_NEXT)
			protect_page(o, i);
		else
			erase(i, o, o->attr);
	}
}

static bool uniform(uint64_t first)
{
	const struct version *v = now(first);

	if (!v->mapped || v->hpa % SIZE_2M != 0)
		return false;
	for (uint64_t i = 1; i < SLOT_PAGES; i++) {
		const struct version *n = now(first + i);

		if (!n->mapped || n->hpa != v->hpa + i * PAGE_SIZE || n->attr != v->attr)
			return false;
	}
	return true;
}

static void do_collapse(const struct op *o)
{
	uint64_t slot = o->at / SLOT_PAGES;
	pt_attr_t must = 0;

	EXPECT(o->err == 0 || o->err == -ENOENT || o->err == -EBUSY, o, o->at);
	if (maybe_small[slot])
		large[slot] &= o->err == -ENOENT;
	maybe_small[slot] = false;
	EXPECT((uniform(o->at) && !large[slot]) == (o->err != -ENOENT), o, o->at);
	EXPECT(o->err != -EBUSY || (now(o->at)->attr & PT_TRACKED) != 0, o, o->at);
	if (o->err != 0)
		return;
	EXPECT(o->after == o->at + SLOT_PAGES, o, o->at);
	large[slot] = true;
	for (uint64_t i = 0; i < SLOT_PAGES; i++)
		must |= pages[o->at + i].must;
	/* What any had, all have. */
	for (uint64_t i = 0; i < SLOT_PAGES; i++) {
		pages[o->at + i].must = must;
		pages[o->at + i].erased[0].t0 = pages[o->at + i].erased[1].t0 = 0;
	}
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

/* --- probes ----------------------------------------------------------------------------------- */

static bool explains(const struct version *v, const struct probe *p)
{
	if (p->kind == PROBE_LOOK)
		return p->found == v->mapped &&
		       (!p->found || (p->hpa == v->hpa && p->attr == v->attr));
	if (p->kind == PROBE_MARK)
		return p->found == v->mapped;
	if (!p->found)
		return !v->mapped || (v->attr & p->attr) == 0;
	return v->mapped && p->hpa == v->hpa && (v->attr & p->attr) != 0;
}

/* Some state of the page at its time must explain it. */
static void explain(const struct probe *p, unsigned cpu)
{
	static const char *const names[] = { "look", "mark", "walk", "hit" };
	const struct page *page = &pages[p->page];
	unsigned i = page->count;
	char text[200];

	while (i > 0 && page->version[i - 1].t0 > p->t1)
		i--;
	for (; i > 0; i--) {
		const struct version *next = &page->version[i];

		if (i < page->count && (p->kind == PROBE_HIT ? next->closed : next->t1) < p->t0)
			break;
		if (explains(&page->version[i - 1], p))
			return;
	}
	snprintf(text, sizeof(text),
		 "CPU %u: %s of page %llu, tickets %llu..%llu, %s 0x%llx attr 0x%x: never so", cpu,
		 names[p->kind], (unsigned long long)p->page, (unsigned long long)p->t0,
		 (unsigned long long)p->t1, p->found ? "found" : "found nothing,",
		 (unsigned long long)p->hpa, p->attr);
	check_failed(text, __FILE__, __LINE__);
}

static bool marks_something(const struct probe *p)
{
	return p->kind != PROBE_LOOK && p->found;
}

static int by_t0(const void *a, const void *b)
{
	const struct marked *x = a, *y = b;

	return x->t0 < y->t0 ? -1 : x->t0 > y->t0;
}

static void collect_marks(const struct range_log *log)
{
	for (unsigned i = 0; i < log->probe_count; i++) {
		const struct probe *p = &log->probes[i];
		uint64_t slot = p->page / SLOT_PAGES;

		for (unsigned b = 0; b < 2 && marks_something(p); b++)
			if ((p->marks & (PT_ACCESSED << b)) != 0)
				marked[slot][b][marked_count[slot][b]++] = (struct marked){ p->t0,
											    p->t1 };
	}
}

static void sort_marks(struct marked *m, unsigned count)
{
	qsort(m, count, sizeof(*m), by_t0);
	for (unsigned i = 1; i < count; i++)
		if (m[i].last < m[i - 1].last)
			m[i].last = m[i - 1].last;
}

static void begin(const struct range_log logs[RANGE_CPUS])
{
	uint64_t probes = 0;

	for (unsigned cpu = 0; cpu < RANGE_CPUS; cpu++)
		probes += logs[cpu].probe_count;
	memset(large, 0, sizeof(large));
	memset(maybe_small, 0, sizeof(maybe_small));
	memset(pages, 0, sizeof(pages));
	for (uint64_t page = 0; page < RANGE_PAGES; page++)
		version_add(page, &(struct version){ 0 });
	for (unsigned i = 0; i < RANGE_SLOTS * 2; i++) {
		marked_count[i / 2][i % 2] = 0;
		marked[i / 2][i % 2] = malloc(probes * sizeof(struct marked));
		if (marked[i / 2][i % 2] == NULL)
			abort();
	}
	for (unsigned cpu = 0; cpu < RANGE_CPUS; cpu++)
		collect_marks(&logs[cpu]);
	for (unsigned i = 0; i < RANGE_SLOTS * 2; i++)
		sort_marks(marked[i / 2][i % 2], marked_count[i / 2][i % 2]);
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

	begin(logs);
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

			if (marks_something(p))
				mark_set(p);
		}
	}
	for (unsigned cpu = 0; cpu < RANGE_CPUS; cpu++)
		for (unsigned i = 0; i < logs[cpu].probe_count; i++)
			explain(&logs[cpu].probes[i], cpu);
}

bool ranges_page(uint64_t page, uint64_t *hpa, pt_attr_t *attr)
{
	*hpa = now(page)->hpa;
	*attr = now(page)->attr;
	return now(page)->mapped;
}

void ranges_forget(void)
{
	for (uint64_t page = 0; page < RANGE_PAGES; page++)
		free(pages[page].version);
	for (unsigned i = 0; i < RANGE_SLOTS * 2; i++)
		free(marked[i / 2][i % 2]);
}
