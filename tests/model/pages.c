/* SPDX-License-Identifier: MPL-2.0 */
#include <string.h>

#include "tests/model/model.h"

struct page pages[PAGES];

void pages_reset(void)
{
	memset(pages, 0, sizeof(pages));
}

void pages_map(uint64_t first, uint64_t count, uint64_t hpa, pt_attr_t attr)
{
	for (uint64_t i = 0; i < count; i++)
		pages[first + i] = (struct page){ hpa + i * PAGE_SIZE, attr, true };
}

void pages_unmap(uint64_t first, uint64_t count)
{
	memset(&pages[first], 0, count * sizeof(pages[0]));
}

uint64_t pages_mapped(uint64_t first, uint64_t count)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < count; i++)
		sum += pages[first + i].mapped;
	return sum;
}

bool pages_allow(uint64_t page, const struct mmu_page *t)
{
	const struct page *p = &pages[page];

	return p->mapped && t->hpa + (page_gpa(page).gpa - t->gpa) == p->hpa &&
	       (t->rights & ~p->attr & PT_RIGHTS) == 0 &&
	       t->mem == (p->attr & PT_MEM_MASK) >> PT_MEM_SHIFT &&
	       (!t->dirty || (p->attr & PT_DIRTY) != 0);
}

void pages_mark(const struct mmu_page *leaf, pt_attr_t marks)
{
	uint64_t first = gpa_page(leaf->gpa), end = gpa_page(leaf->gpa + leaf->size);

	if ((pages[first].attr & marks) == marks)
		return; /* one leaf, one set of marks */
	for (uint64_t page = first; page < end; page++)
		pages[page].attr |= marks;
}

static void expect_nothing(uint64_t first, uint64_t end)
{
	for (uint64_t page = first; page < end; page++)
		if (pages[page].mapped)
			fail("nothing is at page %llu, 0x%llx should be", (unsigned long long)page,
			     (unsigned long long)pages[page].hpa);
}

static void expect_leaf(uint64_t page, const struct pt_leaf *leaf)
{
	uint64_t at = leaf->hpa.hpa + (page_gpa(page).gpa - leaf->va);
	const struct page *p = &pages[page];

	if (!p->mapped || p->hpa != at || p->attr != leaf->attr)
		fail("page %llu is 0x%llx attributes 0x%x, should be %s0x%llx 0x%x",
		     (unsigned long long)page, (unsigned long long)at, leaf->attr,
		     p->mapped ? "" : "nothing, not ", (unsigned long long)p->hpa, p->attr);
}

/* What the cursor says. */
static void check_cursor(uint64_t first, uint64_t count)
{
	uint64_t end = first + count, page = first;
	struct vm_cursor c;
	struct pt_leaf leaf;

	if (vm_cursor_open(&c, &world.space, page_gpa(first), page_gpa(end), VM_READ) != 0) {
		fail("a cursor that only reads cannot be opened");
		return;
	}
	while (vm_find_next(&c, page_gpa(end).gpa - vm_cursor_at(&c).gpa)) {
		uint64_t found = gpa_page(vm_cursor_at(&c).gpa);

		expect_nothing(page, found);
		if (vm_query(&c, &leaf) != 0)
			fail("query fails where find_next has found something");
		for (page = found; page < end && page_gpa(page).gpa - leaf.va < leaf.size; page++)
			expect_leaf(page, &leaf);
		if (vm_jump(&c, page_gpa(page)) != 0)
			fail("jump within the range fails");
	}
	expect_nothing(page, end);
	if (vm_cursor_at(&c).gpa != page_gpa(end).gpa)
		fail("find_next does not stand at the end of what it searched");
	vm_cursor_close(&c);
}

/* What a CPU finds, and no less than it should. */
static void check_walk(uint64_t page, struct mmu_page *t)
{
	enum mmu_result result = mmu_walk(&world.mmu, page_gpa(page).gpa, 0, t);
	pt_attr_t rights = pages[page].attr & PT_RIGHTS;

	if (result == MMU_MALFORMED)
		fail("a CPU finds a malformed entry at page %llu", (unsigned long long)page);
	else if (result == MMU_DONE ? !pages_allow(page, t) || t->rights != rights
				    : pages[page].mapped && rights != 0)
		fail("a CPU finds 0x%llx rights %u at page %llu, should be 0x%llx %u",
		     (unsigned long long)t->hpa, t->rights, (unsigned long long)page,
		     (unsigned long long)pages[page].hpa, rights);
}

void pages_check(uint64_t first, uint64_t count)
{
	struct mmu_page t;

	check_cursor(first, count);
	/* One look at each leaf or empty slot; the cursor has looked at each page of it. */
	for (uint64_t page = first; page < first + count;) {
		check_walk(page, &t);
		page = gpa_page(t.gpa + t.size);
	}
}
