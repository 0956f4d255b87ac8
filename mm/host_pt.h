/* SPDX-License-Identifier: MPL-2.0 */
/* The engine for Nestling's own tables. */
#ifndef MM_HOST_PT_H
#define MM_HOST_PT_H

#include "mm/pt_ops.h"

extern const struct pt_ops host_pt_ops;

/* Once at boot, before the first table: 1 GiB pages (CPUID 80000001 EDX bit 26), and MAXPHYADDR. */
void host_pt_setup(bool page_1g, unsigned maxphyaddr);

/*
 * A table with a root of its own that shares everything below it with `kernel`: what is mapped or
 * unmapped through either is so in both, at once. For whoever wants a lower half of his own. So
 * that no entry of a root ever has to change after it has been copied, all entries of the kernel's
 * half that are absent get an empty table first, 4 KiB each. -ENOMEM: some may have got one;
 * nothing else has changed. Precondition: `kernel` shares nobody's tables itself.
 *
 * Cursors and flushers of *pt are those of `kernel`, also its generations.
 */
int host_pt_share(struct pt *pt, struct pt *kernel);

/* The end of such a table; the kernel's tables stay. Before the kernel's own end. */
void host_pt_unshare(struct pt *pt);

#endif
