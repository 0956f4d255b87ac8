/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Part of mm/engine.h: walks without a lock, as the CPU's own walker does them. The caller's epoch
 * section keeps every node that they meet allocated; each entry is loaded once and only the loaded
 * value is looked at.
 */
#ifndef MM_ENGINE_WALK_H
#define MM_ENGINE_WALK_H

#include "mm/engine_node.h"

/* Is va one that this table may translate? Guards against folding high bits onto low ones. */
static inline bool va_valid(uint64_t va)
{
	return va - FMT_VA_FIRST <= FMT_VA_LAST - FMT_VA_FIRST;
}

static inline struct pt_hit hit(uint64_t raw, unsigned level)
{
	if (raw == 0)
		return (struct pt_hit){ .level = 0 };
	return (struct pt_hit){ fmt_hpa(raw, level), fmt_attr(raw, level), level };
}

/* The entry for va in a table of `level`. */
static inline const pt_entry_t *entry_at(hpa_t table, uint64_t va, unsigned level)
{
	return hpa_ptr(hpa_add(table, pt_index(va, level) * sizeof(pt_entry_t)));
}

static struct pt_hit engine_lookup(const struct pt *pt, uint64_t va)
{
	const pt_entry_t *top = pt->top;
	uint64_t raw = 0;

	REQUIRES(epoch_inside());
	if (!va_valid(va))
		return hit(0, 0);
	raw = pt_entry_load(&top[pt_index(va, FMT_LEVELS)]);
#pragma GCC unroll 4
	for (unsigned level = FMT_LEVELS; level > 1; level--) {
		if (__builtin_expect(!entry_is_table(raw), 0))
			return hit(raw, level);
		raw = pt_entry_load(entry_at(fmt_hpa(raw, level), va, level - 1));
	}
	return hit(raw, 1);
}

static inline struct pt_place place_in(uint64_t raw, unsigned level, uint64_t va, pt_attr_t needs)
{
	uint64_t offset = va & (pt_level_size(level) - 1);

	if (!fmt_has(raw, needs, level))
		return (struct pt_place){ NULL, 0 };
	return (struct pt_place){ hpa_ptr(hpa_add(fmt_hpa(raw, level), offset)),
				  pt_level_size(level) };
}

/* Apart from engine_lookup: here nothing but the answer waits for the leaf to be loaded, so that
 * a CPU has many of these under way at once. */
static struct pt_place engine_place(const struct pt *pt, uint64_t va, pt_attr_t needs)
{
	const pt_entry_t *top = pt->top;
	uint64_t raw = 0;

	REQUIRES(epoch_inside());
	REQUIRES(needs != 0 && (needs & ~(PT_RW | PT_ACCESSED | PT_DIRTY | PT_TRACKED)) == 0);
	if (!va_valid(va))
		return (struct pt_place){ NULL, 0 };
	raw = pt_entry_load(&top[pt_index(va, FMT_LEVELS)]);
#pragma GCC unroll 4
	for (unsigned level = FMT_LEVELS; level > 1; level--) {
		if (__builtin_expect(!entry_is_table(raw), 0))
			return place_in(raw, level, va, needs);
		raw = pt_entry_load(entry_at(fmt_hpa(raw, level), va, level - 1));
	}
	return place_in(raw, 1, va, needs);
}

/* Where a mark is set: the leaf's entry, and the one that leads to its table. */
struct mark_at {
	pt_entry_t *above; /* NULL at the root */
	uint64_t table;	   /* what it says */
};

/* One attempt, down from the root. -EAGAIN: the mark went into a table that was being taken out. */
static int mark_once(const struct pt *pt, uint64_t va, pt_attr_t marks)
{
	struct frame *node = pt->root;
	struct mark_at at = { NULL, 0 };

	for (unsigned level = FMT_LEVELS;; level--) {
		pt_entry_t *e = &pt_entries(node)[pt_index(va, level)];
		uint64_t raw = pt_entry_load(e), bits = fmt_marks(marks, level);

		while (raw != 0 && !entry_is_table(raw)) {
			if ((raw & bits) != bits && !pt_entry_swap(e, &raw, raw | bits))
				continue;
			return at.above == NULL || pt_entry_load(at.above) == at.table ? 0
										       : -EAGAIN;
		}
		if (raw == 0)
			return -ENOENT;
		at = (struct mark_at){ e, raw };
		node = node_at(raw, level);
	}
}

/*
 * Sets marks without a lock, as the CPU does: an exchange that gives up when the leaf is gone.
 *
 *      CPU 0 marks                            CPU 1 collapses the table
 *      loads the table's entry, the leaf
 *                                             table's entry := large page
 *                                             flush; takes over the leaves' marks
 *      leaf's exchange succeeds, too late
 *      the table's entry is another: again
 *
 * The CPU itself is out of the guest at the flush; software walkers are not, so they look again.
 */
static bool engine_mark(const struct pt *pt, uint64_t va, pt_attr_t marks)
{
	int err;

	REQUIRES(epoch_inside());
	if (!va_valid(va))
		return false;
	do
		err = mark_once(pt, va, marks);
	while (err == -EAGAIN);
	return err == 0;
}

static unsigned engine_walk(const struct pt *pt, uint64_t va, struct pt_step *steps)
{
	hpa_t table = frame_hpa(pt->root);
	unsigned n = 0;

	REQUIRES(epoch_inside());
	if (!va_valid(va))
		return 0;
	for (unsigned level = FMT_LEVELS;; level--) {
		const pt_entry_t *entries = hpa_ptr(table);
		struct pt_step *s = &steps[n++];

		s->level = level;
		s->table = table;
		s->index = pt_index(va, level);
		s->raw = pt_entry_load(&entries[s->index]);
		if (!entry_is_table(s->raw)) {
			s->is = s->raw == 0 ? PT_STEP_ABSENT : PT_STEP_LEAF;
			return n;
		}
		s->is = PT_STEP_TABLE;
		table = fmt_hpa(s->raw, level);
	}
}

static struct pt_leaf engine_decode(uint64_t raw, unsigned level)
{
	bool table = entry_is_table(raw);

	return (struct pt_leaf){
		.hpa = raw == 0 ? hpa(0) : fmt_hpa(raw, level),
		.size = pt_level_size(level),
		.attr = raw == 0 || table ? 0 : fmt_attr(raw, level),
	};
}

#endif
