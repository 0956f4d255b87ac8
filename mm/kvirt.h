/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Kernel virtual areas: ranges of Nestling's own addresses with memory mapped into them, whole or
 * in part. Each has at least one unmapped page before it and one behind it.
 *
 *   | guard | area                         | guard | area        | guard | free ...
 *           start   offset .. mapped       end
 *
 * What becomes of a dropped area, so that nothing of it is used while a CPU may still reach it:
 *
 *   LIVE ── kvirt_drop ──▶ DROPPED ── every CPU has flushed ──▶ its entries are taken out, its
 *           not present,             (mm/kspace_tlb.h)          frames put; did tables go, too?
 *           still the owners                                      │ no                  │ yes
 *           of their frames                                       ▼                     ▼
 *                                      addresses are free ◀── every CPU has ◀── UNLINKED
 *                                      tables are freed       flushed again
 *
 * The entries themselves remember what is in quarantine, so dropping needs no memory, cannot fail
 * and does not wait. kvirt_reap moves areas on; each CPU calls it once a turn. When addresses or
 * memory have run out, mapping makes the other CPUs flush, reaps, and tries once more.
 *
 * Any CPU may call these, outside any epoch section, holding no lock. One area is used by one
 * caller at a time.
 */
#ifndef MM_KVIRT_H
#define MM_KVIRT_H

#include "base/addr.h"
#include "mm/frame.h"
#include "mm/pt_ops.h"

struct kvirt_area;

/*
 * The areas lie in [start, end), page-aligned, of `pt`, a host table, where nothing is mapped; its
 * domain is the one of kspace_tlb_init. Once at boot. -ENOMEM: there are no areas.
 */
int kvirt_init(struct pt *pt, uint64_t start, uint64_t end);
/* Tests only: no areas any more. Precondition: all are dropped and reaped. */
void kvirt_fini(void);

/*
 * An area of `size` bytes with frames[0..n) mapped one after the other from `offset` on, each a
 * block of any order that a leaf can map, in use. `attr`: PT_READ with or without PT_WRITE or
 * PT_EXEC, and a memory type. On success the area owns the caller's reference to each frame.
 *
 * On failure nothing has changed, and the references are still the caller's:
 *   -EINVAL  size 0 or no frames; size, offset, or a frame's place in the area not aligned (to the
 *            frame's size); attr is something else, or writable and executable
 *   -ERANGE  offset is not inside the area, or the frames reach beyond its end
 *   -EEXIST  a frame is there twice. Looked for up to KVIRT_TWICE frames: each comes with one
 *            reference, so it would be given back twice
 *   -ENOSPC  no addresses, -ENOMEM: no memory; also after all in quarantine has come back
 * Panics on a frame that is not in use.
 */
#define KVIRT_TWICE 64
int kvirt_map_frames(uint64_t size, uint64_t offset, struct frame *const *frames, unsigned n,
		     pt_attr_t attr, struct kvirt_area **out);

/* Says that the range may be RAM that has metadata. Who maps it keeps it from being reused. */
#define KVIRT_RAM 1u

/*
 * As kvirt_map_frames, for memory that nobody counts: [at, at + len), page-aligned, with the
 * largest pages that fit; `len` 0 for an area in which nothing is mapped. Also:
 *   -ERANGE  the range wraps, or ends above the CPU's physical addresses
 *   -EBUSY   a page of it is RAM, and `flags` has no KVIRT_RAM
 */
int kvirt_map_untracked(uint64_t size, uint64_t offset, hpa_t at, uint64_t len, pt_attr_t attr,
			unsigned flags, struct kvirt_area **out);

/* The area without its guard pages: start .. end, half-open. */
hva_t kvirt_start(const struct kvirt_area *area);
hva_t kvirt_end(const struct kvirt_area *area);

/* The mapping of the page that contains `at`. -ERANGE: not in the area (its end is not);
 * -ENOENT: nothing is mapped there. Waits for nobody. */
int kvirt_query(const struct kvirt_area *area, hva_t at, struct pt_leaf *out);

/* The area, not dropped, that contains `at`; NULL if none does (guard pages are in none). */
struct kvirt_area *kvirt_find(hva_t at);

/*
 * Ends an area; `area` must not be used any more, nor its addresses: on this CPU they fault at
 * once, on another one from when it has flushed. Its frames are put, its addresses reused when no
 * CPU can reach them any more. Never fails, never waits. Panics on an area that is not live.
 */
void kvirt_drop(struct kvirt_area *area);

/* Moves on up to `max` areas whose generation every CPU has passed. Returns how many. */
unsigned kvirt_reap(unsigned max);

/* How many areas are dropped, and their addresses not free yet. A snapshot. */
uint64_t kvirt_quarantined(void);

/* May `leaf`, found in the areas' part of the table, be there, and with these rights? For the
 * audit, under a cursor over the table. */
bool kvirt_owns(const struct pt_leaf *leaf);

/* The ranges' structure, and that each used range is an area's. The number of violations. */
uint64_t kvirt_audit(void (*report)(const char *text));

#endif
