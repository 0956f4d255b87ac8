/* SPDX-License-Identifier: MPL-2.0 */
/* Part of mm/engine.h: nodes, and what the engine knows about each. */
#ifndef MM_ENGINE_NODE_H
#define MM_ENGINE_NODE_H

#include "base/contract.h"
#include "base/err.h"
#include "base/list.h"
#include "mm/frame_alloc.h"
#include "mm/pt_entry.h"
#include "mm/pt_ops.h"

/* In the byte with the level: some leaf of the node is, or was, tracked. */
#define NODE_OWNS 0x80u

static inline unsigned node_level(const struct frame *node)
{
	return node->lock.user[0] & ~NODE_OWNS;
}

/* A table that never had a tracked leaf need not be read again when it is freed. */
static inline bool node_owns(const struct frame *node)
{
	return (node->lock.user[0] & NODE_OWNS) != 0;
}

/* Before the first leaf with these attributes is stored. The node is locked. */
static inline void node_note_owner(struct frame *node, pt_attr_t attr)
{
	if ((attr & PT_TRACKED) != 0 && !node_owns(node))
		node->lock.user[0] |= NODE_OWNS;
}

static inline bool node_stray(const struct frame *node)
{
	return node->lock.user[1] != 0;
}

static inline struct frame *node_at(uint64_t raw, unsigned level)
{
	return frame_slot(fmt_hpa(raw, level).hpa >> PAGE_SHIFT);
}

static inline bool entry_is_table(uint64_t raw)
{
	return (raw & FMT_TABLE) != 0;
}

/* A fresh node belongs to whoever made it: it is locked before anybody can see it. */
static inline void node_setup(struct frame *node, unsigned level)
{
	rw_init_write_locked(&node->lock);
	node->lock.user[0] = (uint8_t)level;
	node->lock.user[1] = 0;
	node->present = 0;
}

static inline struct frame *spare_pop(struct pt_cursor *c)
{
	struct frame *node = c->spare;
	struct epoch_item *next = node->defer.next;

	c->spare = next == NULL ? NULL : container_of(next, struct frame, defer);
	c->spares--;
	return node;
}

static inline void spare_push(struct pt_cursor *c, struct frame *node)
{
	node->defer.next = c->spare == NULL ? NULL : &c->spare->defer;
	c->spare = node;
	c->spares++;
}

/*
 * NULL: no memory. From the cursor's reserve if it has one. `c` may be NULL (the root). `zero`:
 * ALLOC_ZERO, or 0 when the caller fills each entry before anybody can see the node.
 */
static struct frame *node_alloc(struct pt_cursor *c, struct pt *pt, unsigned level, unsigned zero)
{
	struct frame *node = c != NULL && c->spares != 0
				     ? spare_pop(c)
				     : frame_alloc(FRAME_ORDER_4K, FMT_NODE_KIND, zero);

	if (node == NULL)
		return NULL;
	node_setup(node, level);
	atomic_fetch_add_explicit(&pt->nodes, 1, memory_order_relaxed);
	return node;
}

/* The block that a tracked leaf owns a reference to. */
static inline struct frame *leaf_frame(uint64_t raw, unsigned level)
{
	return frame_head(frame_slot(fmt_hpa(raw, level).hpa >> PAGE_SHIFT));
}

static inline bool leaf_tracked(uint64_t raw, unsigned level)
{
	return (fmt_attr(raw, level) & PT_TRACKED) != 0;
}

/*
 * Frees a table that nobody can reach any more, with everything below it. At most FMT_LEVELS deep.
 */
static void node_free(struct frame *node)
{
	unsigned level = node_level(node);
	pt_entry_t *entries = pt_entries(node);
	unsigned left = level > 1 || node_owns(node) ? node->present : 0;

	for (unsigned i = 0; left != 0 && i < PT_ENTRIES; i++) {
		uint64_t raw = pt_entry_load(&entries[i]);

		if (raw == 0)
			continue;
		left--;
		if (entry_is_table(raw))
			node_free(node_at(raw, level));
		else if (leaf_tracked(raw, level))
			frame_put(leaf_frame(raw, level));
	}
	if (frame_drop(node))
		frame_finish(node);
}

static void engine_free_table(struct epoch_item *item)
{
	struct frame *node = container_of(item, struct frame, defer);

	node_free(node);
}

static int engine_init(struct pt *pt)
{
	atomic_store_explicit(&pt->nodes, 0, memory_order_relaxed);
	atomic_store_explicit(&pt->sharers, 0, memory_order_relaxed);
	pt->kernel = NULL;
	tlb_domain_init(&pt->tlb);
	pt->root = node_alloc(NULL, pt, FMT_LEVELS, ALLOC_ZERO);
	if (pt->root == NULL)
		return -ENOMEM;
	pt->top = pt_entries(pt->root);
	rw_write_unlock(&pt->root->lock);
	return 0;
}

static void engine_destroy(struct pt *pt)
{
	REQUIRES(atomic_load(&pt->tlb.inside) == 0);
	REQUIRES(!rw_is_held(&pt->root->lock));
	REQUIRES(atomic_load(&pt->sharers) == 0);
	node_free(pt->root);
	pt->root = NULL;
}

/* One store of a new entry, with the count of the node it is in. */
static inline void entry_set_new(struct frame *node, unsigned index, uint64_t raw)
{
	INVARIANT(pt_entry_load(&pt_entries(node)[index]) == 0);
	pt_entry_store(&pt_entries(node)[index], raw);
	node->present++;
}

static inline void entry_clear(struct frame *node, unsigned index)
{
	INVARIANT(node->present != 0);
	pt_entry_store(&pt_entries(node)[index], 0);
	node->present--;
}

/* Fills a node of `level` that nobody sees yet with leaves of contiguous memory. */
static inline void node_fill(struct frame *node, unsigned level, hpa_t at, pt_attr_t attr)
{
	uint64_t raw = fmt_leaf_bits(attr, level) | fmt_address_bits(at, level);
	uint64_t step = fmt_address_bits(hpa(pt_level_size(level)), level);
	pt_entry_t *entries = pt_entries(node);

#pragma GCC unroll 8
	for (unsigned i = 0; i < PT_ENTRIES; i++, raw += step)
		pt_entry_store(&entries[i], raw);
	node->present = PT_ENTRIES;
	node_note_owner(node, attr);
}

/*
 * Replaces the large leaf at `index` of `node` (of `level`) by a table that translates every byte
 * to the same place with the same rights. The CPU may mark the leaf until the moment of the
 * exchange, so a lost exchange fills again. Nothing needs a flush: what is cached stays true. NULL:
 * no memory, nothing changed.
 */
static struct frame *node_split(struct pt_cursor *c, struct frame *node, unsigned index,
				unsigned level)
{
	pt_entry_t *e = &pt_entries(node)[index];
	uint64_t raw = pt_entry_load(e);
	struct frame *child = node_alloc(c, c->pt, level - 1, 0);

	INVARIANT(raw != 0 && level > 1 && !entry_is_table(raw));
	if (child == NULL)
		return NULL;
	if (leaf_tracked(raw, level))
		frame_get_n(leaf_frame(raw, level), PT_ENTRIES - 1);
	do
		node_fill(child, level - 1, fmt_hpa(raw, level), fmt_attr(raw, level));
	while (!pt_entry_swap(e, &raw, fmt_table(frame_hpa(child), level)));
	return child;
}

#endif
