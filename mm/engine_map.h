/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Part of mm/engine.h: mapping many pages. One walk for each table, and a loop inside it that
 * loads, decides and stores; what is the same for all its entries is worked out before it.
 */
#ifndef MM_ENGINE_MAP_H
#define MM_ENGINE_MAP_H

#include "mm/engine_change.h"

/* The largest leaf level for va, address and length; 1 .. max_level. */
static inline unsigned largest_level(uint64_t va, uint64_t at, uint64_t len, unsigned max_level)
{
	unsigned level = max_level;

	while (level > 1 &&
	       (((va | at) & (pt_level_size(level) - 1)) != 0 || len < pt_level_size(level)))
		level--;
	return level;
}

/*
 * Fills slots of the cursor's node, one after the other, as long as they are in the node, in `len`,
 * and the flusher has room. Returns the bytes mapped.
 */
static uint64_t cursor_fill(struct pt_cursor *c, uint64_t at, uint64_t len, uint64_t bits,
			    struct flusher *flusher)
{
	uint64_t count = slots_within(c, len), size = pt_level_size(c->level), done, replaced = 0;
	struct frame *node = cursor_node(c);
	pt_entry_t *e = &pt_entries(node)[cursor_index(c)];

	for (done = 0; done < count; done++, at += size) {
		uint64_t old = pt_entry_load(&e[done]);

		if (old != 0 && flusher_full(flusher))
			break;
		pt_entry_store(&e[done], bits | fmt_address_bits(hpa(at), c->level));
		if (old != 0) {
			replaced++;
			retire(c, flusher, c->va + done * size, old, c->level);
		}
	}
	node->present = (uint16_t)(node->present + done - replaced);
	cursor_move(c, c->va + done * size);
	return done * size;
}

/*
 * Fills a whole table of `level` before anybody can see it, so that it needs no zeroing, and puts
 * it into the cursor's absent entry. Returns the bytes mapped; 0: no memory.
 */
static uint64_t cursor_fill_fresh(struct pt_cursor *c, uint64_t at, unsigned level, pt_attr_t attr)
{
	struct frame *child = node_alloc(c, c->pt, level, 0);
	uint64_t size = pt_level_size(level);

	if (child == NULL)
		return 0;
	node_fill(child, level, hpa(at), attr);
	entry_set_new(cursor_node(c), cursor_index(c), fmt_table(frame_hpa(child), level + 1));
	/* It was born locked; on the way back it is met and unlocked like all others. */
	cursor_move(c, c->va + size * PT_ENTRIES);
	return size * PT_ENTRIES;
}

/* Is the cursor at an absent entry that a whole table of `level` would fill? Then it stands in the
 * entry's node. */
static inline bool fresh_fits(struct pt_cursor *c, unsigned level, uint64_t len)
{
	uint64_t span = pt_level_size(level + 1);

	if (level >= c->guard || len < span || (c->va & (span - 1)) != 0)
		return false;
	return c->level == level + 1 && pt_entry_load(cursor_entry(c)) == 0;
}

/* Leaves of `level` for `len` bytes, as far as one table and the flusher go. 0: no memory. */
static uint64_t cursor_fill_some(struct pt_cursor *c, uint64_t at, uint64_t len, unsigned level,
				 pt_attr_t attr, struct flusher *flusher)
{
	uint64_t bits = fmt_leaf_bits(attr, level);

	if (c->level <= level && level < c->guard && (c->va & (pt_level_size(level + 1) - 1)) == 0)
		c->level = (uint8_t)(level + 1);
	if (c->level > level + 1 && cursor_seat(c, level + 1) != 0)
		return 0;
	if (fresh_fits(c, level, len))
		return cursor_fill_fresh(c, at, level, attr);
	if (cursor_seat(c, level) != 0)
		return 0;
	node_note_owner(cursor_node(c), attr);
	return cursor_fill(c, at, len, bits, flusher);
}

static int engine_map_range(struct pt_cursor *c, hpa_t at, uint64_t len, pt_attr_t attr,
			    unsigned max_level, struct flusher *flusher, uint64_t *done)
{
	REQUIRES(c->change);
	*done = 0;
	if (((at.hpa | len) & (PAGE_SIZE - 1)) != 0 || !fmt_attr_ok(attr))
		return -EINVAL;
	if (len > c->end - c->va || at.hpa > fmt_limits.hpa_limit ||
	    len > fmt_limits.hpa_limit - at.hpa)
		return -ERANGE;
	while (*done < len && !flusher_full(flusher)) {
		uint64_t left = len - *done, from = at.hpa + *done, filled;
		unsigned level = largest_level(c->va, from, left, max_level);
		/* Pages of this size only up to where a larger one starts to fit. */
		uint64_t up = pt_level_size(level + 1);

		if (level < max_level && left > up && ((c->va ^ from) & (up - 1)) == 0)
			left = round_up(c->va + 1, up) - c->va;
		filled = cursor_fill_some(c, from, left, level, attr, flusher);
		if (filled == 0)
			return -ENOMEM;
		*done += filled;
	}
	return 0;
}

#define FRAMES_AHEAD 16 /* slots asked for before they are looked at */

/* 4 KiB frames into the slots of the cursor's leaf table, as long as that is what comes. Returns
 * how many. */
static uint64_t cursor_fill_frames(struct pt_cursor *c, struct frame *const *frames, uint64_t n,
				   uint64_t bits, struct flusher *flusher)
{
	uint64_t count = slots_within(c, n * PAGE_SIZE), done, replaced = 0;
	struct frame *node = cursor_node(c);
	pt_entry_t *e = &pt_entries(node)[cursor_index(c)];

	for (done = 0; done < count; done++) {
		struct frame *f = frames[done];
		uint64_t old = pt_entry_load(&e[done]);

		__builtin_prefetch(frames[done + FRAMES_AHEAD < n ? done + FRAMES_AHEAD : done]);
		if (f->order != FRAME_ORDER_4K || (old != 0 && flusher_full(flusher)))
			break;
		INVARIANT(frame_refs(f) != 0);
		pt_entry_store(&e[done], bits | fmt_address_bits(frame_hpa(f), 1));
		if (old != 0) {
			replaced++;
			retire(c, flusher, c->va + done * PAGE_SIZE, old, 1);
		}
	}
	node->present = (uint16_t)(node->present + done - replaced);
	cursor_move(c, c->va + done * PAGE_SIZE);
	return done;
}

static int engine_map_frames(struct pt_cursor *c, struct frame *const *frames, uint64_t n,
			     pt_attr_t attr, struct flusher *flusher, uint64_t *done)
{
	uint64_t bits = fmt_leaf_bits(attr, 1);

	REQUIRES(c->change);
	for (*done = 0; *done < n && !flusher_full(flusher);) {
		struct frame *f = frames[*done];
		int err;

		REQUIRES(f->order % 9 == 0);
		if (f->order != FRAME_ORDER_4K || c->va == c->end) {
			err = engine_map(c, frame_hpa(f), pt_block_level(f), attr, flusher);
			*done += err == 0;
		} else {
			err = cursor_accept(c, frame_hpa(f), 1, attr);
			if (err == 0) {
				uint64_t fit = (c->end - c->va) / PAGE_SIZE, left = n - *done;

				node_note_owner(cursor_node(c), attr);
				*done += cursor_fill_frames(c, frames + *done,
							    left < fit ? left : fit, bits, flusher);
			}
		}
		if (err != 0)
			return err;
	}
	return 0;
}

#endif
