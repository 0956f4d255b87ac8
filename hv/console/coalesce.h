/* SPDX-License-Identifier: MPL-2.0 */
/* Neighbouring mappings as one line. */
#ifndef HV_CONSOLE_COALESCE_H
#define HV_CONSOLE_COALESCE_H

#include "mm/pt.h"

struct extent {
	uint64_t va, hpa, len;
	uint64_t page; /* size of its pages */
	pt_attr_t attr;
};

/* Adds `leaf` to the extent if it goes on where that ends, in the guest and in the host, with the
 * same page size and attributes. False: it does not; nothing is changed. An extent of length 0
 * takes any. */
bool extent_add(struct extent *e, const struct pt_leaf *leaf);

/* The same, wherever in the host it lies and whatever its size and attributes are. */
bool extent_add_any(struct extent *e, const struct pt_leaf *leaf);

#endif
