/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/tsan/ranges_pages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tsan/threads.h"

#define MARKS (PT_ACCESSED | PT_DIRTY)

struct page range_pages[RANGE_PAGES];

/* The marks that were set in each slot, by their first ticket; `last` is the latest end of all up
 * to here. By kind of mark. */
static struct marked {
	uint64_t t0, last;
} * marked[RANGE_SLOTS][2];
static unsigned marked_count[RANGE_SLOTS][2];

static void version_add(uint64_t page, const struct version *v)
{
	struct page *p = &range_pages[page];

	if (p->count == p->room) {
		p->room = p->room ? 2 * p->room : 4;
		p->version = realloc(p->version, p->room * sizeof(*v));
		if (p->version == NULL)
			abort();
	}
	p->version[p->count++] = *v;
}

void page_erase(uint64_t page, const struct op *o, pt_attr_t marks)
{
	struct page *p = &range_pages[page];

	p->must &= ~marks;
	for (unsigned b = 0; b < 2; b++)
		if ((marks & (PT_ACCESSED << b)) != 0)
			p->erased[b] = (struct erased){ o->t0, o->t1, o->closed };
}

void page_set(uint64_t page, const struct op *o, bool mapped, uint64_t hpa, pt_attr_t attr,
	      bool fresh)
{
	struct version v = { o->t0, o->t1, o->closed, hpa, attr, mapped };

	if (v.mapped != page_now(page)->mapped || v.hpa != page_now(page)->hpa ||
	    v.attr != page_now(page)->attr)
		version_add(page, &v);
	if (fresh)
		page_erase(page, o, MARKS);
}

void pages_join(const struct op *o)
{
	pt_attr_t must = 0;

	for (uint64_t i = 0; i < SLOT_PAGES; i++)
		must |= range_pages[o->at + i].must;
	for (uint64_t i = 0; i < SLOT_PAGES; i++) {
		range_pages[o->at + i].must = must;
		range_pages[o->at + i].erased[0].t0 = range_pages[o->at + i].erased[1].t0 = 0;
	}
}

bool slot_marked(uint64_t slot, unsigned b, uint64_t since, uint64_t t1)
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

static bool marks_something(const struct probe *p)
{
	return p->kind != PROBE_LOOK && p->found;
}

void page_marked(const struct probe *p)
{
	struct page *page = &range_pages[p->page];

	if (!marks_something(p))
		return;
	for (unsigned b = 0; b < 2; b++) {
		const struct erased *e = &page->erased[b];

		if (p->t0 > (p->kind == PROBE_HIT ? e->closed : e->t1))
			page->must |= p->marks & (PT_ACCESSED << b);
	}
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

void page_explain(const struct probe *p, unsigned cpu)
{
	static const char *const names[] = { "look", "mark", "walk", "hit" };
	const struct page *page = &range_pages[p->page];
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

void pages_begin(const struct range_log logs[RANGE_CPUS])
{
	uint64_t probes = 0;

	for (unsigned cpu = 0; cpu < RANGE_CPUS; cpu++)
		probes += logs[cpu].probe_count;
	memset(range_pages, 0, sizeof(range_pages));
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

bool ranges_page(uint64_t page, uint64_t *hpa, pt_attr_t *attr)
{
	*hpa = page_now(page)->hpa;
	*attr = page_now(page)->attr;
	return page_now(page)->mapped;
}

void ranges_forget(void)
{
	for (uint64_t page = 0; page < RANGE_PAGES; page++)
		free(range_pages[page].version);
	for (unsigned i = 0; i < RANGE_SLOTS * 2; i++)
		free(marked[i / 2][i % 2]);
}
