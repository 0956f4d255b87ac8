/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Part of mm/engine.h: taking mappings out: whole tables where the range covers them, large pages
 * split where it does not, leaf tables in one loop.
 */
#ifndef MM_ENGINE_UNMAP_H
#define MM_ENGINE_UNMAP_H

#include "mm/engine_change.h"

/* Clears leaves of the cursor's node, a leaf table, until `limit`, the node's end, or a full
 * flusher. Returns the pages. */
static uint64_t cursor_clear(struct pt_cursor *c, uint64_t limit, struct flusher *flusher)
{
	uint64_t count = slots_within(c, limit - c->va), i, pages = 0;
	struct frame *node = cursor_node(c);
	pt_entry_t *e = &pt_entries(node)[cursor_index(c)];

	for (i = 0; i < count; i++) {
		uint64_t raw = pt_entry_load(&e[i]);

		if (raw == 0)
			continue;
		if (leaf_tracked(raw, 1)) {
			if (flusher_full(flusher))
				break;
			flusher_hold(flusher, leaf_frame(raw, 1));
		}
		pt_entry_store(&e[i], 0);
		pages++;
	}
	if (pages != 0)
		flusher_issue(flusher, c->va, i * PAGE_SIZE);
	node->present = (uint16_t)(node->present - pages);
	cursor_move(c, c->va + i * PAGE_SIZE);
	return pages;
}

/* Is the cursor's whole slot before `limit`, and may it be taken out as a whole? */
static inline bool slot_whole(const struct pt_cursor *c, uint64_t limit)
{
	uint64_t size = pt_level_size(c->level);

	return (c->va & (size - 1)) == 0 && size <= limit - c->va &&
	       !(FMT_ROOT_FIXED && c->level == FMT_LEVELS);
}

/* Books what the cursor's slot held, `raw`: a leaf or a table. Out of the tree already: nobody may
 * find its way to a table that is being retired. Moves past it. Returns the 4 KiB pages. */
static uint64_t slot_taken(struct pt_cursor *c, uint64_t raw, struct flusher *flusher)
{
	uint64_t pages;

	pages = retire(c, flusher, c->va, raw, c->level);
	cursor_move(c, cursor_slot_end(c));
	return pages;
}

/* One slot above the leaf tables, or one leaf table's worth of slots. */
static int unmap_step(struct pt_cursor *c, uint64_t limit, struct flusher *flusher, uint64_t *pages)
{
	uint64_t raw = pt_entry_load(cursor_entry(c));

	if (c->level == 1) {
		*pages += cursor_clear(c, limit, flusher);
	} else if (raw == 0) {
		cursor_move(c, slot_end_within(c, limit));
	} else if (slot_whole(c, limit)) {
		entry_clear(cursor_node(c), cursor_index(c));
		*pages += slot_taken(c, raw, flusher);
	} else {
		return cursor_descend_to(c, c->level - 1);
	}
	return 0;
}

/* One page of the cursor's leaf table, which is its guard; as cursor_clear. */
static inline uint64_t cursor_take_small(struct pt_cursor *c, struct flusher *flusher)
{
	struct frame *node = c->path[1];
	pt_entry_t *e = &pt_entries(node)[pt_index(c->va, 1)];
	uint64_t raw = pt_entry_load(e);

	if (raw != 0 && leaf_tracked(raw, 1)) {
		if (flusher_full(flusher))
			return 0;
		flusher_hold(flusher, leaf_frame(raw, 1));
	}
	c->va += PAGE_SIZE;
	if (raw == 0)
		return 0;
	pt_entry_store(e, 0);
	node->present--;
	flusher_issue(flusher, c->va - PAGE_SIZE, PAGE_SIZE);
	return 1;
}

static __attribute__((noinline)) int unmap_any(struct pt_cursor *c, uint64_t limit,
					       struct flusher *flusher, uint64_t *pages)
{
	c->level = c->guard; /* see the largest slots that fit */
	while (c->va != limit && !flusher_full(flusher)) {
		int err = unmap_step(c, limit, flusher, pages);

		if (err != 0)
			return err;
	}
	return 0;
}

static int engine_unmap(struct pt_cursor *c, uint64_t limit, struct flusher *flusher,
			uint64_t *pages)
{
	REQUIRES(c->change);
	REQUIRES(limit >= c->va && limit <= c->end && (limit & (PAGE_SIZE - 1)) == 0);
	if (c->guard == 1 && limit - c->va == PAGE_SIZE) {
		*pages += cursor_take_small(c, flusher);
		return 0;
	}
	if (c->guard != 1)
		return unmap_any(c, limit, flusher, pages);
	*pages += cursor_clear(c, limit, flusher);
	return 0;
}

static int engine_take_next(struct pt_cursor *c, uint64_t len, struct flusher *flusher,
			    struct pt_fragment *out)
{
	uint64_t limit = c->va + len;

	REQUIRES(c->change && len_valid(c, len) && !flusher_full(flusher));
	c->level = c->guard;
	while (c->va != limit) {
		uint64_t raw = pt_entry_load(cursor_entry(c));
		int err = 0;

		if (raw == 0) {
			cursor_move(c, slot_end_within(c, limit));
		} else if (c->level == 1 || slot_whole(c, limit)) {
			bool table = entry_is_table(raw);

			/* Taken, not read and cleared: the CPU may mark it until this moment. */
			raw = pt_entry_take(cursor_entry(c));
			cursor_node(c)->present--;
			*out = (struct pt_fragment){
				.va = c->va,
				.size = pt_level_size(c->level),
				.table = table,
				.hpa = table ? hpa(0) : fmt_hpa(raw, c->level),
				.attr = table ? 0 : fmt_attr(raw, c->level),
			};
			out->pages = slot_taken(c, raw, flusher);
			return 0;
		} else {
			err = cursor_descend_to(c, c->level - 1);
		}
		if (err != 0)
			return err;
	}
	return -ENOENT;
}

#endif
