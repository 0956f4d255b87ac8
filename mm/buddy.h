/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The buddy system behind the frame allocator. A block of order o at frame number p has its buddy
 * at p ^ (1 << o). Free and of the same order, the two become one block of order o + 1; what makes
 * a slot the head of a free block is its count word, FRAME_FREE_HEAD + o, so slots that are not RAM
 * never look like one.
 *
 *   first[0] first[1] ... first[9] ... first[18]    lists of heads, linked by frame number
 *                         first[FRAME_RECENT]       a few blocks of 2 MiB given back lately
 *
 * The recent ones are not joined with their buddies, and are the first to be handed out again:
 * splitting 1 GiB for a 2 MiB page and joining it again would cost nine steps each way. They are
 * joined when somebody wants more than 2 MiB and finds none (buddy_settle).
 *
 * Of mm/frame*.c. Everything here is called under `lock`.
 */
#ifndef MM_BUDDY_H
#define MM_BUDDY_H

#include "base/lock.h"
#include "mm/frame.h"

#define BUDDY_LISTS	 (FRAME_ORDERS + 1)
#define BUDDY_RECENT_MAX 8

extern struct buddy {
	struct spinlock lock;
	bool ready;		     /* the lists are set up */
	unsigned recent;	     /* blocks in first[FRAME_RECENT] */
	uint32_t first[BUDDY_LISTS]; /* FRAME_NONE when empty */
	uint64_t total, free;	     /* bytes: of all RAM we account for; in the lists */
} buddy;

/*
 * A block of exactly `order`, split off the smallest that will do: BUSY, its order set, its other
 * slots UNUSED. NULL: none.
 */
struct frame *buddy_alloc(unsigned order);

/* As buddy_alloc for the largest order up to *order that can be had without splitting a larger
 * block than needed; *order says which it is. */
struct frame *buddy_alloc_upto(unsigned *order);

/* Gives a block back; its head is anything but free, its other slots UNUSED. */
void buddy_free(struct frame *head, unsigned order);

/* The same for frame numbers [pfn, end) of any length; all slots UNUSED. */
void buddy_free_range(uint64_t pfn, uint64_t end);

/* The largest order that fits at frame number `pfn` with `left` frames, not 0. */
unsigned buddy_order_at(uint64_t pfn, uint64_t left);

/* Joins what was only recently given back. */
void buddy_settle(void);

/*
 * mm/frame_handle.c: takes frame numbers [first, end) that are all UNUSED and of no block: each
 * gets `kind`, order 0, word 0, and the count word `refs`. All or nothing; takes the lock itself.
 * Errors as frame_from_unused.
 */
int frame_claim(uint64_t first, uint64_t end, enum frame_kind kind, uint32_t refs);

#endif
