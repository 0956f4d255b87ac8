/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Unique frames: of one owner, who alone may change what the slot says of them. Nobody can get a
 * reference to one (frame_from_in_use answers -EACCES, frame_get panics). Any head may be unique,
 * of a single frame or of a block. What is said here of a list is in mm/frame_list.h.
 */
#ifndef MM_FRAME_UNIQUE_H
#define MM_FRAME_UNIQUE_H

#include "base/contract.h"
#include "mm/frame.h"

static inline bool frame_is_unique(const struct frame *f)
{
	return atomic_load_explicit(&f->refs, memory_order_acquire) == FRAME_UNIQUE;
}

/* As frame_from_unused, but unique at once. */
int frame_unique_from_unused(hpa_t at, enum frame_kind kind, struct frame **f);

/*
 * Makes the caller, who owns a reference, the only owner. 0, or -EBUSY when there are other
 * references: nothing changed, the caller still owns his. Only the count word changes. What former
 * holders did to the frame and its slot is visible afterwards.
 */
int frame_to_unique(struct frame *f);

/* The other way: the owner's claim becomes a reference. Panics unless `f` is unique, in no list. */
void frame_from_unique(struct frame *f);

/*
 * Makes it a frame of `kind`: the destructor of the old kind runs, once, while the frame is BUSY;
 * then its word is 0 and its bytes are booked as `kind`. Its memory stays as it is. Panics unless
 * `f` is unique, in no list. A destructor that gives the frame back, or fails, stops the machine.
 */
void frame_repurpose(struct frame *f, enum frame_kind kind);

/* Ends it, as the last frame_put would. Panics unless `f` is unique, in no list. */
void frame_unique_drop(struct frame *f);

/*
 * Ends it without giving it to the allocator: its destructor runs, it is UNUSED, and its bytes are
 * no part of the total any more; frame_from_unused finds it again. Panics unless `f` is unique, in
 * no list.
 */
void frame_reset_unused(struct frame *f);

/* As frame_into_raw and frame_from_raw, for a unique frame. */
hpa_t frame_unique_into_raw(struct frame *f);
struct frame *frame_unique_from_raw(hpa_t at);

/*
 * Eight bytes for the owner of a kind, other than a page-table node, whose slot is in use by the
 * engine. Written by the only owner; holders of a reference read what was written before the frame
 * became shared. Unspecified after frame_alloc.
 */
static inline uint64_t frame_word(const struct frame *f)
{
	return f->word;
}

static inline void frame_set_word(struct frame *f, uint64_t word)
{
	MUST(frame_is_unique(f), "frame 0x%llx: the word of a frame that others may see",
	     (unsigned long long)frame_hpa(f).hpa);
	f->word = word;
}

#endif
