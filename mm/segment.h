/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Segments: frames that follow each other, all of one kind, each a frame of its own to which the
 * segment owns one reference. Offsets and lengths are in frames. An empty segment owns nothing, and
 * no slot is looked at for its sake: whatever its numbers are, they may be somebody else's memory.
 * (ostd.md 1.4, S1-S6)
 *
 * A segment that was consumed (split, dropped, made raw) is empty afterwards. Offsets that are out
 * of bounds are misuse, and panic.
 */
#ifndef MM_SEGMENT_H
#define MM_SEGMENT_H

#include "mm/frame.h"

struct segment {
	uint64_t first, end; /* frame numbers, half-open */
};

static inline uint64_t segment_frames(const struct segment *s)
{
	return s->end - s->first;
}

static inline uint64_t segment_size(const struct segment *s)
{
	return segment_frames(s) << PAGE_SHIFT;
}

static inline hpa_t segment_hpa(const struct segment *s)
{
	return hpa(s->first << PAGE_SHIFT);
}

/*
 * Takes [start, end), where no frame has an owner, as frame_from_unused does. All or nothing: when
 * it fails every slot is as it was, and the allocator has not heard of it. An empty range gives an
 * empty segment. 0, or with *out untouched: -EINVAL not page-aligned, or start above end; -ERANGE
 * not all in RAM; -EBUSY, -EEXIST, -EACCES, -EPERM for what the first frame with an owner is.
 */
int segment_from_unused(hpa_t start, hpa_t end, enum frame_kind kind, struct segment *out);

/*
 * `n` frames from the allocator, the first at a multiple of `align` frames; `flags` as for
 * frame_alloc. 0, or with *out untouched: -EINVAL n is 0, or align no power of two; -ENOMEM no
 * memory of that shape.
 */
int segment_alloc(uint64_t n, uint64_t align, enum frame_kind kind, unsigned flags,
		  struct segment *out);

/* A frame, and the caller's reference to it. Not for blocks. */
struct segment segment_from_frame(struct frame *f);

/* Cuts *s at `offset`, from 0 to its length: *s keeps what is before, the rest is returned. */
struct segment segment_split(struct segment *s, uint64_t offset);

/* One more reference to each of the frames [from, to) of it; possibly none. from <= to. */
struct segment segment_slice(const struct segment *s, uint64_t from, uint64_t to);
struct segment segment_clone(const struct segment *s);

/* Takes the first frame out, with its reference. NULL: none is left. */
struct frame *segment_next(struct segment *s);

/* Gives all references back, in ascending order. */
void segment_drop(struct segment *s);

/* As frame_into_raw and frame_from_raw: the addresses own the references meanwhile. */
void segment_into_raw(struct segment *s, hpa_t *start, hpa_t *end);
struct segment segment_from_raw(hpa_t start, hpa_t end);

/* Is it of `kind`? An empty one is of every kind. */
bool segment_is(const struct segment *s, enum frame_kind kind);

/* Its bytes, segment_size of them, if it is untyped (frame_bytes); NULL when it is empty. */
void *segment_bytes(const struct segment *s);

#endif
