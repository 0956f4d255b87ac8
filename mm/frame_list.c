/* SPDX-License-Identifier: MPL-2.0 */
#include "mm/frame_list.h"

#include "base/contract.h"
#include "mm/frame_inside.h"
#include "mm/frame_unique.h"

_Atomic uint64_t frame_list_ids;

static inline uint64_t list_of(const struct frame *f)
{
	return atomic_load_explicit(&f->link.list, memory_order_relaxed);
}

static inline void set_list(struct frame *f, uint64_t id)
{
	atomic_store_explicit(&f->link.list, id, memory_order_relaxed);
}

void frame_list_init(struct frame_list *l)
{
	*l = (struct frame_list)FRAME_LIST_INIT;
}

void frame_list_drop(struct frame_list *l)
{
	struct frame *f;

	while ((f = frame_list_pop_front(l)) != NULL)
		frame_unique_drop(f);
}

/* The word beside the links means a list only as long as the frame is unique. */
static bool member(const struct frame_list *l, const struct frame *f)
{
	return l->id != 0 && frame_is_unique(f) && list_of(f) == l->id;
}

bool frame_list_contains(const struct frame_list *l, hpa_t at)
{
	const struct frame *f = frame_at(at);

	return f != NULL && hpa_aligned(at, PAGE_SIZE) && member(l, f);
}

static struct frame_cursor cursor_at(struct frame_list *l, uint32_t at)
{
	return (struct frame_cursor){ .list = l, .at = at };
}

struct frame_cursor frame_list_front(struct frame_list *l)
{
	return cursor_at(l, l->first);
}

struct frame_cursor frame_list_back(struct frame_list *l)
{
	return cursor_at(l, l->last);
}

struct frame_cursor frame_list_ghost(struct frame_list *l)
{
	return cursor_at(l, FRAME_NONE);
}

bool frame_list_at(struct frame_list *l, hpa_t at, struct frame_cursor *c)
{
	if (!frame_list_contains(l, at))
		return false;
	*c = cursor_at(l, (uint32_t)(at.hpa >> PAGE_SHIFT));
	return true;
}

struct frame *frame_cursor_frame(const struct frame_cursor *c)
{
	if (c->at == FRAME_NONE)
		return NULL;
	INVARIANT(member(c->list, frame_slot(c->at)));
	return frame_slot(c->at);
}

void frame_cursor_next(struct frame_cursor *c)
{
	const struct frame *f = frame_cursor_frame(c);

	c->at = f != NULL ? f->link.next : c->list->first;
}

void frame_cursor_prev(struct frame_cursor *c)
{
	const struct frame *f = frame_cursor_frame(c);

	c->at = f != NULL ? f->link.prev : c->list->last;
}

/* What leads forward to the frame after `prev`, and backward to the one before `next`. */
static uint32_t *link_after(struct frame_list *l, uint32_t prev)
{
	return prev != FRAME_NONE ? &frame_slot(prev)->link.next : &l->first;
}

static uint32_t *link_before(struct frame_list *l, uint32_t next)
{
	return next != FRAME_NONE ? &frame_slot(next)->link.prev : &l->last;
}

struct frame *frame_cursor_take(struct frame_cursor *c)
{
	struct frame *f = frame_cursor_frame(c);

	if (f == NULL)
		return NULL;
	c->at = f->link.next;
	*link_after(c->list, f->link.prev) = f->link.next;
	*link_before(c->list, f->link.next) = f->link.prev;
	c->list->size--;
	f->link.next = f->link.prev = FRAME_NONE;
	set_list(f, 0);
	return f;
}

static uint64_t new_id(void)
{
	uint64_t last = atomic_fetch_add_explicit(&frame_list_ids, 1, memory_order_relaxed);

	MUST(last < INT64_MAX, "no list id is left");
	return last + 1;
}

void frame_cursor_insert(struct frame_cursor *c, struct frame *f)
{
	struct frame_list *l = c->list;
	struct frame *at = frame_cursor_frame(c);
	uint32_t pfn = (uint32_t)frame_pfn(f), prev = at != NULL ? at->link.prev : l->last;

	MUST(frame_is_unique(f) && list_of(f) == 0, "frame 0x%llx: is shared, or in a list",
	     (unsigned long long)frame_hpa(f).hpa);
	if (l->id == 0)
		l->id = new_id();
	f->link.prev = prev;
	f->link.next = c->at;
	*link_after(l, prev) = pfn;
	*link_before(l, c->at) = pfn;
	l->size++;
	set_list(f, l->id);
}

void frame_list_push_front(struct frame_list *l, struct frame *f)
{
	struct frame_cursor c = frame_list_front(l);

	frame_cursor_insert(&c, f);
}

void frame_list_push_back(struct frame_list *l, struct frame *f)
{
	struct frame_cursor c = frame_list_ghost(l);

	frame_cursor_insert(&c, f);
}

struct frame *frame_list_pop_front(struct frame_list *l)
{
	struct frame_cursor c = frame_list_front(l);

	return frame_cursor_take(&c);
}

struct frame *frame_list_pop_back(struct frame_list *l)
{
	struct frame_cursor c = frame_list_back(l);

	return frame_cursor_take(&c);
}

/* Forward, each link back checked on the way; how many frames there are, at most one too many. */
static uint64_t audit_links(const struct frame_list *l, uint64_t *violations,
			    void (*report)(const char *text))
{
	uint64_t n = 0;
	uint32_t prev = FRAME_NONE, at;

	for (at = l->first; at != FRAME_NONE && n <= l->size; at = frame_slot(at)->link.next) {
		const struct frame *f = frame_at(hpa((uint64_t)at << PAGE_SHIFT));

		if (f == NULL || !member(l, f) || f->link.prev != prev) {
			frame_complain(report, violations, "list %llu is broken at frame 0x%x",
				       (unsigned long long)l->id, at);
			return n;
		}
		prev = at;
		n++;
	}
	if (l->last != prev)
		frame_complain(report, violations, "list %llu does not end in its last frame",
			       (unsigned long long)l->id);
	return n;
}

uint64_t frame_list_audit(const struct frame_list *l, void (*report)(const char *text))
{
	uint64_t violations = 0, members = 0;
	uint64_t linked = audit_links(l, &violations, report);

	for (uint64_t pfn = 0; pfn < frame_limit; pfn++)
		members += frame_list_contains(l, hpa(pfn << PAGE_SHIFT));
	if (linked != l->size || members != l->size)
		frame_complain(report, &violations,
			       "list %llu: size %llu, %llu frames linked, %llu say they are in it",
			       (unsigned long long)l->id, (unsigned long long)l->size,
			       (unsigned long long)linked, (unsigned long long)members);
	return violations;
}
