/* SPDX-License-Identifier: MPL-2.0 */
/* Stores to page tables pass by here, so that a test can record them. */
#ifndef ARCH_PT_STORE_H
#define ARCH_PT_STORE_H

#include <stddef.h>
#include <stdint.h>

/* Called with the entry's address and its new value; NULL when nobody records. */
extern void (*host_pt_store)(const volatile void *entry, uint64_t raw);

static inline void pt_store_note(const volatile void *entry, uint64_t raw)
{
	if (host_pt_store != NULL)
		host_pt_store(entry, raw);
}

#endif
