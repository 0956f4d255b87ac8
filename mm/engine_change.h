/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Part of mm/engine.h: changing mappings. What is taken out goes to the caller's ledger of retired
 * things (mm/cursor.h); nothing is freed here.
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
		if (fmt_is_leaf(raw, level))
			pages += pt_level_size(level) / PAGE_SIZE;
		else
			pages += detach(pt, node_at(raw, level));
	}
	atomic_fetch_sub_explicit(&pt->nodes, 1, memory_order_relaxed);
	node->lock.user[1] = 1;
	rw_write_unlock(&node->lock);
	return pages;
}

/* Books what the entry `raw` of `level` was, already out of the tree. Returns its 4 KiB pages. */
static inline uint64_t retire(struct pt_cursor *c, struct pt_retired *retired, uint64_t raw,
			      unsigned level)
{
	retired->flush = true;
	if (entry_is_table(raw, level)) {
		struct frame *node = node_at(raw, level);
		uint64_t pages = detach(c->pt, node);

		node->defer.next = retired->tables == NULL ? NULL : &retired->tables->defer;
		retired->tables = node;
		return pages;
	}
	if (leaf_tracked(raw, level)) {
		INVARIANT(!pt_retired_full(retired));
		retired->leaf[retired->leaves++] = leaf_frame(raw, level);
	}
	return pt_level_size(level) / PAGE_SIZE;
}

/* Down to `level` along va, making or splitting what is in the way. -ENOMEM: stands where it got
 * to. What was made stays: an empty table maps nothing, a split page maps what it did. */
