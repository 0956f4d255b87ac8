/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The frame allocator: a buddy system over all RAM, with a small stack of single frames for each
 * CPU in front of it. All state is in the frames' metadata: a free page is never touched.
 *
 *   order 0 1 2 ... 9 (2 MiB) ... 18 (1 GiB)
 *
 * Memory may come back in other portions than it was handed out in: a block that was split, frame
 * by frame (frame_split), the frames of a contiguous allocation each on its own. Every function may
 * be called on any CPU; none sleeps; errors leave everything as it was.
 */
#ifndef MM_FRAME_ALLOC_H
#define MM_FRAME_ALLOC_H

#include "base/addr.h"
#include "mm/frame.h"
#include "mm/frame_stack.h"

/* Flags of an allocation. */
#define ALLOC_ZERO 1u /* the memory reads as zero */

/* What the allocations do when the short way does not lead there. */
struct frame *frame_alloc_slowly(unsigned order, enum frame_kind kind, unsigned flags,
				 uint32_t refs);
/* Is it this allocation that shall fail? (frame_alloc_fail_after) */
bool frame_alloc_fails(void);

/* As frame_alloc; the count word is `refs`: one reference, or unique. Inlined for its short way. */
static inline struct frame *frame_alloc_as(unsigned order, enum frame_kind kind, unsigned flags,
					   uint32_t refs)
{
	REQUIRES(order <= FRAME_ORDER_1G && kind != FRAME_FREE);
	if (CHECKED && frame_alloc_fails())
		return NULL;
	if (__builtin_expect(order == 0, 1)) {
		struct frame_cpu *c = frame_cpu();
		struct frame_stack *s = (flags & ALLOC_ZERO) != 0 ? &c->zeroed : &c->any;

		if (__builtin_expect(s->count != 0, 1))
			return frame_hand_out(c, frame_stack_pop(s), kind, refs);
	}
	return frame_alloc_slowly(order, kind, flags, refs);
}

/*
 * One block of 2^order frames (order <= FRAME_ORDER_1G), aligned to its size, tracked, with one
 * reference that the caller owns; give it back with frame_put. NULL: no memory of that shape; what
 * other CPUs keep in their stacks, at most 512 KiB each, is not looked at.
 */
static inline struct frame *frame_alloc(unsigned order, enum frame_kind kind, unsigned flags)
{
	return frame_alloc_as(order, kind, flags, FRAME_BUSY + 1);
}

/*
 * The same, unique and in no list (mm/frame_unique.h); give it back with frame_unique_drop. The
 * pair needs no locked instruction: nobody else can get hold of the frame meanwhile.
 */
static inline struct frame *frame_alloc_unique(unsigned order, enum frame_kind kind, unsigned flags)
{
	return frame_alloc_as(order, kind, flags, FRAME_UNIQUE);
}

/*
 * `n` frames that follow each other, the first at a multiple of `align` frames (a power of two);
 * each is a frame of its own with one reference that the caller owns. Returns the first one. NULL:
 * no memory of that shape; when free memory is in very many small pieces, such a run may exist and
 * not be found. Precondition: n and align are not 0.
 */
struct frame *frame_alloc_contiguous(uint64_t n, uint64_t align, enum frame_kind kind,
				     unsigned flags);

/*
 * Adds [start, start + bytes) to the free memory; both page-aligned, in RAM, every slot UNUSED.
 * Used at boot, and for reclaiming boot-time memory. Not while a block in it is in use.
 */
void frame_alloc_add(hpa_t start, uint64_t bytes);

/* The allocator's end of frame_put, for what did not fit into the stack: `head` is BUSY. */
void frame_alloc_release(struct frame *head);

/* Zeroes up to `n` free frames ahead of time, for ALLOC_ZERO of order 0: above all page-table
 * nodes. Called when idle. Returns how many it added. */
unsigned frame_alloc_prezero(unsigned n);

/* Gives the frames in this CPU's stacks back to the buddy system and joins all that can be. */
void frame_alloc_drain(void);

/* Bytes by use. A snapshot: exact when nobody allocates meanwhile. */
struct frame_account {
	uint64_t total;		       /* all RAM that has metadata */
	uint64_t by_kind[FRAME_KINDS]; /* bytes in use by kind; FRAME_FREE is what is free */
	uint64_t zeroed;	       /* part of FRAME_FREE that is known to be zero */
	uint64_t largest_free;	       /* size of the largest free block */
};
void frame_account(struct frame_account *out);

/*
 * Books `bytes` as used by `kind` (negative: no longer). For memory that is not from frame_alloc:
 * what is booked as FRAME_IMAGE, FRAME_META and FRAME_RESERVED counts in the total.
 */
void frame_account_add(enum frame_kind kind, int64_t bytes);

/*
 * Tests only: makes the allocation that is `skip` calls away fail, once. skip < 0 switches it off.
 * Costs nothing in an unchecked build, where it does nothing.
 */
void frame_alloc_fail_after(int64_t skip);

/* Tests only: forgets all memory, as before the first frame_alloc_add. */
void frame_alloc_forget(void);

/*
 * Walks all free lists, this CPU's stacks and all slots. Returns the number of violations, each
 * told to `report`. Others may allocate and free meanwhile.
 */
uint64_t frame_audit(void (*report)(const char *text));

#endif
