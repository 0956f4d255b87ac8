/* SPDX-License-Identifier: MPL-2.0 */
#include "mm/segment.h"

#include "base/contract.h"
#include "base/err.h"
#include "mm/buddy.h"
#include "mm/frame_alloc.h"
#include "mm/frame_inside.h"

static void make_empty(struct segment *s)
{
	s->first = s->end;
}

int segment_from_unused(hpa_t start, hpa_t end, enum frame_kind kind, struct segment *out)
{
	struct segment s = { .first = start.hpa >> PAGE_SHIFT, .end = end.hpa >> PAGE_SHIFT };
	int err = 0;

	REQUIRES(kind != FRAME_FREE && kind < FRAME_KINDS);
	if (((start.hpa | end.hpa) & (PAGE_SIZE - 1)) != 0 || s.first > s.end)
		return -EINVAL;
	if (segment_frames(&s) != 0) {
		if (!frame_range_at(s.first, s.end))
			return -ERANGE;
		err = frame_claim(s.first, s.end, kind, FRAME_BUSY + 1);
	}
	if (err == 0)
		*out = s;
	return err;
}

int segment_alloc(uint64_t n, uint64_t align, enum frame_kind kind, unsigned flags,
		  struct segment *out)
{
	struct frame *f;

	if (n == 0 || align == 0 || (align & (align - 1)) != 0)
		return -EINVAL;
	f = frame_alloc_contiguous(n, align, kind, flags);
	if (f == NULL)
		return -ENOMEM;
	*out = (struct segment){ .first = frame_pfn(f), .end = frame_pfn(f) + n };
	return 0;
}

struct segment segment_from_frame(struct frame *f)
{
	uint64_t pfn = frame_pfn(f);

	REQUIRES(frame_state(f) == FRAME_STATE_SHARED && frame_size(f) == PAGE_SIZE);
	return (struct segment){ .first = pfn, .end = pfn + 1 };
}

struct segment segment_split(struct segment *s, uint64_t offset)
{
	struct segment rest = *s;

	MUST(offset <= segment_frames(s), "offset %llu of %llu frames", (unsigned long long)offset,
	     (unsigned long long)segment_frames(s));
	rest.first = s->end = s->first + offset;
	return rest;
}

struct segment segment_slice(const struct segment *s, uint64_t from, uint64_t to)
{
	MUST(from <= to && to <= segment_frames(s), "offsets %llu to %llu of %llu frames",
	     (unsigned long long)from, (unsigned long long)to,
	     (unsigned long long)segment_frames(s));
	for (uint64_t pfn = s->first + from; pfn < s->first + to; pfn++)
		frame_get(frame_slot(pfn));
	return (struct segment){ .first = s->first + from, .end = s->first + to };
}

struct segment segment_clone(const struct segment *s)
{
	return segment_slice(s, 0, segment_frames(s));
}

struct frame *segment_next(struct segment *s)
{
	return segment_frames(s) != 0 ? frame_slot(s->first++) : NULL;
}

void segment_drop(struct segment *s)
{
	struct frame *f;

	while ((f = segment_next(s)) != NULL)
		frame_put(f);
}

void segment_into_raw(struct segment *s, hpa_t *start, hpa_t *end)
{
	*start = segment_hpa(s);
	*end = hpa(s->end << PAGE_SHIFT);
	make_empty(s);
}

struct segment segment_from_raw(hpa_t start, hpa_t end)
{
	struct segment s = { .first = start.hpa >> PAGE_SHIFT, .end = end.hpa >> PAGE_SHIFT };

	REQUIRES(((start.hpa | end.hpa) & (PAGE_SIZE - 1)) == 0 && s.first <= s.end);
	for (uint64_t pfn = s.first; CHECKED && pfn < s.end; pfn++) {
		const struct frame *f = frame_from_raw(hpa(pfn << PAGE_SHIFT));

		REQUIRES(frame_size(f) == PAGE_SIZE && f->kind == frame_slot(s.first)->kind);
	}
	return s;
}

bool segment_is(const struct segment *s, enum frame_kind kind)
{
	return segment_frames(s) == 0 || frame_slot(s->first)->kind == kind;
}

void *segment_bytes(const struct segment *s)
{
	return segment_frames(s) != 0 ? frame_bytes(frame_slot(s->first)) : NULL;
}
