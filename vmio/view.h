/* SPDX-License-Identifier: MPL-2.0 */
/*
 * MemView: a set of bytes of a space, as permission to use them. Exact to the byte: what is split
 * off is no longer there, what is lent out stays, and what is joined was not there before. (Seed
 * 004; its own `split` left a page that straddles the cut in both halves.)
 *
 *      view      [0 ........................ 100)
 *      split 20+30          ▼
 *      view      [0 .. 20)      [50 ... 100)      taken [20 .. 50)
 *      join      [0 ........................ 100)
 *
 * Ranges are kept sorted, not empty, and apart from each other, so that equal sets look equal.
 */
#ifndef VMIO_VIEW_H
#define VMIO_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#define VIEW_RANGES 260

struct view_range {
	uint64_t first, end; /* bytes [first, end) */
};

struct vm_view {
	unsigned n;
	struct view_range at[VIEW_RANGES];
};

/* All of [first, end), first <= end. */
void view_init(struct vm_view *v, uint64_t first, uint64_t end);

/* Are all bytes of [first, end) there? That is what borrowing them asks. An empty range always. */
bool view_has(const struct vm_view *v, uint64_t first, uint64_t end);

/*
 * Takes [first, end) out. False: not all of it was there, or there is no room for one range more;
 * nothing is changed.
 */
bool view_split(struct vm_view *v, uint64_t first, uint64_t end);

/* Puts [first, end) back. False: some of it was there, or no room; nothing is changed. */
bool view_join(struct vm_view *v, uint64_t first, uint64_t end);

bool view_equal(const struct vm_view *a, const struct vm_view *b);

#endif
