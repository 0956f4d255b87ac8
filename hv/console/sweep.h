/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Visits what is mapped in a space, a piece at a time, so that a guest that faults meanwhile does
 * not wait for long: holes are passed without a lock, a piece of 2 MiB (or one larger page) is
 * copied under a cursor, and only then shown. The whole is therefore no snapshot; each piece is.
 */
#ifndef HV_CONSOLE_SWEEP_H
#define HV_CONSOLE_SWEEP_H

#include "mm/vm_space.h"

/* Gets each mapping, in ascending order, without any lock held. */
typedef void (*sweep_visit)(void *context, const struct pt_leaf *leaf);

/*
 * Every mapping that overlaps [start, end), whole. Both page-aligned, start <= end, within the
 * space's addresses. 0, or what vm_cursor_open says. One caller at a time (the console's CPU).
 */
int sweep(struct vm_space *space, uint64_t start, uint64_t end, sweep_visit visit, void *context);

/*
 * The same for mappings that carry one of `marks` (PT_ACCESSED, PT_DIRTY), which are taken off
 * before the visit and flushed, so that the next sweep shows what has come since. As it was before
 * is what is visited. What the hypervisor itself was writing to these pages has been written when
 * this returns. Errors also as vm_clear_marks_next; what was visited until then is cleared.
 * Precondition: outside any epoch section.
 */
int sweep_marks(struct vm_space *space, uint64_t start, uint64_t end, pt_attr_t marks,
		sweep_visit visit, void *context);

#endif
