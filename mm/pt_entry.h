/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Entries of page tables in memory: eight bytes that the CPU's walker, lock-free readers and one
 * writer look at together. All access goes through here: each load and store is one aligned 8-byte
 * access, and every store passes pt_entry_store or pt_entry_swap, so that a test can record them.
 */
#ifndef MM_PT_ENTRY_H
#define MM_PT_ENTRY_H

#include <arch/pt_store.h>
#include <stdatomic.h>

#include "mm/frame.h"

typedef _Atomic uint64_t pt_entry_t;

#define PT_ENTRIES 512

/* The 512 entries of a node. */
static inline pt_entry_t *pt_entries(const struct frame *node)
{
	return hpa_ptr(frame_hpa(node));
}

static inline uint64_t pt_entry_load(const pt_entry_t *e)
{
	/* Acquire: what a table entry points to was written before the entry was. */
	return atomic_load_explicit(e, memory_order_acquire);
}

static inline void pt_entry_store(pt_entry_t *e, uint64_t raw)
{
	pt_store_note(e, raw);
	atomic_store_explicit(e, raw, memory_order_release);
}

/* Replaces `old` by `raw` unless the CPU has marked the entry meanwhile; then *old is what it is.
 */
static inline bool pt_entry_swap(pt_entry_t *e, uint64_t *old, uint64_t raw)
{
	if (!atomic_compare_exchange_strong_explicit(e, old, raw, memory_order_acq_rel,
						     memory_order_acquire))
		return false;
	pt_store_note(e, raw);
	return true;
}

/* Makes it absent; what it was, with all marks that the CPU has ever set in it. */
static inline uint64_t pt_entry_take(pt_entry_t *e)
{
	pt_store_note(e, 0);
	return atomic_exchange_explicit(e, 0, memory_order_acq_rel);
}

#endif
