/* SPDX-License-Identifier: MPL-2.0 */
/*
 * An allocator of address ranges. It knows every byte of its space as part of one block, used or
 * free; no two free blocks are neighbours, and each used one is exactly what was handed out:
 *
 *   start                                                                      end
 *   | used | free        | used     | used | free                               |
 *
 * The blocks are nodes of a balanced tree (AVL) in the order of their addresses, and each node
 * knows the largest free block of its subtree, so that the lowest free block that is large enough
 * is found on one way down. To hand out, to give back and to look up take a few such ways each:
 * O(log n) for n blocks. Since used blocks are in the tree, whoever gives back what he does not
 * have, or has already given back, or has only a part of, is told so.
 *
 * No locking of its own. Addresses and lengths are multiples of the page size.
 */
#ifndef MM_RANGE_H
#define MM_RANGE_H

#include "base/addr.h"
#include "mm/pool.h"

struct range_block;

struct range {
	uint64_t start, end; /* half-open */
	struct range_block *root;
	struct pool blocks; /* where nodes come from */
};

/*
 * All of [start, end) is free; both page-aligned, start < end. -ENOMEM: *r must not be used.
 * range_fini gives all memory back, whatever is handed out.
 */
int range_init(struct range *r, uint64_t start, uint64_t end);
void range_fini(struct range *r);

/*
 * Hands out the lowest free `bytes` that begin at a multiple of `align`, a power of two of at least
 * a page, and notes `owner`, which is not NULL. `bytes` is a positive multiple of the page size.
 * -ENOSPC: no free block has bytes + align - PAGE_SIZE, which is what it takes to be sure of an
 * aligned place; -ENOMEM: no memory for the nodes. Nothing has changed then. On success the range
 * can be given back without any memory.
 */
int range_alloc(struct range *r, uint64_t bytes, uint64_t align, void *owner, uint64_t *start);

/*
 * Takes back what range_alloc handed out; needs no memory. -EINVAL: empty, unaligned or not in the
 * space; -ENOENT: not exactly one range that is handed out now: given back already, never handed
 * out, a part of one, or more than one. Nothing has changed then.
 */
int range_free(struct range *r, uint64_t start, uint64_t bytes);

/* The owner of the range that contains `at`; NULL when that is free or outside of the space. */
void *range_owner(const struct range *r, uint64_t at);

struct range_audit {
	uint64_t used, free;		 /* blocks */
	uint64_t used_bytes, free_bytes; /* together the whole space */
	uint64_t largest;		 /* free block, bytes */
	unsigned depth;			 /* nodes on the longest way down */
	uint64_t violations;
	void (*report)(const char *text);
};

/*
 * Order, no gap and no overlap, no free neighbours, balance, what nodes know of their subtrees, no
 * node lost. Fills *out but for `report`, which is called with each violation; their number.
 */
uint64_t range_audit(const struct range *r, struct range_audit *out);

#endif
