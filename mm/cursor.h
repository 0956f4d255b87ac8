/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The cursor of the engine: a lock over a range of one table, and a place in it. Used through
 * mm/vm_space.h (guests) and mm/kspace.h (Nestling itself), which add the rules about frames and
 * flushing; mm/engine.h is what is behind it.
 */
#ifndef MM_CURSOR_H
#define MM_CURSOR_H

#include "base/addr.h"
#include "mm/frame.h"
#include "mm/pt.h"

struct pt_cursor {
	struct pt *pt;
	uint64_t va;		/* start <= va <= end */
	uint64_t start, end;	/* end - 1 is the last byte: a range may end at the top of the space */
	struct frame *path[PT_MAX_LEVELS + 1]; /* [guard .. level]: tables on the way to va */
	uint8_t level;		/* of the table that the cursor stands in */
	uint8_t guard;		/* of the topmost locked table, which covers the range */
	bool change;		/* may it change the table? */
	uint32_t spare_count;
	struct frame *spare;	/* reserved tables, linked by link.next */
};

/* What a cursor took out: leaves' frames and whole tables, linked through their metadata. */
struct pt_retired {
	struct frame *tables; /* heads of detached subtrees */
	struct pt_leaf *batch;
	uint64_t bytes; /* of leaves that were translated before */
};

#endif
