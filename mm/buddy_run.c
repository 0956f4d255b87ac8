/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Runs of frames of any length, out of blocks that are powers of two. First the cheap way: a block
 * that is large enough, its end given back. When there is none, a run may still lie across blocks:
 *
 *   free   |  0  |      2      |             3             | 1 |          blocks that follow
 *                    ├────────── n frames, aligned ──────────┤
 *
 * A run of n > 2^(k-1) frames holds a whole aligned block of 2^(k-2), and so, as buddies are always
 * joined, it holds or lies in a free block of at least that order. So it is enough to look around
 * each free block of order k - 2 and up.
 */
#include "mm/buddy.h"

#include "base/contract.h"
#include "mm/frame_inside.h"

#define TRIES 64 /* blocks of each order: the lock is held meanwhile */
#define NONE  UINT64_MAX

/* The smallest order of a block that holds `n` frames. */
static unsigned order_for(uint64_t n)
{
	return n == 1 ? 0 : 64 - (unsigned)__builtin_clzll(n - 1);
}

/* The free block that holds frame `pfn`, its order in *order; NULL: it is not free. */
static struct frame *free_block(uint64_t pfn, unsigned *order)
{
	struct frame *head;
	uint32_t refs;

	if (frame_at(hpa(pfn << PAGE_SHIFT)) == NULL)
		return NULL;
	head = frame_block_around(frame_slot(pfn), true);
	if (head == NULL)
		return NULL;
	refs = atomic_load_explicit(&head->refs, memory_order_relaxed);
	if (!frame_refs_free_head(refs))
		return NULL;
	*order = frame_refs_free_order(refs);
	return head;
}

/* Where `n` frames can start in the free memory around `pfn`; NONE. */
static uint64_t fit_around(uint64_t pfn, uint64_t n, uint64_t align)
{
	uint64_t start = pfn, end = pfn, most = n + align;
	struct frame *block;
	unsigned order;

	while (end - pfn < most && (block = free_block(end, &order)) != NULL)
		end = frame_pfn(block) + (UINT64_C(1) << order);
	while (end - start < most && start != 0 && (block = free_block(start - 1, &order)) != NULL)
		start = frame_pfn(block);
	start = round_up(start, align);
	return start < end && end - start >= n ? start : NONE;
}

static uint64_t search(uint64_t n, uint64_t align)
{
	unsigned order = order_for(n);

	order = order > 2 ? order - 2 : 0;
	for (order = order < FRAME_ORDERS ? order : FRAME_ORDER_1G; order < FRAME_ORDERS; order++) {
		uint32_t pfn = buddy.first[order];

		for (unsigned tries = 0; pfn != FRAME_NONE && tries < TRIES; tries++) {
			uint64_t start = fit_around(pfn, n, align);

			if (start != NONE)
				return start;
			pfn = frame_slot(pfn)->link.next;
		}
	}
	return NONE;
}

/* Makes [first, end), of no list any more, BUSY in blocks, and gives back what lies around it. */
static struct frame *keep(uint64_t before, uint64_t first, uint64_t end, uint64_t after)
{
	for (uint64_t pfn = first; pfn < end;) {
		unsigned order = buddy_order_at(pfn, end - pfn);
		struct frame *f = frame_slot(pfn);

		atomic_store_explicit(&f->order, (uint8_t)order, memory_order_relaxed);
		atomic_store_explicit(&f->refs, FRAME_BUSY, memory_order_release);
		pfn += UINT64_C(1) << order;
	}
	buddy_free_range(before, first);
	buddy_free_range(end, after);
	return frame_slot(first);
}

/* Takes the free blocks that hold any of [first, end) out of their lists. */
static struct frame *carve(uint64_t first, uint64_t end)
{
	uint64_t before = first, pfn = first;

	while (pfn < end) {
		unsigned order = 0;
		struct frame *block = free_block(pfn, &order);

		INVARIANT(block != NULL);
		buddy_remove(block, order);
		atomic_store_explicit(&block->refs, FRAME_UNUSED, memory_order_relaxed);
		buddy.free -= PAGE_SIZE << order;
		if (pfn == first)
			before = frame_pfn(block);
		pfn = frame_pfn(block) + (UINT64_C(1) << order);
	}
	return keep(before, first, end, pfn);
}

struct frame *buddy_alloc_run(uint64_t n, uint64_t align)
{
	unsigned order = order_for(n > align ? n : align);
	struct frame *f = order <= FRAME_ORDER_1G ? buddy_alloc(order) : NULL;
	uint64_t first;

	if (f != NULL) {
		first = frame_pfn(f);
		return keep(first, first, first + n, first + (UINT64_C(1) << order));
	}
	/* No run is longer than RAM: nothing below wraps. */
	if (n > frame_limit || align > frame_limit)
		return NULL;
	buddy_settle();
	first = search(n, align);
	return first != NONE ? carve(first, first + n) : NULL;
}
