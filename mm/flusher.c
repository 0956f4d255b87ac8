/* SPDX-License-Identifier: MPL-2.0 */
#include "mm/flusher.h"

#include "base/list.h"
#include "mm/pt_ops.h"

void flusher_issue_apart(struct flusher *f, uint64_t va, uint64_t len)
{
	REQUIRES(len != 0 && ((va | len) & (PAGE_SIZE - 1)) == 0);
	if (f->all)
		return;
	if (f->ranges == FLUSHER_RANGES) {
		flusher_issue_all(f);
		return;
	}
	f->range[f->ranges++] = (struct flusher_range){ va, va + len };
}

void flusher_issue_all(struct flusher *f)
{
	f->range[0] = (struct flusher_range){ 0, UINT64_MAX }; /* no neighbour of anything */
	f->ranges = 1;
	f->all = true;
}

uint64_t flusher_dispatch(struct flusher *f)
{
	struct tlb_domain *tlb = &f->pt->tlb;

	if (f->ranges == 0)
		return f->generation;
	if (tlb->stamp == NULL) {
		f->generation = tlb_bump(tlb);
		tlb_kick_stale(tlb, f->generation);
	}
	for (unsigned i = 0; tlb->stamp != NULL && i < f->ranges; i++) {
		const struct flusher_range *r = &f->range[i];

		f->generation = tlb->stamp(hva(r->start), (r->end - r->start) / PAGE_SIZE);
	}
	f->ranges = 0;
	f->all = false;
	return f->generation;
}

/* Lock-free walkers may still be looking at what no CPU translates to any more. */
static void held_release(struct flusher *f)
{
	for (unsigned i = 0; i < f->leaves; i++)
		frame_put_deferred(f->leaf[i]);
	f->leaves = 0;
	while (f->tables != NULL) {
		struct frame *node = f->tables;
		struct epoch_item *next = node->defer.next;

		f->tables = next == NULL ? NULL : container_of(next, struct frame, defer);
		epoch_defer(&node->defer, f->pt->ops->free_table);
	}
}

void flusher_sync(struct flusher *f)
{
	struct tlb_domain *tlb = &f->pt->tlb;

	REQUIRES(!flusher_issued(f));
	if (f->generation != 0 && tlb->sync != NULL)
		tlb->sync(f->generation);
	else if (f->generation != 0)
		tlb_wait(tlb, f->generation);
	f->generation = 0;
	if (f->leaves != 0 || f->tables != NULL)
		held_release(f);
}

void flusher_settle_all(struct flusher *f)
{
	flusher_dispatch(f);
	flusher_sync(f);
}

void flusher_fini(struct flusher *f)
{
	MUST(f->ranges == 0, "%s table: %u ranges issued and never dispatched",
	     f->pt->ops->limits->name, f->ranges);
	MUST(f->leaves == 0 && f->tables == NULL,
	     "%s table: %u frames%s held back and never given back", f->pt->ops->limits->name,
	     f->leaves, f->tables != NULL ? " and tables" : "");
}
