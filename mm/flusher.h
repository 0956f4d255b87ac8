/* SPDX-License-Identifier: MPL-2.0 */
/*
 * TlbFlusher: what a change of translations owes to the CPUs, and what nobody may reuse before that
 * is paid. (ostd.md 1.8)
 *
 *   issue      writes down what has become stale: a page, a range, or everything; and holds back
 *              the frames and tables that stale translations still lead to
 *   dispatch   bumps the generation of the table: no CPU begins to use what is stale from here on.
 *              CPUs that are using it now, and only those, are interrupted
 *   sync       waits until none of them can use it any more; then what was held back is given to
 *              the grace period, and from there to the allocator
 *
 *              flusher_issue             flusher_dispatch              flusher_sync
 *      EMPTY ────────────────▶ ISSUED ─────────────────▶ DISPATCHED ────────────────▶ EMPTY
 *                                ▲    flusher_issue          │
 *                                └───────────────────────────┘
 *
 * Between dispatch and sync the caller may do something else: that is the time the CPUs need. A
 * flusher that ends while it owes something is a bug that flusher_fini panics for.
 *
 * Neighbouring ranges become one; more than FLUSHER_RANGES become "everything". Stage 2 can only be
 * flushed as a whole (INVEPT and the ASID know no guest-physical addresses), so there the ranges
 * say no more than that there is something; Nestling's own space (mm/kspace_tlb.h) uses them.
 */
#ifndef MM_FLUSHER_H
#define MM_FLUSHER_H

#include "base/contract.h"
#include "mm/frame.h"
#include "mm/tlb.h"

struct pt;

#define FLUSHER_LEAVES 64
#define FLUSHER_RANGES 4

struct flusher_range {
	uint64_t start, end; /* half-open, page-aligned */
};

struct flusher {
	struct pt *pt;
	uint64_t generation;  /* DISPATCHED: what CPUs must have passed; else 0 */
	struct frame *tables; /* held back, linked by defer.next */
	uint32_t leaves;
	uint16_t ranges; /* issued and not dispatched; 0: none */
	bool all;	 /* they stand for everything */
	struct flusher_range range[FLUSHER_RANGES];
	struct frame *leaf[FLUSHER_LEAVES]; /* held back; one reference each */
};

static inline void flusher_init(struct flusher *f, struct pt *pt)
{
	f->pt = pt;
	f->generation = 0;
	f->tables = NULL;
	f->leaves = 0;
	f->ranges = 0;
	f->all = false;
}

/* Is something issued, and not dispatched? */
static inline bool flusher_issued(const struct flusher *f)
{
	return f->ranges != 0;
}

/* Is there room for one more frame? If not: dispatch and sync. */
static inline bool flusher_full(const struct flusher *f)
{
	return f->leaves == FLUSHER_LEAVES;
}

/* The same as flusher_issue, for what does not follow the range before it. */
void flusher_issue_apart(struct flusher *f, uint64_t va, uint64_t len);

/* Translations of [va, va + len), page-aligned and not empty, have gone or lost something; and so
 * have the tables that are for no more than this range. */
static inline void flusher_issue(struct flusher *f, uint64_t va, uint64_t len)
{
	if (f->ranges == 0) {
		f->range[0] = (struct flusher_range){ va, va + len };
		f->ranges = 1;
	} else if (f->range[f->ranges - 1].end == va) {
		f->range[f->ranges - 1].end += len;
	} else {
		flusher_issue_apart(f, va, len);
	}
}

/* Everything that CPUs know of the table may be stale. */
void flusher_issue_all(struct flusher *f);

/* Holds a reference back. Precondition: not full, and the frame's translation has been issued. */
static inline void flusher_hold(struct flusher *f, struct frame *leaf)
{
	INVARIANT(!flusher_full(f));
	f->leaf[f->leaves++] = leaf;
}

/* Holds a table back that is out of the tree, with all that is below it. */
static inline void flusher_hold_table(struct flusher *f, struct frame *table)
{
	table->defer.next = f->tables == NULL ? NULL : &f->tables->defer;
	f->tables = table;
}

/*
 * What was issued takes effect. Returns the generation that a CPU must have passed; nothing issued:
 * that of the last dispatch, or 0. Never waits. CPUs inside a guest are interrupted; those on
 * Nestling's own space are not, they flush at the end of their turn (flusher_sync is for haste).
 * Precondition: the entries have been written.
 */
uint64_t flusher_dispatch(struct flusher *f);

/*
 * Waits until every CPU has passed what was dispatched, and gives back what was held. Precondition:
 * nothing is issued that is not dispatched, and this CPU is not inside the domain of the table.
 * Nothing dispatched: only gives back.
 */
void flusher_sync(struct flusher *f);

/* Dispatch and sync in one, at once when no CPU uses the table: then there is nobody to tell. */
void flusher_settle_all(struct flusher *f);

static inline void flusher_settle(struct flusher *f, struct tlb_domain *tlb)
{
	if (tlb->stamp == NULL && f->leaves == 0 && f->tables == NULL) {
		tlb_bump(tlb);
		if (__builtin_expect(atomic_load(&tlb->inside) == 0, 1)) {
			flusher_init(f, f->pt);
			return;
		}
	}
	flusher_settle_all(f);
}

/* What is issued needs no dispatch: it has had no rights since before a flush that every CPU has
 * made. */
static inline void flusher_excuse(struct flusher *f)
{
	f->ranges = 0;
	f->all = false;
}

/* The end. Panics when something is issued and not dispatched, or held back and not given back. */
void flusher_fini(struct flusher *f);

#endif
