/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Part of mm/engine.h: a table of 512 neighbours becomes one large page again.
 *
 *   before    node ──▶ table ──▶ p, p + 1, ... p + 511    all with the same rights
 *   after     node ──▶ p, 512 times as large
 *
 * At each moment the entry shows one or the other, and both translate every byte alike. What the
 * CPU knows of the old table may live on until the flush, and with it the marks that it sets there:
 *
 *      changer                                CPU in the guest
 *      entry := large page, marks as they are
 *                                             sets "dirty" in the old table's entry
 *      flush, wait                            leaves, flushes
 *      old table's marks, read again, are
 *      set in the large page as well
 *
 * so no mark is lost. Nobody reads marks meanwhile: that takes a cursor.
 */
#ifndef MM_ENGINE_COLLAPSE_H
#define MM_ENGINE_COLLAPSE_H

#include "mm/engine_protect.h"
#include "mm/frame_block.h"

#define ANY_MARKS (PT_ACCESSED | PT_DIRTY)

/* The marks of all leaves of a table together. */
static pt_attr_t node_marks(const struct frame *node, unsigned level)
{
	pt_entry_t *e = pt_entries(node);
	uint64_t any = 0;

	for (unsigned i = 0; i < PT_ENTRIES; i++)
		any |= pt_entry_load(&e[i]);
	return fmt_attr(any & fmt_marks(ANY_MARKS, level), level) & ANY_MARKS;
}

/* Is it full of leaves that follow each other, alike but for their marks? `first` is the first. */
static bool node_uniform(const struct frame *node, unsigned level, uint64_t *first)
{
	uint64_t marks = fmt_marks(ANY_MARKS, level), size = pt_level_size(level), at;
	pt_entry_t *e = pt_entries(node);

	*first = pt_entry_load(&e[0]);
	at = fmt_hpa(*first, level).hpa;
	if (node->present != PT_ENTRIES || entry_is_table(*first) ||
	    (at & (pt_level_size(level + 1) - 1)) != 0)
		return false;
	for (unsigned i = 1; i < PT_ENTRIES; i++) {
		uint64_t want = (*first & ~fmt_address_bits(hpa(at), level)) |
				fmt_address_bits(hpa(at + i * size), level);

		if (((pt_entry_load(&e[i]) ^ want) & ~marks) != 0)
			return false;
	}
	return true;
}

/*
 * Makes one reference to one block out of the 512 that the leaves own: parts of a block each have
 * one to that, frames of their own are joined. 0; -EBUSY: somebody else holds one of them, or they
 * are of different kinds.
 */
static int leaves_join(uint64_t first, unsigned level)
{
	struct frame *f = leaf_frame(first, level);

	if (f->order < 9 * level)
		return frame_join(f) == 0 ? 0 : -EBUSY;
	for (unsigned i = 1; i < PT_ENTRIES; i++)
		MUST(!frame_drop(f), "a block lost its last reference");
	return 0;
}

static int engine_collapse(struct pt_cursor *c, unsigned level, struct flusher *flusher,
			   struct frame **table)
{
	uint64_t size = pt_level_size(level), raw, first;
	struct frame *child;
	pt_attr_t attr;
	int err;

	REQUIRES(c->change);
	if (level < 2 || level > fmt_limits.max_leaf || (c->va & (size - 1)) != 0)
		return -EINVAL;
	if (size > c->end - c->va || level > c->guard)
		return -ERANGE;
	while (c->level < level)
		c->level++;
	for (raw = pt_entry_load(cursor_entry(c)); c->level > level && entry_is_table(raw);
	     raw = pt_entry_load(cursor_entry(c)))
		cursor_descend(c, raw);
	if (!entry_is_table(raw))
		return -ENOENT;
	child = node_at(raw, level);
	if (!node_uniform(child, level - 1, &first))
		return -ENOENT;
	err = leaf_tracked(first, level - 1) ? leaves_join(first, level - 1) : 0;
	if (err != 0)
		return err;
	attr = fmt_attr(first, level - 1) | node_marks(child, level - 1);
	raw = fmt_leaf_bits(attr, level) | fmt_address_bits(fmt_hpa(first, level - 1), level);
	node_note_owner(cursor_node(c), attr);
	pt_entry_store(cursor_entry(c), raw);
	flusher_issue(flusher, c->va, size);
	*table = child;
	return 0;
}

static void engine_collapse_end(struct pt_cursor *c, struct frame *table, struct flusher *flusher)
{
	unsigned level = node_level(table) + 1;
	pt_entry_t *e = cursor_entry(c);
	uint64_t raw = pt_entry_load(e), marks = fmt_marks(node_marks(table, level - 1), level);

	INVARIANT(c->level == level && raw != 0 && !entry_is_table(raw));
	while (!pt_entry_swap(e, &raw, raw | marks))
		continue;
	/* The large page owns what the leaves did: none of them counts when the table is freed.
	 * They stay readable for lock-free walkers that are in the table: what they say is still
	 * true. */
	table->present = 0;
	detach(c->pt, table);
	flusher_hold_table(flusher, table);
	cursor_move(c, cursor_slot_end(c));
}

#endif
