/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The buddy system behind the frame allocator. A block of order o at frame number p has its buddy
 * at p ^ (1 << o). Free and of the same order, the two become one block of order o + 1; what makes
 * a slot the head of a free block is its count word, FRAME_FREE_HEAD + o, so slots that are not RAM
 * never look like one.
 *
 *   first[0] first[1] ... first[9] ... first[18]    lists of heads, linked by frame number
 *                         recent[0 ... 7]           blocks of 2 MiB given back lately
 *
 * The recent ones are not joined with their buddies, and are the first to be handed out again:
 * splitting 1 GiB for a 2 MiB page and joining it again would cost nine steps each way. They are
 * joined when somebody wants more than 2 MiB and finds none (buddy_settle).
 *
 * Of mm/frame*.c. Called under `lock` unless it says otherwise.
 */
#ifndef MM_BUDDY_H
#define MM_BUDDY_H

#include "base/lock.h"
#include "mm/frame.h"

#define BUDDY_RECENT_MAX 8

extern struct buddy {
	struct spinlock lock;
	bool ready; /* the lists are set up */
	unsigned recents;
	struct frame *recent[BUDDY_RECENT_MAX]; /* FRAME_FREE_HEAD + FRAME_RECENT */
	uint32_t first[FRAME_ORDERS];		/* FRAME_NONE when empty */
	uint64_t total, free;			/* bytes: of all RAM we account for; in the lists */
} buddy;

/*
 * A block of exactly `order`, split off the smallest that will do: BUSY, its order set, its other
 * slots UNUSED. NULL: none.
 */
struct frame *buddy_alloc(unsigned order);

/*
 * A block of at least `least`, without splitting a larger one as long as that will do; it is cut to
 * *order if it is larger, and *order becomes its order if it is smaller. least <= *order, and not
 * above 2 MiB unless they are equal.
 */
struct frame *buddy_alloc_upto(unsigned least, unsigned *order);

/*
 * Exactly `n` frames that follow each other, the first at a multiple of `align`, a power of two:
 * blocks that are BUSY, the largest that make up the number. NULL: none found.
 */
struct frame *buddy_alloc_run(uint64_t n, uint64_t align);

/* Gives a block back; its head is anything but free, its other slots UNUSED. */
void buddy_free(struct frame *head, unsigned order);

/* The same for frame numbers [pfn, end) of any length; all slots UNUSED. */
void buddy_free_range(uint64_t pfn, uint64_t end);

/* Takes a free head out of its list; its count word is for the caller to change. */
void buddy_remove(struct frame *head, unsigned order);

/* The largest order that fits at frame number `pfn` with `left` frames, not 0. */
unsigned buddy_order_at(uint64_t pfn, uint64_t left);

/* The recent blocks: NULL when there is none; false when there is no room. No lock is held. */
static inline struct frame *buddy_recent_take(void)
{
	struct frame *f = NULL;

	spin_lock(&buddy.lock);
	if (buddy.recents != 0) {
		f = buddy.recent[--buddy.recents];
		atomic_store_explicit(&f->refs, FRAME_BUSY, memory_order_relaxed);
		buddy.free -= SIZE_2M;
	}
	spin_unlock(&buddy.lock);
	return f;
}

static inline bool buddy_recent_give(struct frame *head)
{
	bool room;

	spin_lock(&buddy.lock);
	room = buddy.recents < BUDDY_RECENT_MAX;
	if (room) {
		atomic_store_explicit(&head->refs, FRAME_FREE_HEAD + FRAME_RECENT,
				      memory_order_relaxed);
		buddy.recent[buddy.recents++] = head;
		buddy.free += SIZE_2M;
	}
	spin_unlock(&buddy.lock);
	return room;
}

/* Joins what was only recently given back. */
void buddy_settle(void);

/*
 * mm/frame_handle.c: takes frame numbers [first, end), not empty, in RAM, all UNUSED and of no
 * block: each gets `kind`, order 0, word 0, and the count word `refs`. All or nothing; takes the
 * lock itself. Errors as frame_from_unused.
 */
int frame_claim(uint64_t first, uint64_t end, enum frame_kind kind, uint32_t refs);

#endif