static int cursor_descend_to(struct pt_cursor *c, unsigned level)
{
	while (c->level > level) {
		uint64_t raw = pt_entry_load(cursor_entry(c));

		if (!entry_is_table(raw, c->level)) {
			struct frame *child;

			if (raw != 0) {
				child = node_split(c, cursor_node(c), cursor_index(c), c->level);
			} else {
				child = node_alloc(c, c->pt, c->level - 1);
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

/* Is it a page that may be put at the cursor? And if so, to its level. */
static inline int cursor_accept(struct pt_cursor *c, hpa_t at, unsigned level, pt_attr_t attr)
{
	uint64_t size = pt_level_size(level);

	if (level > fmt_limits.max_leaf || ((c->va | at.hpa) & (size - 1)) != 0 ||
	    !fmt_attr_ok(attr))
		return -EINVAL;
	if (size > c->end - c->va || at.hpa >= fmt_limits.hpa_limit)
		return -ERANGE;
	return c->level == level ? 0 : cursor_seat(c, level);
}

static int engine_map(struct pt_cursor *c, hpa_t at, unsigned level, pt_attr_t attr,
		      struct pt_retired *retired)
{
	int err = cursor_accept(c, at, level, attr);
	uint64_t raw, old;
	pt_entry_t *e;

	REQUIRES(c->change && !pt_retired_full(retired));
	if (err != 0)
		return err;
	raw = fmt_leaf_bits(attr, level) | fmt_address_bits(at, level);
	e = cursor_entry(c);
	old = pt_entry_load(e);
	pt_entry_store(e, raw);
	if (old == 0)
		cursor_node(c)->present++;
	else
		retire(c, retired, old, level);
	cursor_move(c, cursor_slot_end(c));
	return 0;
}

/* The common case of engine_map_new: a 4 KiB page, the cursor in its leaf table. */
static inline int cursor_put_small(struct pt_cursor *c, hpa_t at, pt_attr_t attr)
{
	struct frame *node = c->path[1];
	pt_entry_t *e = &pt_entries(node)[pt_index(c->va, 1)];

	if (pt_entry_load(e) != 0)
		return -EEXIST;
	pt_entry_store(e, fmt_leaf_bits(attr, 1) | fmt_address_bits(at, 1));
	node->present++;
	if (c->guard == 1)
		c->va += PAGE_SIZE;
	else
		cursor_move(c, c->va + PAGE_SIZE);
	return 0;
}

static int engine_map_new(struct pt_cursor *c, hpa_t at, unsigned level, pt_attr_t attr)
{
	int err;

	REQUIRES(c->change);
	if (level == 1 && c->level == 1 && c->va != c->end && fmt_attr_ok(attr))
		return cursor_put_small(c, at, attr);
	err = cursor_accept(c, at, level, attr);
	if (err != 0)
		return err;
	if (pt_entry_load(cursor_entry(c)) != 0)
		return -EEXIST;
	entry_set_new(cursor_node(c), cursor_index(c),
		      fmt_leaf_bits(attr, level) | fmt_address_bits(at, level));
	cursor_move(c, cursor_slot_end(c));
	return 0;
}

/* The largest leaf level for va, address and length; at least 1. */
static inline unsigned largest_level(uint64_t va, uint64_t at, uint64_t len)
{
	unsigned level = fmt_limits.max_leaf;

	while (level > 1 &&
	       (((va | at) & (pt_level_size(level) - 1)) != 0 || len < pt_level_size(level)))
		level--;
	return level;
}

/*
 * Fills slots of the cursor's node, one after the other, as long as they are in the node, in `len`,
 * and the ledger has room. One walk for up to 512 pages. Returns the bytes mapped.
 */
static uint64_t cursor_fill(struct pt_cursor *c, uint64_t at, uint64_t len, uint64_t bits,
			    struct pt_retired *retired)
{
	unsigned level = c->level, index = cursor_index(c);
	uint64_t size = pt_level_size(level), count = len / size, done = 0;
	struct frame *node = cursor_node(c);
	pt_entry_t *e = &pt_entries(node)[index];

	if (count > PT_ENTRIES - index)
		count = PT_ENTRIES - index;
	for (; done < count; done++, e++, at += size) {
		uint64_t old = pt_entry_load(e);

		if (old != 0) {
			if (pt_retired_full(retired))
				break;
			node->present--;
		}
		pt_entry_store(e, bits | fmt_address_bits(hpa(at), level));
		node->present++;
		if (old != 0)
			retire(c, retired, old, level);
	}
	cursor_move(c, c->va + done * size);
	return done * size;
}

static int engine_map_range(struct pt_cursor *c, hpa_t at, uint64_t len, pt_attr_t attr,
			    struct pt_retired *retired, uint64_t *done)
{
	REQUIRES(c->change);
	*done = 0;
	if (((at.hpa | len) & (PAGE_SIZE - 1)) != 0 || !fmt_attr_ok(attr))
		return -EINVAL;
	if (len > c->end - c->va || at.hpa > fmt_limits.hpa_limit ||
	    len > fmt_limits.hpa_limit - at.hpa)
		return -ERANGE;
	while (*done < len && !pt_retired_full(retired)) {
		uint64_t left = len - *done, from = at.hpa + *done;
		unsigned level = largest_level(c->va, from, left);
		/* Pages of this size only up to where a larger one starts to fit. */
		uint64_t up = pt_level_size(level + 1);

		if (level < fmt_limits.max_leaf && left > up && ((c->va ^ from) & (up - 1)) == 0)
			left = round_up(c->va + 1, up) - c->va;
		if (cursor_seat(c, level) != 0)
			return -ENOMEM;
		*done += cursor_fill(c, from, left, fmt_leaf_bits(attr, level), retired);
	}
	return 0;
}

/* Clears leaves of the cursor's node, a leaf table, until `limit`, the node's end, or a full
 * ledger. Returns the pages. */
static uint64_t cursor_clear(struct pt_cursor *c, uint64_t limit, struct pt_retired *retired)
{
	struct frame *node = cursor_node(c);
	unsigned index = cursor_index(c);
	pt_entry_t *e = &pt_entries(node)[index];
	uint64_t slots = (limit - c->va) / PAGE_SIZE, i, pages = 0;

	if (slots > PT_ENTRIES - index)
		slots = PT_ENTRIES - index;
	for (i = 0; i < slots && !pt_retired_full(retired); i++, e++) {
		uint64_t raw = pt_entry_load(e);

		if (raw == 0)
			continue;
		pt_entry_store(e, 0);
		pages += retire(c, retired, raw, 1);
	}
	node->present = (uint16_t)(node->present - pages);
	cursor_move(c, c->va + i * PAGE_SIZE);
	return pages;
}

/* One slot above the leaf tables, or one leaf table's worth of slots. */
static int unmap_step(struct pt_cursor *c, uint64_t limit, struct pt_retired *retired,
		      uint64_t *pages)
{
	uint64_t raw = pt_entry_load(cursor_entry(c)), size = pt_level_size(c->level);
	bool whole = (c->va & (size - 1)) == 0 && size <= limit - c->va;

	if (c->level == 1) {
		*pages += cursor_clear(c, limit, retired);
	} else if (raw == 0) {
		cursor_move(c, slot_end_within(c, limit));
	} else if (whole) {
		/* Out of the tree first: nobody may find its way to a table that is being retired.
		 */
		entry_clear(cursor_node(c), cursor_index(c));
		*pages += retire(c, retired, raw, c->level);
		cursor_move(c, c->va + size);
	} else {
		return cursor_descend_to(c, c->level - 1);
	}
	return 0;
}

static int engine_unmap(struct pt_cursor *c, uint64_t limit, struct pt_retired *retired,
			uint64_t *pages)
{
	REQUIRES(c->change);
	REQUIRES(limit >= c->va && limit <= c->end && (limit & (PAGE_SIZE - 1)) == 0);
	c->level = c->guard; /* see the largest slots that fit */
	while (c->va != limit && !pt_retired_full(retired)) {
		int err = unmap_step(c, limit, retired, pages);

		if (err != 0)
			return err;
	}
	return 0;
}

/*
 * To the next leaf in `len` bytes, split until it lies wholly inside. Its raw value is in *raw.
 * -ENOENT: none, the cursor stands at the end of `len`. -ENOMEM: the cursor stands at the leaf.
 */
static int cursor_next_inside(struct pt_cursor *c, uint64_t len, uint64_t *raw)
{
	uint64_t limit = c->va + len;

	REQUIRES(c->change && len_valid(c, len));
	*raw = cursor_next_leaf(c, limit);
	if (*raw == 0)
		return -ENOENT;
	while ((c->va & (pt_level_size(c->level) - 1)) != 0 ||
	       pt_level_size(c->level) > limit - c->va) {
		int err = cursor_descend_to(c, c->level - 1);

		if (err != 0)
			return err;
		*raw = pt_entry_load(cursor_entry(c));
	}
	return 0;
}

/*
 * Replaces the bits `mask` of the cursor's leaf by those of `bits`. The CPU may set marks until the
 * last moment: an exchange, not a store, unless it has set all there are. Returns the old value.
 */
static inline uint64_t leaf_update(struct pt_cursor *c, uint64_t raw, uint64_t mask, uint64_t bits)
{
	pt_entry_t *e = cursor_entry(c);
	uint64_t marks = FMT_HW_MARKS(c->level);

	if ((raw & marks) == marks && (mask & marks) == 0) {
		pt_entry_store(e, (raw & ~mask) | bits);
		return raw;
	}
	while (!pt_entry_swap(e, &raw, (raw & ~mask) | bits))
		continue;
	return raw;
}

static int engine_protect_next(struct pt_cursor *c, uint64_t len, pt_attr_t attr,
			       struct pt_leaf *out)
{
	uint64_t raw, mask, keep;
	int err;

	if (!fmt_attr_ok(attr))
		return -EINVAL;
	err = cursor_next_inside(c, len, &raw);
	if (err != 0)
		return err;
	mask = fmt_rights_mask(c->level);
	keep = fmt_leaf_bits(attr, c->level) & mask;
	raw = leaf_update(c, raw, mask, keep);
	*out = cursor_leaf(c, raw);
	cursor_move(c, cursor_slot_end(c));
	return 0;
}

static int engine_clear_marks_next(struct pt_cursor *c, uint64_t len, pt_attr_t marks,
				   struct pt_leaf *out)
{
	uint64_t raw;
	int err = cursor_next_inside(c, len, &raw);

	if (err != 0)
		return err;
	raw = leaf_update(c, raw, fmt_marks(marks, c->level), 0);
	*out = cursor_leaf(c, raw);
	cursor_move(c, cursor_slot_end(c));
	return 0;
}

#endif
