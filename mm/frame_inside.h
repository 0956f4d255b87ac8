/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What the files of mm/ that own the slots share about the count word. Nobody else includes this.
 *
 * A tail reads UNUSED; whether it belongs to a block is found by looking at the heads around it,
 * one after the other, while blocks change their shape (mm/frame_block.c):
 *
 *      observer, at a frame of part 3            CPU that splits the block
 *      its slot: UNUSED
 *                                                part 3 := in use, part 2, part 1
 *                                                frame_reshaped + 1
 *                                                head's order := that of part 0
 *      the head: does not reach
 *      frame_reshaped changed: look again
 *      its slot: in use, or part 3's head is
 *
 * The count rises after the parts are in use and before the head stops reaching them. So whoever
 * read it after it rose finds a part, and whoever read it before sees that it rose. Joining needs
 * no such care: the head reaches everything before the first part ceases to be one.
 */
#ifndef MM_FRAME_INSIDE_H
#define MM_FRAME_INSIDE_H

#include "mm/frame.h"
#include "mm/frame_stack.h"

extern _Atomic uint32_t frame_reshaped;

/* Somebody's: shared, unique, or between the two ends of its life. */
static inline bool frame_refs_in_use(uint32_t refs)
{
	return refs != FRAME_UNUSED && refs < FRAME_FREE_HEAD;
}

static inline bool frame_refs_shared(uint32_t refs)
{
	return refs > FRAME_BUSY && refs <= FRAME_REFS_MAX + 1;
}

static inline bool frame_refs_free_head(uint32_t refs)
{
	return refs >= FRAME_FREE_HEAD && refs <= FRAME_FREE_HEAD + FRAME_RECENT;
}

/* Of a free head: the order of the block. */
static inline unsigned frame_refs_free_order(uint32_t refs)
{
	unsigned list = refs - FRAME_FREE_HEAD;

	return list == FRAME_RECENT ? FRAME_ORDER_2M : list;
}

/*
 * The head of the block that `f` belongs to, `f` itself unless it reads UNUSED, NULL for none. With
 * `free` free blocks count as well: then the answer is exact under the allocator's lock only.
 */
struct frame *frame_block_around(struct frame *f, bool free);

/*
 * Makes `parts` neighbours of `order`, each a head of `kind` whose count word is `refs`, out of the
 * block that starts at `head`, is nobody else's, and reaches them all. Parts become heads before
 * the block shrinks, the first one last.
 */
void frame_block_cut(struct frame *head, uint64_t parts, unsigned order, enum frame_kind kind,
		     uint32_t refs);

/* Are all of frame numbers [first, end), not empty, in RAM? */
bool frame_range_at(uint64_t first, uint64_t end);

/* Tells `report` one violation more. */
__attribute__((format(printf, 3, 4))) void
frame_complain(void (*report)(const char *text), uint64_t *violations, const char *fmt, ...);

extern void (*frame_destructors[FRAME_KINDS])(struct frame *f);

/* Runs the destructor of its kind. The frame is BUSY. */
void frame_destroy(struct frame *f);

/* As frame_finish, which it calls unless there is a short way. The frame is BUSY. */
static inline void frame_end(struct frame *f)
{
	if (frame_destructors[f->kind] != NULL || !frame_release_fast(f))
		frame_finish(f);
}

#endif
