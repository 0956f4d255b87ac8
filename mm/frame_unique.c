/* SPDX-License-Identifier: MPL-2.0 */
#include "mm/frame_unique.h"

#include "base/err.h"
#include "mm/buddy.h"
#include "mm/frame_inside.h"

int frame_to_unique(struct frame *f)
{
	uint32_t one = FRAME_BUSY + 1;

	REQUIRES(frame_refs_shared(atomic_load_explicit(&f->refs, memory_order_relaxed)));
	/* Before it is unique: at no moment is it unique and seems to be in a list. Shared frames
	 * have no use for the field, so it does no harm if we fail. */
	atomic_store_explicit(&f->link.list, 0, memory_order_relaxed);
	/* Acquire, for the last writes of those who gave their references back; release, for the
	 * store above. */
	return atomic_compare_exchange_strong_explicit(&f->refs, &one, FRAME_UNIQUE,
						       memory_order_acq_rel, memory_order_relaxed)
		       ? 0
		       : -EBUSY;
}

static inline void check_free_to_change(const struct frame *f)
{
	uint32_t refs = atomic_load_explicit(&f->refs, memory_order_relaxed);

	MUST(refs == FRAME_UNIQUE, "frame 0x%llx: is not unique (0x%x)",
	     (unsigned long long)frame_hpa(f).hpa, refs);
	MUST(atomic_load_explicit(&f->link.list, memory_order_relaxed) == 0,
	     "frame 0x%llx: is in a list", (unsigned long long)frame_hpa(f).hpa);
}

void frame_from_unique(struct frame *f)
{
	check_free_to_change(f);
	atomic_store_explicit(&f->refs, FRAME_BUSY + 1, memory_order_release);
}

void frame_repurpose(struct frame *f, enum frame_kind kind)
{
	struct frame_cpu *cpu = frame_cpu();
	int64_t bytes = (int64_t)frame_size(f);

	REQUIRES(kind != FRAME_FREE && kind < FRAME_KINDS);
	check_free_to_change(f);
	/* BUSY meanwhile: whatever the destructor tries, it cannot end the frame a second time. */
	atomic_store_explicit(&f->refs, FRAME_BUSY, memory_order_relaxed);
	frame_destroy(f);
	MUST(atomic_load_explicit(&f->refs, memory_order_relaxed) == FRAME_BUSY,
	     "frame 0x%llx: its destructor gave it away", (unsigned long long)frame_hpa(f).hpa);
	frame_book(cpu, (enum frame_kind)f->kind, -bytes);
	frame_book(cpu, kind, bytes);
	f->kind = (uint8_t)kind;
	f->present = 0;
	f->word = 0;
	/* A destructor may have put something there, say while it deferred its own work. */
	atomic_store_explicit(&f->link.list, 0, memory_order_relaxed);
	atomic_store_explicit(&f->refs, FRAME_UNIQUE, memory_order_release);
}

void frame_unique_drop(struct frame *f)
{
	check_free_to_change(f);
	atomic_store_explicit(&f->refs, FRAME_BUSY, memory_order_relaxed);
	frame_end(f);
}

void frame_reset_unused(struct frame *f)
{
	uint64_t bytes = frame_size(f);

	check_free_to_change(f);
	atomic_store_explicit(&f->refs, FRAME_BUSY, memory_order_relaxed);
	frame_destroy(f);
	frame_book(frame_cpu(), (enum frame_kind)f->kind, -(int64_t)bytes);
	f->kind = FRAME_FREE;
	/* Under the lock, as all that frame_from_unused looks at. */
	spin_lock(&buddy.lock);
	buddy.total -= bytes;
	atomic_store_explicit(&f->refs, FRAME_UNUSED, memory_order_release);
	spin_unlock(&buddy.lock);
}

hpa_t frame_unique_into_raw(struct frame *f)
{
	REQUIRES(frame_is_unique(f));
	return frame_hpa(f);
}

struct frame *frame_unique_from_raw(hpa_t at)
{
	struct frame *f = frame_at(at);

	REQUIRES(hpa_aligned(at, PAGE_SIZE) && f != NULL && frame_is_unique(f));
	return f;
}
