/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Part of mm/engine.h: the range lock. A cursor holds every node that overlaps its range, from the
 * lowest node that covers all of it (the guard) downwards.
 *
 *   1. Walk from the root without a lock to the covering node: down while one child covers the
 * range. An absent entry on the way is filled by a changing cursor, one locked node at a time; a
 *      read-only cursor stops there and never allocates.
 *   2. Lock that node. Stray: it was taken out meanwhile; start again at the root.
 *   3. Lock what lies below it within the range: parents before children, ascending.
 *
 * Locks are only ever taken downwards and to the right, so no two cursors can wait for each other.
 * A node reachable from a locked node that is not stray cannot become stray. Two cursors whose
 * ranges overlap meet at the covering node of one of them: it is on the way of, or below, the
 * other.
 *
 *      CPU 0 opens [a, b)                     CPU 1 unmaps the table of [a, b)
 *      reads entry -> node N (no lock)
 *                                             holds N's parent and N as writer
 *                                             parent's entry := absent; N stray, unlocked
 *      locks N, finds it stray, unlocks
 *      starts again: absent, allocates        N freed after CPU 0's section
 *
 * Readers take the nodes as readers and do not exclude each other. (OSTD's protocol; ostd.md 1.7.5)
 */
#ifndef MM_ENGINE_LOCK_H
#define MM_ENGINE_LOCK_H

#include "mm/engine_walk.h"

static inline void node_lock(struct frame *node, bool change)
{
	if (change)
		rw_write_lock(&node->lock);
	else
		rw_read_lock(&node->lock);
}

static inline void node_unlock(struct frame *node, bool change)
{
	if (change)
		rw_write_unlock(&node->lock);
	else
		rw_read_unlock(&node->lock);
}

/*
 * The level of the lowest node that covers [start, end). A range that is exactly one entry of the
 * level above is locked there, so that a large page can be mapped on it.
 */
static unsigned cover_level(uint64_t start, uint64_t end)
{
	unsigned level = 1;
	uint64_t span = pt_level_size(2);

	while (level < FMT_LEVELS && ((start ^ (end - 1)) & ~(span - 1)) != 0) {
		level++;
		span <<= 9;
	}
	if (level < FMT_LEVELS && end - start == span)
		level++;
	return level;
}

/*
 * Fills the absent entry of `parent`, which is not locked unless `held`. On return *node is the
 * child, locked (held) when we made it, not locked when another CPU did; the parent is unlocked.
 * -EAGAIN: the parent is stray. -ENOMEM. The parent is unlocked then as well.
 */
static int cover_fill(struct pt_cursor *c, struct frame *parent, unsigned level, bool *held,
		      struct frame **node)
{
	pt_entry_t *e = &pt_entries(parent)[pt_index(c->start, level)];
	int err = 0;

	if (!*held)
		rw_write_lock(&parent->lock);
	*node = parent;
	if (node_stray(parent)) {
		err = -EAGAIN;
	} else if (pt_entry_load(e) == 0) {
		struct frame *child = node_alloc(c, c->pt, level - 1, ALLOC_ZERO);

		if (child == NULL) {
			err = -ENOMEM;
		} else {
			entry_set_new(parent, pt_index(c->start, level),
				      fmt_table(frame_hpa(child), level));
			*node = child;
		}
	}
	rw_write_unlock(&parent->lock);
	*held = *node != parent;
	return err;
}

/* From a node of *level down to `want`, filling what is absent. Ends at a node that may be held. */
static __attribute__((noinline)) int cover_grow(struct pt_cursor *c, struct frame **node,
						unsigned *level, unsigned want, bool *held)
{
	*held = false;
	while (*level > want) {
		uint64_t raw = pt_entry_load(&pt_entries(*node)[pt_index(c->start, *level)]);
		int err;

		if (entry_is_table(raw)) {
			if (*held)
				rw_write_unlock(&(*node)->lock);
			*held = false;
			*node = node_at(raw, (*level)--);
			continue;
		}
		if (raw != 0)
			break; /* a large page has come up */
		err = cover_fill(c, *node, *level, held, node);
		if (err != 0)
			return err;
		*level -= *held;
	}
	return 0;
}

/* One attempt to find and lock the covering node. -EAGAIN: it was taken away, start again. */
static int cover_lock(struct pt_cursor *c, const struct pt *pt, uint64_t start, uint64_t end)
{
	unsigned want = cover_level(start, end), level;
	struct frame *node = pt->root;
	bool held = false;
	uint64_t raw = FMT_TABLE;

	/* Down as long as there is a table. */
	for (level = FMT_LEVELS; level > want; level--) {
		raw = pt_entry_load(&pt_entries(node)[pt_index(start, level)]);
		if (!entry_is_table(raw))
			break;
		node = node_at(raw, level);
	}
	/* A large page, or for a reader nothing: the node with that entry covers the range. */
	if (raw == 0 && c->change) {
		unsigned at = level;
		struct frame *grown = node;
		int err = cover_grow(c, &grown, &at, want, &held);

		if (err != 0)
			return err;
		node = grown;
		level = at;
	}
	if (!held)
		node_lock(node, c->change);
	if (node_stray(node)) {
		node_unlock(node, c->change);
		return -EAGAIN;
	}
	c->path[level] = node;
	c->level = c->guard = (uint8_t)level;
	return 0;
}

/* First and last index in a node of `level` that overlap the range; `base` is the node's first va.
 */
struct index_range {
	unsigned first, last;
};

static inline struct index_range index_overlap(const struct pt_cursor *c, uint64_t base,
					       unsigned level)
{
	uint64_t top = base + (pt_level_size(level) * PT_ENTRIES - 1);

	return (struct index_range){
		.first = c->start > base ? pt_index(c->start, level) : 0,
		.last = c->end - 1 < top ? pt_index(c->end - 1, level) : PT_ENTRIES - 1,
	};
}

static inline uint64_t node_base(uint64_t va, unsigned level)
{
	return round_down(va, pt_level_size(level + 1));
}

/* Locks what lies below a locked node of `level`, in pre-order. */
static void subtree_lock(const struct pt_cursor *c, struct frame *node, uint64_t base,
			 unsigned level)
{
	struct index_range r = index_overlap(c, base, level);
	pt_entry_t *entries = pt_entries(node);

	if (level == 1 || node->present == 0)
		return;
	for (unsigned i = r.first; i <= r.last; i++) {
		uint64_t raw = pt_entry_load(&entries[i]);

		if (!entry_is_table(raw))
			continue;
		node_lock(node_at(raw, level), c->change);
		subtree_lock(c, node_at(raw, level), base + i * pt_level_size(level), level - 1);
	}
}

/* Unlocks a locked node of `level` and what lies below it, children before their parent. */
static void subtree_unlock(const struct pt_cursor *c, struct frame *node, uint64_t base,
			   unsigned level)
{
	if (level > 1 && node->present != 0) {
		struct index_range r = index_overlap(c, base, level);
		pt_entry_t *entries = pt_entries(node);

		for (unsigned i = r.last + 1; i-- > r.first;) {
			uint64_t raw = pt_entry_load(&entries[i]);

			if (entry_is_table(raw))
				subtree_unlock(c, node_at(raw, level),
					       base + i * pt_level_size(level), level - 1);
		}
	}
	node_unlock(node, c->change);
}

static int range_check(uint64_t start, uint64_t end)
{
	if (start >= end || !va_valid(start) || end - 1 > FMT_VA_LAST)
		return -ERANGE;
	if (((start | end) & (PAGE_SIZE - 1)) != 0)
		return -EINVAL;
	return 0;
}

static inline void cursor_init(struct pt_cursor *c, struct pt *pt, uint64_t start, uint64_t end,
			       bool change)
{
	c->pt = pt;
	c->va = c->start = start;
	c->end = end;
	c->change = change;
	c->spares = 0;
	c->spare = NULL;
	lock_note_enter(LOCK_NODE);
	epoch_enter();
}

static __attribute__((noinline)) int open_any(struct pt_cursor *c, struct pt *pt, uint64_t start,
					      uint64_t end, bool change)
{
	int err = range_check(start, end);

	if (err != 0)
		return err;
	cursor_init(c, pt, start, end, change);
	do
		err = cover_lock(c, pt, start, end);
	while (__builtin_expect(err == -EAGAIN, 0));
	if (err != 0) {
		epoch_exit();
		lock_note_exit(LOCK_NODE);
		return err;
	}
	if (c->guard > 1)
		subtree_lock(c, c->path[c->guard], node_base(start, c->guard), c->guard);
	return 0;
}

/* The leaf table on the way to va, or NULL when there is none. */
static inline struct frame *leaf_table(const struct pt *pt, uint64_t va)
{
	const pt_entry_t *top = pt->top;
	uint64_t raw = pt_entry_load(&top[pt_index(va, FMT_LEVELS)]);

#pragma GCC unroll 4
	for (unsigned level = FMT_LEVELS; level > 2; level--) {
		if (__builtin_expect(!entry_is_table(raw), 0))
			return NULL;
		raw = pt_entry_load(entry_at(fmt_hpa(raw, level), va, level - 1));
	}
	return __builtin_expect(entry_is_table(raw), 1) ? node_at(raw, 2) : NULL;
}

/* Is it valid, within one leaf table, and less than all of that? */
static inline bool range_small(uint64_t start, uint64_t end)
{
	uint64_t table = pt_level_size(2), len = end - start;

	return ((start | end) & (PAGE_SIZE - 1)) == 0 && len - 1 < table - 1 &&
	       (start & (table - 1)) + len <= table && va_valid(start) &&
	       (va_valid(round_down(FMT_VA_LAST, table) + table - 1) || va_valid(end - 1));
}

/*
 * Most cursors are for a few pages in a leaf table that is there and not taken away under them:
 * these are opened here, all others by open_any.
 */
static int engine_open(struct pt_cursor *c, struct pt *pt, uint64_t start, uint64_t end,
		       bool change)
{
	struct frame *node;

	if (FMT_ROOT_FIXED && pt->kernel != NULL)
		pt = pt->kernel;
	if (!range_small(start, end))
		return open_any(c, pt, start, end, change);
	cursor_init(c, pt, start, end, change);
	node = leaf_table(pt, start);
	if (__builtin_expect(node != NULL, 1)) {
		node_lock(node, change);
		if (__builtin_expect(!node_stray(node), 1)) {
			c->path[1] = node;
			c->level = c->guard = 1;
			return 0;
		}
		node_unlock(node, change);
	}
	epoch_exit();
	lock_note_exit(LOCK_NODE);
	return open_any(c, pt, start, end, change);
}

static __attribute__((noinline)) void close_many(struct pt_cursor *c)
{
	subtree_unlock(c, c->path[c->guard], node_base(c->start, c->guard), c->guard);
	while (c->spares != 0)
		frame_put(spare_pop(c));
}

static void engine_close(struct pt_cursor *c)
{
	if (c->guard > 1 || c->spares != 0)
		close_many(c);
	else
		node_unlock(c->path[1], c->change);
	epoch_exit();
	lock_note_exit(LOCK_NODE);
	c->pt = NULL;
}

/* Makes room for `tables` nodes. -ENOMEM: the reserve is as before. */
static int engine_reserve(struct pt_cursor *c, unsigned tables)
{
	unsigned before = c->spares;

	REQUIRES(c->change);
	while (c->spares < before + tables) {
		struct frame *node = frame_alloc(FRAME_ORDER_4K, FMT_NODE_KIND, ALLOC_ZERO);

		if (node == NULL) {
			while (c->spares != before)
				frame_put(spare_pop(c));
			return -ENOMEM;
		}
		spare_push(c, node);
	}
	return 0;
}

#endif
