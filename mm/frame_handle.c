/* SPDX-License-Identifier: MPL-2.0 */
/* Coming to own a frame by its address, and handing a reference over as one. */
#include "base/contract.h"
#include "base/err.h"
#include "mm/buddy.h"
#include "mm/frame.h"
#include "mm/frame_inside.h"
#include "mm/frame_stack.h"
#include "mm/frame_unique.h"

static enum frame_state state_of(uint32_t refs)
{
	switch (refs) {
	case FRAME_UNUSED:
		return FRAME_STATE_UNUSED;
	case FRAME_BUSY:
		return FRAME_STATE_BUSY;
	case FRAME_UNIQUE:
		return FRAME_STATE_UNIQUE;
	default:
		return refs < FRAME_FREE_HEAD ? FRAME_STATE_SHARED : FRAME_STATE_FREE;
	}
}

enum frame_state frame_state(const struct frame *f)
{
	enum frame_state state;
	struct frame *head;

	do {
		head = frame_block_around((struct frame *)f, true);
		if (head == NULL)
			return FRAME_STATE_UNUSED;
		state = state_of(atomic_load_explicit(&head->refs, memory_order_acquire));
	} while (state == FRAME_STATE_UNUSED); /* joined to a larger block since we found it */
	return head == f || state == FRAME_STATE_FREE ? state : FRAME_STATE_TAIL;
}

static int state_error(enum frame_state state)
{
	static const int errors[] = {
		[FRAME_STATE_UNUSED] = -ENOENT, [FRAME_STATE_BUSY] = -EBUSY,
		[FRAME_STATE_SHARED] = -EEXIST, [FRAME_STATE_UNIQUE] = -EACCES,
		[FRAME_STATE_FREE] = -EPERM,	[FRAME_STATE_TAIL] = -EEXIST,
	};

	return errors[state];
}

/* Alignment first, then the range. */
static int check_address(hpa_t at)
{
	if (!hpa_aligned(at, PAGE_SIZE))
		return -EINVAL;
	return frame_at(at) != NULL ? 0 : -ERANGE;
}

/*
 * Under the allocator's lock no frame comes to be UNUSED and no block comes to reach one that is:
 * what this finds stays so until the lock is given back. A block that begins before the range and
 * reaches into it reaches its first frame.
 */
static int check_unused(uint64_t first, uint64_t end)
{
	enum frame_state state = frame_state(frame_slot(first));

	for (uint64_t pfn = first; state == FRAME_STATE_UNUSED && pfn < end; pfn++)
		state = state_of(
			atomic_load_explicit(&frame_slot(pfn)->refs, memory_order_relaxed));
	return state == FRAME_STATE_UNUSED ? 0 : state_error(state);
}

int frame_claim(uint64_t first, uint64_t end, enum frame_kind kind, uint32_t refs)
{
	int err;

	spin_lock(&buddy.lock);
	err = check_unused(first, end);
	for (uint64_t pfn = first; err == 0 && pfn < end; pfn++) {
		struct frame *f = frame_slot(pfn);

		atomic_store_explicit(&f->refs, FRAME_BUSY, memory_order_relaxed);
		f->kind = (uint8_t)kind;
		f->present = 0;
		f->word = 0;
		atomic_store_explicit(&f->order, 0, memory_order_relaxed);
		atomic_store_explicit(&f->link.list, 0, memory_order_relaxed);
		atomic_store_explicit(&f->refs, refs, memory_order_release);
	}
	if (err == 0)
		buddy.total += (end - first) << PAGE_SHIFT;
	spin_unlock(&buddy.lock);
	if (err == 0)
		frame_book(frame_cpu(), kind, (int64_t)((end - first) << PAGE_SHIFT));
	return err;
}

static int claim_one(hpa_t at, enum frame_kind kind, uint32_t refs, struct frame **f)
{
	uint64_t pfn = at.hpa >> PAGE_SHIFT;
	int err = check_address(at);

	REQUIRES(kind != FRAME_FREE && kind < FRAME_KINDS);
	if (err == 0)
		err = frame_claim(pfn, pfn + 1, kind, refs);
	if (err == 0)
		*f = frame_slot(pfn);
	return err;
}

int frame_from_unused(hpa_t at, enum frame_kind kind, struct frame **f)
{
	return claim_one(at, kind, FRAME_BUSY + 1, f);
}

int frame_unique_from_unused(hpa_t at, enum frame_kind kind, struct frame **f)
{
	return claim_one(at, kind, FRAME_UNIQUE, f);
}

/* One more reference if there is one already; what the count word was. */
static uint32_t get_if_shared(struct frame *head)
{
	uint32_t refs = atomic_load_explicit(&head->refs, memory_order_relaxed);

	while (frame_refs_shared(refs)) {
		MUST(refs <= FRAME_REFS_MAX,
		     "frame 0x%llx: reference count 0x%x cannot take 1 more",
		     (unsigned long long)frame_hpa(head).hpa, refs);
		if (atomic_compare_exchange_weak_explicit(&head->refs, &refs, refs + 1,
							  memory_order_acquire,
							  memory_order_relaxed))
			break;
	}
	return refs;
}

/* `head` was that of `f`, with a count word that is not shared. 0: look again. */
static int in_use_error(struct frame *f, const struct frame *head, uint32_t refs)
{
	enum frame_state state = state_of(refs);

	/* What reads UNUSED may have been joined to a block, or is the tail of a free one. */
	if (state == FRAME_STATE_UNUSED || frame_head(f) != head)
		state = frame_state(f);
	return state == FRAME_STATE_SHARED || state == FRAME_STATE_TAIL ? 0 : state_error(state);
}

int frame_from_in_use(hpa_t at, struct frame **f)
{
	int err = check_address(at);

	while (err == 0) {
		struct frame *slot = frame_slot(at.hpa >> PAGE_SHIFT), *head = frame_head(slot);
		uint32_t refs = get_if_shared(head);

		if (!frame_refs_shared(refs)) {
			err = in_use_error(slot, head, refs);
			continue;
		}
		/* Blocks change their shape only in the hands of the one who holds them alone: now
		 * that we hold it, what it reaches is final. */
		if (frame_head(slot) == head) {
			*f = head;
			break;
		}
		frame_put(head);
	}
	return err;
}

hpa_t frame_into_raw(struct frame *f)
{
	REQUIRES(frame_refs_shared(atomic_load_explicit(&f->refs, memory_order_relaxed)));
	return frame_hpa(f);
}

struct frame *frame_from_raw(hpa_t at)
{
	struct frame *f = frame_slot(at.hpa >> PAGE_SHIFT);

	REQUIRES(check_address(at) == 0);
	REQUIRES(frame_refs_shared(atomic_load_explicit(&f->refs, memory_order_relaxed)));
	return f;
}

bool frame_kind_untyped(enum frame_kind kind)
{
	return kind == FRAME_GUEST;
}

void *frame_bytes(struct frame *f)
{
	MUST(frame_kind_untyped((enum frame_kind)f->kind), "frame 0x%llx: the bytes of a %s frame",
	     (unsigned long long)frame_hpa(f).hpa, frame_kind_name((enum frame_kind)f->kind));
	return hpa_ptr(frame_hpa(f));
}

void *frame_own_bytes(const struct frame *f)
{
	MUST(f->kind == FRAME_KERNEL, "frame 0x%llx: the bytes of a %s frame",
	     (unsigned long long)frame_hpa(f).hpa, frame_kind_name((enum frame_kind)f->kind));
	return hpa_ptr(frame_hpa(f));
}
