/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Part of mm/engine.h: moving a cursor. Everything below the guard is locked, so going down needs
 * no further locking, and what is read stays true.
 */
#ifndef MM_ENGINE_MOVE_H
#define MM_ENGINE_MOVE_H

#include "mm/engine_lock.h"

static inline struct frame *cursor_node(const struct pt_cursor *c)
{
	return c->path[c->level];
}

static inline unsigned cursor_index(const struct pt_cursor *c)
{
	return pt_index(c->va, c->level);
}

static inline pt_entry_t *cursor_entry(const struct pt_cursor *c)
{
	return &pt_entries(cursor_node(c))[cursor_index(c)];
}

/* First address after the slot that the cursor stands in. 0 at the top of the 64-bit space. */
static inline uint64_t cursor_slot_end(const struct pt_cursor *c)
{
	return round_down(c->va, pt_level_size(c->level)) + pt_level_size(c->level);
}

/* Moves to va, up the path until its node contains va. start <= va <= end; at end the cursor stands
 * in its guard. */
static inline void cursor_move(struct pt_cursor *c, uint64_t va)
{
	uint64_t across = c->va ^ va;

	while (c->level < c->guard && (across & ~(pt_level_size(c->level + 1) - 1)) != 0)
		c->level++;
	c->va = va;
}

/* The slot's end or `limit`, whichever comes first; safe at the top of the 64-bit space. */
static inline uint64_t slot_end_within(const struct pt_cursor *c, uint64_t limit)
{
	uint64_t end = cursor_slot_end(c);

	return end - 1 < limit - 1 ? end : limit;
}

/* How many slots of the cursor's node, from the cursor on, lie in `len` bytes. */
static inline uint64_t slots_within(const struct pt_cursor *c, uint64_t len)
{
	uint64_t count = len / pt_level_size(c->level), left = PT_ENTRIES - cursor_index(c);

	return count < left ? count : left;
}

/* Down one level, into the table that the entry `raw` points to. */
static inline void cursor_descend(struct pt_cursor *c, uint64_t raw)
{
	struct frame *child = node_at(raw, c->level);

	c->level--;
	c->path[c->level] = child;
}

/* Down to the leaf or the absent entry that covers va; its raw value. */
static inline uint64_t cursor_bottom(struct pt_cursor *c)
{
	uint64_t raw = pt_entry_load(cursor_entry(c));

	while (entry_is_table(raw)) {
		cursor_descend(c, raw);
		raw = pt_entry_load(cursor_entry(c));
	}
	return raw;
}

static inline struct pt_leaf cursor_leaf(const struct pt_cursor *c, uint64_t raw)
{
	uint64_t size = pt_level_size(c->level);

	return (struct pt_leaf){
		.va = round_down(c->va, size),
		.hpa = raw == 0 ? hpa(0) : fmt_hpa(raw, c->level),
		.size = size,
		.attr = raw == 0 ? 0 : fmt_attr(raw, c->level),
	};
}

static int engine_query(struct pt_cursor *c, struct pt_leaf *out)
{
	if (c->va == c->end)
		return -EFAULT;
	*out = cursor_leaf(c, cursor_bottom(c));
	return 0;
}

static int engine_jump(struct pt_cursor *c, uint64_t va)
{
	if (va < c->start || va > c->end)
		return -ERANGE;
	if ((va & (PAGE_SIZE - 1)) != 0)
		return -EINVAL;
	cursor_move(c, va);
	return 0;
}

/* From the cursor to the next leaf before `limit`: its raw value, the cursor at it, in its node.
 * 0: none, the cursor stands at `limit`. */
static uint64_t cursor_next_leaf(struct pt_cursor *c, uint64_t limit)
{
	while (c->va != limit) {
		uint64_t raw = pt_entry_load(cursor_entry(c));

		if (entry_is_table(raw)) {
			if (node_at(raw, c->level)->present != 0) {
				cursor_descend(c, raw);
				continue;
			}
		} else if (raw != 0) {
			return raw;
		}
		cursor_move(c, slot_end_within(c, limit));
	}
	return 0;
}

static inline bool len_valid(const struct pt_cursor *c, uint64_t len)
{
	return (len & (PAGE_SIZE - 1)) == 0 && len <= c->end - c->va;
}

static bool engine_find_next(struct pt_cursor *c, uint64_t len)
{
	REQUIRES(len_valid(c, len));
	return cursor_next_leaf(c, c->va + len) != 0;
}

/* Finds, tells and passes: the next mapping, or false as engine_find_next. */
static bool engine_next(struct pt_cursor *c, uint64_t len, struct pt_leaf *out)
{
	uint64_t limit = c->va + len, raw;

	REQUIRES(len_valid(c, len));
	raw = cursor_next_leaf(c, limit);
	if (raw == 0)
		return false;
	*out = cursor_leaf(c, raw);
	cursor_move(c, slot_end_within(c, limit));
	return true;
}

#endif
