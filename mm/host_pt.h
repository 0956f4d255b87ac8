/* SPDX-License-Identifier: MPL-2.0 */
/* The engine for Nestling's own tables. */
#ifndef MM_HOST_PT_H
#define MM_HOST_PT_H

#include "mm/pt_ops.h"

extern const struct pt_ops host_pt_ops;

/* Once at boot, before the first table: 1 GiB pages (CPUID 80000001 EDX bit 26), and MAXPHYADDR. */
void host_pt_setup(bool page_1g, unsigned maxphyaddr);

#endif
