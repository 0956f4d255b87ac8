/* SPDX-License-Identifier: MPL-2.0 */
#include "mm/buddy.h"

#include "base/contract.h"
#include "mm/frame_inside.h"

struct buddy buddy = { .lock = SPINLOCK_INIT(LOCK_ALLOC) };

static inline void set_refs(struct frame *f, uint32_t refs)
{
	atomic_store_explicit(&f->refs, refs, memory_order_release);
}

static inline bool free_head(const struct frame *f, unsigned order)
{
	return atomic_load_explicit(&f->refs, memory_order_relaxed) == FRAME_FREE_HEAD + order;
}

static void list_push(struct frame *f, unsigned order)
{
	uint32_t pfn = (uint32_t)frame_pfn(f), next = buddy.first[order];

	f->link.next = next;
	f->link.prev = FRAME_NONE;
	atomic_store_explicit(&f->order, (uint8_t)order, memory_order_relaxed);
	set_refs(f, FRAME_FREE_HEAD + order);
	if (next != FRAME_NONE)
		frame_slot(next)->link.prev = pfn;
	buddy.first[order] = pfn;
}

void buddy_remove(struct frame *head, unsigned order)
{
	if (head->link.prev != FRAME_NONE)
		frame_slot(head->link.prev)->link.next = head->link.next;
	else
		buddy.first[order] = head->link.next;
	if (head->link.next != FRAME_NONE)
		frame_slot(head->link.next)->link.prev = head->link.prev;
}

/*
 * Is the block at frame number `pfn` free, as a whole? Metadata exists in pieces larger than 2 MiB
 * of RAM; above that size a buddy may lie in a hole of RAM and have no slot.
 */
static inline bool buddy_is_free(uint64_t pfn, unsigned order)
{
	if (order >= FRAME_ORDER_2M && frame_at(hpa(pfn << PAGE_SHIFT)) == NULL)
		return false;
	return pfn + (UINT64_C(1) << order) <= frame_limit && free_head(frame_slot(pfn), order);
}

/* Into the lists, joined with its free buddies. `head` is in none. */
static void join_and_push(struct frame *head, unsigned order)
{
	uint64_t pfn = frame_pfn(head);

	set_refs(head, FRAME_UNUSED);
	for (; order < FRAME_ORDER_1G; order++) {
		uint64_t other = pfn ^ (UINT64_C(1) << order);

		if (!buddy_is_free(other, order))
			break;
		buddy_remove(frame_slot(other), order);
		set_refs(frame_slot(other), FRAME_UNUSED);
		pfn &= ~(UINT64_C(1) << order);
	}
	list_push(frame_slot(pfn), order);
}

void buddy_free(struct frame *head, unsigned order)
{
	INVARIANT(!frame_refs_free_head(atomic_load_explicit(&head->refs, memory_order_relaxed)));
	buddy.free += PAGE_SIZE << order;
	join_and_push(head, order);
}

void buddy_settle(void)
{
	while (buddy.recents != 0)
		join_and_push(buddy.recent[--buddy.recents], FRAME_ORDER_2M);
}

unsigned buddy_order_at(uint64_t pfn, uint64_t left)
{
	unsigned order = pfn == 0 ? FRAME_ORDER_1G : (unsigned)__builtin_ctzll(pfn);

	if (order > FRAME_ORDER_1G)
		order = FRAME_ORDER_1G;
	while ((UINT64_C(1) << order) > left)
		order--;
	return order;
}

void buddy_free_range(uint64_t pfn, uint64_t end)
{
	while (pfn < end) {
		unsigned order = buddy_order_at(pfn, end - pfn);

		INVARIANT(atomic_load_explicit(&frame_slot(pfn)->refs, memory_order_relaxed) ==
			  FRAME_UNUSED);
		buddy.free += PAGE_SIZE << order;
		join_and_push(frame_slot(pfn), order);
		pfn += UINT64_C(1) << order;
	}
}

/* Of a block of order `from`, in no list, what is `order`; the rest goes back, half by half. */
static struct frame *cut(struct frame *f, unsigned from, unsigned order)
{
	while (from > order) {
		from--;
		list_push(f + (UINT64_C(1) << from), from);
	}
	atomic_store_explicit(&f->order, (uint8_t)order, memory_order_relaxed);
	set_refs(f, FRAME_BUSY);
	buddy.free -= PAGE_SIZE << order;
	return f;
}

static struct frame *take_listed(unsigned from, unsigned order)
{
	struct frame *f = frame_slot(buddy.first[from]);

	buddy_remove(f, from);
	return cut(f, from, order);
}

/* The lowest list from `first` on, below `end`, that is not empty; else `end`. */
static inline unsigned list_from(unsigned first, unsigned end)
{
	while (first < end && buddy.first[first] == FRAME_NONE)
		first++;
	return first;
}

struct frame *buddy_alloc_upto(unsigned least, unsigned *order)
{
	unsigned from;

	REQUIRES(buddy.ready);
	from = list_from(least, FRAME_ORDER_2M);
	if (from == FRAME_ORDER_2M && buddy.recents != 0)
		return cut(buddy.recent[--buddy.recents], FRAME_ORDER_2M, *order);
	if (from >= FRAME_ORDER_2M)
		from = list_from(from, FRAME_ORDERS);
	if (from == FRAME_ORDERS)
		return NULL;
	if (from < *order)
		*order = from;
	return take_listed(from, *order);
}

struct frame *buddy_alloc(unsigned order)
{
	return buddy_alloc_upto(order, &order);
}
