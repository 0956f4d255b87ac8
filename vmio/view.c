/* SPDX-License-Identifier: MPL-2.0 */
#include "vmio/view.h"

#include "base/contract.h"

void view_init(struct vm_view *v, uint64_t first, uint64_t end)
{
	REQUIRES(first <= end);
	v->n = first != end;
	v->at[0] = (struct view_range){ first, end };
}

/* The first range that ends after `at`; v->n when none does. */
static unsigned range_after(const struct vm_view *v, uint64_t at)
{
	unsigned low = 0, high = v->n;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (v->at[middle].end > at)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

bool view_has(const struct vm_view *v, uint64_t first, uint64_t end)
{
	unsigned i = range_after(v, first);

	REQUIRES(first <= end);
	return first == end || (i < v->n && v->at[i].first <= first && v->at[i].end >= end);
}

/* Puts `count` (0 to 2) ranges in the place of `gone` ones at i. False: no room. */
static bool replace(struct vm_view *v, unsigned i, unsigned gone, const struct view_range *with,
		    unsigned count)
{
	if (v->n - gone + count > VIEW_RANGES)
		return false;
	if (count > gone)
		for (unsigned k = v->n; k-- > i + gone;)
			v->at[k + count - gone] = v->at[k];
	else
		for (unsigned k = i + gone; k < v->n; k++)
			v->at[k + count - gone] = v->at[k];
	for (unsigned k = 0; k < count; k++)
		v->at[i + k] = with[k];
	v->n = v->n - gone + count;
	return true;
}

bool view_split(struct vm_view *v, uint64_t first, uint64_t end)
{
	unsigned i = range_after(v, first), count = 0;
	struct view_range rest[2];

	if (!view_has(v, first, end))
		return false;
	if (first == end)
		return true;
	if (v->at[i].first < first)
		rest[count++] = (struct view_range){ v->at[i].first, first };
	if (end < v->at[i].end)
		rest[count++] = (struct view_range){ end, v->at[i].end };
	return replace(v, i, 1, rest, count);
}

bool view_join(struct vm_view *v, uint64_t first, uint64_t end)
{
	unsigned i = range_after(v, first), gone = 0;
	struct view_range with = { first, end };

	REQUIRES(first <= end);
	if (first == end)
		return true;
	if (i < v->n && v->at[i].first < end)
		return false;
	if (i < v->n && v->at[i].first == end) {
		with.end = v->at[i].end;
		gone = 1;
	}
	if (i > 0 && v->at[i - 1].end == first) {
		with.first = v->at[--i].first;
		gone++;
	}
	return replace(v, i, gone, &with, 1);
}

bool view_equal(const struct vm_view *a, const struct vm_view *b)
{
	if (a->n != b->n)
		return false;
	for (unsigned i = 0; i < a->n; i++)
		if (a->at[i].first != b->at[i].first || a->at[i].end != b->at[i].end)
			return false;
	return true;
}
