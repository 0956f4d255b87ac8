/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The cursor of the engine: a lock over a range of one table, and a place in it. Used through
 * mm/vm_space.h (guests) and mm/kspace.h (Nestling itself), which add the rules about frames and
 * flushing; mm/engine.h is what is behind it, mm/pt_ops.h the door.
 */
#ifndef MM_CURSOR_H
#define MM_CURSOR_H

#include "base/addr.h"
#include "mm/frame.h"
#include "mm/pt.h"

struct pt_cursor {
	struct pt *pt;
	uint64_t va;	     /* start <= va <= end */
	uint64_t start, end; /* half-open, page-aligned */
	/* Nodes on the way to va, by level: [level] .. [guard] are valid and locked by us. */
	struct frame *path[PT_MAX_LEVELS + 1];
	uint8_t level;	     /* of the node that the cursor stands in */
	uint8_t guard;	     /* of the topmost locked node, the lowest that covers the range */
	bool change;	     /* locked for changing: as a writer */
	uint32_t spares;     /* reserved nodes */
	struct frame *spare; /* linked by defer.next */
};

#endif
