/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The door to the engine: one table of operations per format, filled in by mm/engine.h. A call
 * through it is one whole operation; inside, everything is compiled for the format, and there is no
 * indirect call on any walk.
 *
 * Contracts: as the operations of the same name in mm/vm_space.h, with raw addresses. Operations
 * that take something out hand it to `flusher` and may stop early when that is full.
 */
#ifndef MM_PT_OPS_H
#define MM_PT_OPS_H

#include "mm/cursor.h"
#include "mm/flusher.h"
#include "mm/pt.h"

struct pt_audit {
	uint64_t nodes, leaves[4], violations;
	void (*report)(const char *text);
};

struct pt_ops {
	const struct pt_limits *limits;

	/* An empty table. -ENOMEM. */
	int (*init)(struct pt *pt);
	/* Frees all. No cursor is open, no CPU uses it, nothing of it is cached. */
	void (*destroy)(struct pt *pt);

	int (*open)(struct pt_cursor *c, struct pt *pt, uint64_t start, uint64_t end, bool change);
	void (*close)(struct pt_cursor *c);

	int (*query)(struct pt_cursor *c, struct pt_leaf *out);
	bool (*find_next)(struct pt_cursor *c, uint64_t len);
	bool (*next)(struct pt_cursor *c, uint64_t len, struct pt_leaf *out);
	int (*jump)(struct pt_cursor *c, uint64_t va);
	int (*reserve)(struct pt_cursor *c, unsigned tables);

	/* One page of `level`. What was there goes to `flusher` (at most one leaf, or one table, or
	 * 512 leaves of a table that counts as one). */
	int (*map)(struct pt_cursor *c, hpa_t at, unsigned level, pt_attr_t attr,
		   struct flusher *flusher);
	/* One page where nothing is, not even an empty table. -EEXIST: something is. */
	int (*map_new)(struct pt_cursor *c, hpa_t at, unsigned level, pt_attr_t attr);
	/* Contiguous memory, largest pages that fit, up to max_level; `done` bytes are mapped, also
	 * on error. Stops with 0 and done < len when `flusher` is full. */
	int (*map_range)(struct pt_cursor *c, hpa_t at, uint64_t len, pt_attr_t attr,
			 unsigned max_level, struct flusher *flusher, uint64_t *done);
	/* Blocks one after the other; `done` of them are mapped, also on error. Stops with 0 and
	 * done < n when `flusher` is full. */
	int (*map_frames)(struct pt_cursor *c, struct frame *const *frames, uint64_t n,
			  pt_attr_t attr, struct flusher *flusher, uint64_t *done);
	/* Stops with 0 before the end when `flusher` is full; the cursor says where. */
	int (*unmap)(struct pt_cursor *c, uint64_t end, struct flusher *flusher, uint64_t *pages);
	/* `flusher` must not be full; -ENOENT as protect_next. */
	int (*take_next)(struct pt_cursor *c, uint64_t len, struct flusher *flusher,
			 struct pt_fragment *out);
	/* Issues what lost a right. */
	int (*protect)(struct pt_cursor *c, uint64_t len, pt_attr_t attr, struct flusher *flusher,
		       uint64_t *pages);
	int (*protect_next)(struct pt_cursor *c, uint64_t len, pt_attr_t attr, struct pt_leaf *out);
	int (*clear_marks_next)(struct pt_cursor *c, uint64_t len, pt_attr_t marks,
				struct pt_leaf *out);

	/*
	 * In two halves, with a flush between them. The first puts the large page in the place of
	 * *table, which is out of the tree then and stays locked; the second takes over the marks
	 * that were set until the flush, and retires the table.
	 */
	int (*collapse)(struct pt_cursor *c, unsigned level, struct flusher *flusher,
			struct frame **table);
	void (*collapse_end)(struct pt_cursor *c, struct frame *table, struct flusher *flusher);

	/* Lock-free, inside an epoch section. */
	struct pt_hit (*lookup)(const struct pt *pt, uint64_t va);
	struct pt_place (*place)(const struct pt *pt, uint64_t va, pt_attr_t needs);
	bool (*mark)(const struct pt *pt, uint64_t va, pt_attr_t marks);
	unsigned (*walk)(const struct pt *pt, uint64_t va, struct pt_step *steps);

	struct pt_leaf (*decode)(uint64_t raw, unsigned level);
	/* Frees a retired table and what its leaves own, after the grace period. */
	void (*free_table)(struct epoch_item *item);
	/* Under a cursor over the whole table. */
	void (*audit)(struct pt_cursor *c, struct pt_audit *audit);
};

/* A lookup as a leaf: true and *out filled when something is mapped at va. */
static inline bool pt_translate(const struct pt *pt, uint64_t va, struct pt_leaf *out)
{
	struct pt_hit hit = pt->ops->lookup(pt, va);

	if (hit.level == 0)
		return false;
	out->size = pt_level_size(hit.level);
	out->va = round_down(va, out->size);
	out->hpa = hit.hpa;
	out->attr = hit.attr;
	return true;
}

/* Reads the attributes' names: "rwx", with '-' for a right that is not there. buf[4]. */
const char *pt_rights_text(pt_attr_t attr, char buf[4]);
/* "WB", "UC", ... */
const char *pt_mem_text(pt_attr_t attr);

#endif
