/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Part of mm/engine.h: changing the rights and marks of what is mapped. The CPU may set marks in an
 * entry at any time: a locked instruction where it may still have some to set, a plain store where
 * it has not.
 */
#ifndef MM_ENGINE_PROTECT_H
#define MM_ENGINE_PROTECT_H

#include "mm/engine_change.h"

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
 * Replaces the bits `mask` of a leaf, `raw` when it was last seen, by those of `bits`. The CPU may
 * set its `marks` until the last moment (where it has none, those that the hypervisor sets in its
 * place mean nothing to anybody): an exchange, not a store, unless it has set all there are.
 * Returns the old value.
 */
static inline uint64_t entry_update(pt_entry_t *e, uint64_t raw, uint64_t mask, uint64_t bits,
				    uint64_t marks)
{
	if ((raw & marks) == marks && (mask & marks) == 0) {
		pt_entry_store(e, (raw & ~mask) | bits);
		return raw;
	}
	while (!pt_entry_swap(e, &raw, (raw & ~mask) | bits))
		continue;
	return raw;
}

static inline uint64_t leaf_update(struct pt_cursor *c, uint64_t raw, uint64_t mask, uint64_t bits)
{
	return entry_update(cursor_entry(c), raw, mask, bits, FMT_HW_MARKS(c->level));
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

/*
 * How protect changes an entry of a level: the bits `mask` become `keep`; where a bit of `flush`
 * was different before, some right has gone or the memory type is another.
 */
struct protect_bits {
	uint64_t mask, keep, flush;
};

static inline struct protect_bits protect_bits(pt_attr_t attr, unsigned level)
{
	uint64_t mask = fmt_rights_mask(level);
	uint64_t all = fmt_leaf_bits(attr | PT_RIGHTS, level);
	uint64_t rights = (all ^ fmt_leaf_bits(attr & ~PT_RIGHTS, level)) & mask;
	uint64_t keep = fmt_leaf_bits(attr, level) & mask;

	return (struct protect_bits){ mask, keep, (mask & ~rights) | ((keep ^ all) & rights) };
}

/* What the entries that were changed had in common, and what any of them had. */
struct seen_bits {
	uint64_t all, any;
};

/* Four entries at once, if the CPU has nothing left to mark in them. A set mark says that the entry
 * is not absent. */
static inline bool protect_four(pt_entry_t *e, const struct protect_bits *p, uint64_t marks,
				struct seen_bits *seen)
{
	uint64_t a = pt_entry_load(&e[0]), b = pt_entry_load(&e[1]);
	uint64_t c = pt_entry_load(&e[2]), d = pt_entry_load(&e[3]);
	uint64_t all = a & b & c & d;

	if (marks == 0 || (all & marks) != marks)
		return false;
	seen->all &= all;
	seen->any |= a | b | c | d;
	pt_entry_store(&e[0], (a & ~p->mask) | p->keep);
	pt_entry_store(&e[1], (b & ~p->mask) | p->keep);
	pt_entry_store(&e[2], (c & ~p->mask) | p->keep);
	pt_entry_store(&e[3], (d & ~p->mask) | p->keep);
	return true;
}

/* Returns the pages: 0 for an absent entry, else 1. */
static inline unsigned protect_one(pt_entry_t *e, const struct protect_bits *p, uint64_t marks,
				   struct seen_bits *seen)
{
	uint64_t raw = pt_entry_load(e);

	if (raw == 0)
		return 0;
	raw = entry_update(e, raw, p->mask, p->keep, marks);
	seen->all &= raw;
	seen->any |= raw;
	return 1;
}

static inline bool protect_flushes(const struct protect_bits *p, const struct seen_bits *seen)
{
	return (((seen->any & ~p->keep) | (~seen->all & p->keep)) & p->flush) != 0;
}

/* The cursor's leaf table, from the cursor to `limit` or the table's end. Returns the pages. */
static uint64_t cursor_protect(struct pt_cursor *c, uint64_t limit, pt_attr_t attr,
			       struct flusher *flusher)
{
	uint64_t count = slots_within(c, limit - c->va), marks = FMT_HW_MARKS(1), i = 0, pages = 0;
	pt_entry_t *e = cursor_entry(c);
	struct protect_bits p = protect_bits(attr, 1);
	struct seen_bits seen = { p.keep, p.keep };

	while (i < count) {
		if (count - i >= 4 && protect_four(&e[i], &p, marks, &seen)) {
			pages += 4;
			i += 4;
		} else {
			/* One at a time up to the next four. */
			do
				pages += protect_one(&e[i++], &p, marks, &seen);
			while (i < count && i % 4 != 0);
		}
	}
	if (protect_flushes(&p, &seen))
		flusher_issue(flusher, c->va, count * PAGE_SIZE);
	cursor_move(c, c->va + count * PAGE_SIZE);
	return pages;
}

static int engine_protect(struct pt_cursor *c, uint64_t len, pt_attr_t attr,
			  struct flusher *flusher, uint64_t *pages)
{
	uint64_t limit = c->va + len;

	REQUIRES(c->change && len_valid(c, len));
	*pages = 0;
	if (!fmt_attr_ok(attr))
		return -EINVAL;
	while (cursor_next_leaf(c, limit) != 0) {
		struct protect_bits p;
		struct seen_bits seen;
		uint64_t raw;
		int err;

		if (c->level == 1) {
			*pages += cursor_protect(c, limit, attr, flusher);
			continue;
		}
		err = cursor_next_inside(c, limit - c->va, &raw);
		if (err != 0)
			return err;
		if (c->level == 1) /* it had to be split */
			continue;
		/* Of the level that the splitting has led to. */
		p = protect_bits(attr, c->level);
		seen = (struct seen_bits){ p.keep, p.keep };
		protect_one(cursor_entry(c), &p, FMT_HW_MARKS(c->level), &seen);
		if (protect_flushes(&p, &seen))
			flusher_issue(flusher, c->va, pt_level_size(c->level));
		*pages += pt_level_size(c->level) / PAGE_SIZE;
		cursor_move(c, cursor_slot_end(c));
	}
	return 0;
}

#endif
