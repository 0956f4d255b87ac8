/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Part of mm/engine.h: one mapping at a time. What is taken out goes to the caller's
 * flusher (mm/flusher.h), which holds it back; nothing is freed here.
 */
#ifndef MM_ENGINE_CHANGE_H
#define MM_ENGINE_CHANGE_H

#include "mm/engine_move.h"

/*
 * Marks a subtree that has just left the tree as stray and unlocks it; whoever waits for one of its
 * locks will start again. Returns the 4 KiB pages that it mapped.
 */
static uint64_t detach(struct pt *pt, struct frame *node)
{
	unsigned level = node_level(node), left = node->present;
	pt_entry_t *entries = pt_entries(node);
	uint64_t pages = level == 1 ? left : 0;

	for (unsigned i = 0; level > 1 && left != 0; i++) {
		uint64_t raw = pt_entry_load(&entries[i]);

		if (raw == 0)
			continue;
		left--;
		if (!entry_is_table(raw))
			pages += pt_level_size(level) / PAGE_SIZE;
		else
			pages += detach(pt, node_at(raw, level));
	}
	atomic_fetch_sub_explicit(&pt->nodes, 1, memory_order_relaxed);
	node->lock.user[1] = 1;
	rw_write_unlock(&node->lock);
	return pages;
}

/* Books what the entry `raw` of `level` for va was, already out of the tree. Returns its 4 KiB
 * pages. */
static inline uint64_t retire(struct pt_cursor *c, struct flusher *flusher, uint64_t va,
			      uint64_t raw, unsigned level)
{
	flusher_issue(flusher, round_down(va, pt_level_size(level)), pt_level_size(level));
	if (entry_is_table(raw)) {
		struct frame *node = node_at(raw, level);
		uint64_t pages = detach(c->pt, node);

		flusher_hold_table(flusher, node);
		return pages;
	}
	if (leaf_tracked(raw, level))
		flusher_hold(flusher, leaf_frame(raw, level));
	return pt_level_size(level) / PAGE_SIZE;
}

/* Down to `level` along va, making or splitting what is in the way. -ENOMEM: stands where it got
 * to. What was made stays: an empty table maps nothing, a split page maps what it did. */
static int cursor_descend_to(struct pt_cursor *c, unsigned level)
{
	while (c->level > level) {
		uint64_t raw = pt_entry_load(cursor_entry(c));

		if (!entry_is_table(raw)) {
			struct frame *child;

			if (raw != 0) {
				child = node_split(c, cursor_node(c), cursor_index(c), c->level);
			} else {
				child = node_alloc(c, c->pt, c->level - 1, ALLOC_ZERO);
				if (child != NULL)
					entry_set_new(cursor_node(c), cursor_index(c),
						      fmt_table(frame_hpa(child), c->level));
			}
			if (child == NULL)
				return -ENOMEM;
			raw = fmt_table(frame_hpa(child), c->level);
		}
		cursor_descend(c, raw);
	}
	return 0;
}

/* To the node of `level` on the way to va. Precondition: level <= guard. */
static inline int cursor_seat(struct pt_cursor *c, unsigned level)
{
	INVARIANT(level <= c->guard);
	if (c->level < level)
		c->level = (uint8_t)level;
	return cursor_descend_to(c, level);
}

/* Does a page larger than `level` cover the cursor? */
static inline bool cursor_covered(struct pt_cursor *c, unsigned level)
{
	while (c->level > level) {
		uint64_t raw = pt_entry_load(cursor_entry(c));

		if (!entry_is_table(raw))
			return raw != 0;
		cursor_descend(c, raw);
	}
	return false;
}

/* Is it a page that may be put at the cursor? */
static inline int cursor_check(const struct pt_cursor *c, hpa_t at, unsigned level, pt_attr_t attr)
{
	uint64_t size = pt_level_size(level);

	if (level > fmt_limits.max_leaf || ((c->va | at.hpa) & (size - 1)) != 0 ||
	    !fmt_attr_ok(attr))
		return -EINVAL;
	if (size > c->end - c->va || at.hpa >= fmt_limits.hpa_limit)
		return -ERANGE;
	return 0;
}

