/* SPDX-License-Identifier: MPL-2.0 */
/* What memory is used for, and whether the books, the lists and the slots agree. */
#include "base/contract.h"
#include "base/print.h"
#include "mm/buddy.h"
#include "mm/frame_alloc.h"
#include "mm/frame_inside.h"

#define AUDIT_TRIES 1000

void frame_account(struct frame_account *out)
{
	*out = (struct frame_account){ 0 };
	spin_lock(&buddy.lock);
	out->total = buddy.total;
	out->by_kind[FRAME_FREE] = buddy.free;
	if (buddy.recents != 0)
		out->largest_free = SIZE_2M;
	for (unsigned order = 0; buddy.ready && order < FRAME_ORDERS; order++)
		if (buddy.first[order] != FRAME_NONE && PAGE_SIZE << order > out->largest_free)
			out->largest_free = PAGE_SIZE << order;
	spin_unlock(&buddy.lock);
	for (unsigned i = 0; i < MAX_CPUS; i++) {
		uint64_t zeroed = frame_stack_count(&frame_cpus[i].zeroed) * PAGE_SIZE;

		out->zeroed += zeroed;
		out->by_kind[FRAME_FREE] += frame_stack_count(&frame_cpus[i].any) * PAGE_SIZE +
					    zeroed;
		for (unsigned kind = 1; kind < FRAME_KINDS; kind++)
			out->by_kind[kind] += (uint64_t)frame_booked(&frame_cpus[i],
								     (enum frame_kind)kind);
	}
}

/* Memory of these kinds is not from our lists, unless its slot says so. */
static bool outside(enum frame_kind kind)
{
	return kind == FRAME_IMAGE || kind == FRAME_META || kind == FRAME_RESERVED;
}

void frame_account_add(enum frame_kind kind, int64_t bytes)
{
	frame_book(frame_cpu(), kind, bytes);
	if (!outside(kind))
		return;
	spin_lock(&buddy.lock);
	buddy.total += (uint64_t)bytes;
	spin_unlock(&buddy.lock);
}

void frame_complain(void (*report)(const char *text), uint64_t *violations, const char *fmt, ...)
{
	char text[160];
	va_list args;

	va_start(args, fmt);
	vformat(text, sizeof(text), fmt, args);
	va_end(args);
	(*violations)++;
	report(text);
}

/* One free list: every element is a free head of its order, aligned, linked both ways. */
static uint64_t audit_list(unsigned order, uint64_t *bytes, void (*report)(const char *text))
{
	uint64_t violations = 0;
	uint32_t prev = FRAME_NONE;

	for (uint32_t pfn = buddy.first[order]; pfn != FRAME_NONE;
	     pfn = frame_slot(pfn)->link.next) {
		const struct frame *f = frame_slot(pfn);

		if (frame_at(hpa((uint64_t)pfn << PAGE_SHIFT)) == NULL ||
		    atomic_load_explicit(&f->refs, memory_order_relaxed) !=
			    FRAME_FREE_HEAD + order ||
		    (pfn & ((UINT64_C(1) << order) - 1)) != 0 || f->link.prev != prev) {
			frame_complain(report, &violations,
				       "free list of order %u is broken at frame 0x%x", order, pfn);
			break;
		}
		*bytes += PAGE_SIZE << order;
		prev = pfn;
	}
	return violations;
}

/* Blocks and frames that are kept beside the lists: each reads `want`. */
static uint64_t audit_kept(struct frame *const *kept, uint64_t n, uint32_t want,
			   void (*report)(const char *text))
{
	uint64_t violations = 0;

	for (uint64_t i = 0; i < n; i++) {
		uint32_t refs = atomic_load_explicit(&kept[i]->refs, memory_order_relaxed);

		if (refs != want)
			frame_complain(report, &violations,
				       "frame 0x%llx is kept as free, and reads 0x%x",
				       (unsigned long long)frame_hpa(kept[i]).hpa, refs);
	}
	return violations;
}

static uint64_t audit_lists(void (*report)(const char *text))
{
	uint64_t violations, bytes;

	spin_lock(&buddy.lock);
	bytes = buddy.recents * SIZE_2M;
	violations = audit_kept(buddy.recent, buddy.recents, FRAME_FREE_HEAD + FRAME_RECENT,
				report);
	for (unsigned order = 0; buddy.ready && order < FRAME_ORDERS; order++)
		violations += audit_list(order, &bytes, report);
	if (bytes != buddy.free)
		frame_complain(report, &violations,
			       "free lists hold %llu bytes, the account says %llu",
			       (unsigned long long)bytes, (unsigned long long)buddy.free);
	spin_unlock(&buddy.lock);
	return violations;
}

static uint64_t audit_stack(const struct frame_stack *s, void (*report)(const char *text))
{
	return audit_kept(s->frame, frame_stack_count(s), FRAME_CACHED, report);
}

/*
 * Each slot has a legal count word (M6), and heads are aligned to their size. Holds at every moment
 * while others go on; what two slots say together does not.
 */
static uint64_t audit_slots(void (*report)(const char *text))
{
	uint64_t violations = 0;

	for (uint64_t pfn = 0; pfn < frame_limit; pfn++) {
		const struct frame *f = frame_at(hpa(pfn << PAGE_SHIFT));
		uint32_t refs;
		bool legal;

		if (f == NULL)
			continue;
		refs = atomic_load_explicit(&f->refs, memory_order_relaxed);
		legal = refs <= FRAME_REFS_MAX + 1 || refs == FRAME_UNIQUE ||
			refs == FRAME_CACHED || frame_refs_free_head(refs);
		if (frame_refs_free_head(refs))
			legal = pfn % (UINT64_C(1) << frame_refs_free_order(refs)) == 0;
		if (!legal)
			frame_complain(report, &violations, "frame 0x%llx reads 0x%x",
				       (unsigned long long)(pfn << PAGE_SHIFT), refs);
	}
	return violations;
}

/* Takes the account anew; what its rows add up to. */
static uint64_t booked_bytes(struct frame_account *a)
{
	uint64_t sum = 0;

	frame_account(a);
	for (unsigned kind = 0; kind < FRAME_KINDS; kind++)
		sum += a->by_kind[kind];
	return sum;
}

uint64_t frame_audit(void (*report)(const char *text))
{
	uint64_t violations = audit_lists(report) + audit_slots(report);
	struct frame_account a;
	uint64_t booked;

	violations += audit_stack(&frame_cpu()->any, report);
	violations += audit_stack(&frame_cpu()->zeroed, report);
	/* Another CPU may have a frame in its hands at this moment: what is lost stays lost. */
	booked = booked_bytes(&a);
	for (unsigned tries = 0; tries < AUDIT_TRIES && booked != a.total; tries++) {
		cpu_relax();
		booked = booked_bytes(&a);
	}
	if (booked != a.total)
		frame_complain(report, &violations,
			       "%llu bytes are booked of %llu: some are lost or counted twice",
			       (unsigned long long)booked, (unsigned long long)a.total);
	return violations;
}