/* And if so, to its level. */
static inline int cursor_accept(struct pt_cursor *c, hpa_t at, unsigned level, pt_attr_t attr)
{
	int err = cursor_check(c, at, level, attr);

	return err != 0 || c->level == level ? err : cursor_seat(c, level);
}

/* Once for each size of page, so that what depends on it is a constant. */
static inline __attribute__((always_inline)) int
cursor_map(struct pt_cursor *c, hpa_t at, unsigned level, pt_attr_t attr, struct flusher *flusher)
{
	int err = cursor_accept(c, at, level, attr);
	uint64_t raw, old;
	pt_entry_t *e;

	if (__builtin_expect(err != 0, 0))
		return err;
	raw = fmt_leaf_bits(attr, level) | fmt_address_bits(at, level);
	e = cursor_entry(c);
	old = pt_entry_load(e);
	node_note_owner(cursor_node(c), attr);
	pt_entry_store(e, raw);
	if (old == 0)
		cursor_node(c)->present++;
	else
		retire(c, flusher, c->va, old, level);
	cursor_move(c, c->va + pt_level_size(level));
	return 0;
}

static __attribute__((noinline)) int map_any(struct pt_cursor *c, hpa_t at, unsigned level,
					     pt_attr_t attr, struct flusher *flusher)
{
	if (level == 1)
		return cursor_map(c, at, 1, attr, flusher);
	if (level == 2)
		return cursor_map(c, at, 2, attr, flusher);
	return level == 3 ? cursor_map(c, at, 3, attr, flusher) : -EINVAL;
}

/* The common case: a 4 KiB page where nothing is, the cursor in its leaf table. -EEXIST: something
 * is; nothing is changed. Precondition: cursor_ready_small. */
static inline int cursor_put_small(struct pt_cursor *c, hpa_t at, pt_attr_t attr)
{
	struct frame *node = c->path[1];
	pt_entry_t *e = &pt_entries(node)[pt_index(c->va, 1)];

	if (pt_entry_load(e) != 0)
		return -EEXIST;
	node_note_owner(node, attr);
	pt_entry_store(e, fmt_leaf_bits(attr, 1) | fmt_address_bits(at, 1));
	node->present++;
	if (c->guard == 1)
		c->va += PAGE_SIZE;
	else
		cursor_move(c, c->va + PAGE_SIZE);
	return 0;
}

static inline bool cursor_ready_small(const struct pt_cursor *c, hpa_t at, unsigned level,
				      pt_attr_t attr)
{
	return level == 1 && c->level == 1 && c->va != c->end && fmt_attr_ok(attr) &&
	       (at.hpa & (PAGE_SIZE - 1)) == 0 && at.hpa < fmt_limits.hpa_limit;
}

static int engine_map(struct pt_cursor *c, hpa_t at, unsigned level, pt_attr_t attr,
		      struct flusher *flusher)
{
	REQUIRES(c->change && !flusher_full(flusher));
	if (cursor_ready_small(c, at, level, attr) && cursor_put_small(c, at, attr) == 0)
		return 0;
	return map_any(c, at, level, attr, flusher);
}

static int engine_map_new(struct pt_cursor *c, hpa_t at, unsigned level, pt_attr_t attr)
{
	int err;

	REQUIRES(c->change);
	if (cursor_ready_small(c, at, level, attr))
		return cursor_put_small(c, at, attr);
	err = cursor_check(c, at, level, attr);
	if (err == 0 && cursor_covered(c, level))
		err = -EEXIST;
	if (err == 0 && c->level != level)
		err = cursor_seat(c, level);
	if (err != 0)
		return err;
	if (pt_entry_load(cursor_entry(c)) != 0)
		return -EEXIST;
	node_note_owner(cursor_node(c), attr);
	entry_set_new(cursor_node(c), cursor_index(c),
		      fmt_leaf_bits(attr, level) | fmt_address_bits(at, level));
	cursor_move(c, cursor_slot_end(c));
	return 0;
}

#endif
