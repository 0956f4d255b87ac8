/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The parts of a block, first the heads as they are found in the slots:
 *
 *   one block   [order 9, SHARED 1] [0, UNUSED] [0, UNUSED] ...
 *   its parts   [order 0, SHARED 1] [0, SHARED 1] [0, SHARED 1] ...
 *
 * Between the two each slot finds a head that reaches it: the parts become heads before the block
 * shrinks, and cease to be some after it has grown. What an observer sees that looks just then:
 *
 *      observer, at part 3                    CPU that joins
 *                                             all parts BUSY: nobody else has or gets a reference
 *      part 3 is a head
 *                                             first's order := that of the whole
 *      part 3 is a head, so is first
 *                                             part 1, part 2, part 3 := UNUSED
 *      part 3 reads UNUSED: the head
 *      around it reaches it
 *                                             first's count := one
 *
 * Splitting is the same backwards, and one thing more: see mm/frame_inside.h.
 */
#include "mm/frame_block.h"

#include "base/contract.h"
#include "base/err.h"
#include "mm/frame_inside.h"

#define PART_BITS 9

_Static_assert(FRAME_PARTS == 1u << PART_BITS, "a part is one entry of a table");

static inline unsigned order_of(const struct frame *f)
{
	return atomic_load_explicit(&f->order, memory_order_relaxed);
}

static inline bool in_list(const struct frame *f)
{
	return atomic_load_explicit(&f->link.list, memory_order_relaxed) != 0;
}

void frame_block_cut(struct frame *head, uint64_t parts, unsigned order, enum frame_kind kind,
		     uint32_t refs)
{
	for (uint64_t i = parts - 1; i > 0; i--) {
		struct frame *f = head + (i << order);

		f->kind = (uint8_t)kind;
		f->present = 0;
		f->word = head->word;
		atomic_store_explicit(&f->link.list, 0, memory_order_relaxed);
		atomic_store_explicit(&f->order, (uint8_t)order, memory_order_relaxed);
		atomic_store_explicit(&f->refs, refs, memory_order_release);
	}
	head->kind = (uint8_t)kind;
	atomic_fetch_add_explicit(&frame_reshaped, 1, memory_order_acq_rel);
	atomic_store_explicit(&head->order, (uint8_t)order, memory_order_release);
	atomic_store_explicit(&head->refs, refs, memory_order_release);
}

/* From `refs`, which means that it is ours alone, to BUSY. */
static bool seize(struct frame *f, uint32_t refs)
{
	return atomic_compare_exchange_strong_explicit(&f->refs, &refs, FRAME_BUSY,
						       memory_order_acquire, memory_order_relaxed);
}

/* The count word of a frame that is ours alone, seen by its owner. */
static uint32_t own_refs(const struct frame *f)
{
	uint32_t refs = atomic_load_explicit(&f->refs, memory_order_relaxed);

	return refs == FRAME_UNIQUE ? refs : FRAME_BUSY + 1;
}

int frame_split(struct frame *f)
{
	uint32_t refs = own_refs(f);

	REQUIRES(order_of(f) >= PART_BITS);
	MUST(refs != FRAME_UNIQUE || !in_list(f), "frame 0x%llx: is in a list",
	     (unsigned long long)frame_hpa(f).hpa);
	if (!seize(f, refs))
		return -EBUSY;
	frame_block_cut(f, FRAME_PARTS, order_of(f) - PART_BITS, (enum frame_kind)f->kind, refs);
	return 0;
}

/* Seizes a neighbour that is fit to be part of a block; else leaves it as it is. */
static int seize_part(struct frame *f, const struct frame *first, uint32_t refs)
{
	bool alike;

	if (frame_at(frame_hpa(f)) == NULL)
		return -ERANGE;
	if (!seize(f, refs)) {
		uint32_t now = atomic_load_explicit(&f->refs, memory_order_relaxed);

		return frame_refs_in_use(now) ? -EBUSY : -ENOENT;
	}
	alike = f->kind == first->kind && order_of(f) == order_of(first);
	if (alike && (refs != FRAME_UNIQUE || !in_list(f)))
		return 0;
	atomic_store_explicit(&f->refs, refs, memory_order_release);
	return alike ? -EBUSY : -ENOENT;
}

int frame_join(struct frame *first)
{
	unsigned order = order_of(first), parts;
	uint32_t refs = own_refs(first);
	int err = 0;

	if ((order != FRAME_ORDER_4K && order != FRAME_ORDER_2M) ||
	    (frame_pfn(first) & (((uint64_t)FRAME_PARTS << order) - 1)) != 0)
		return -EINVAL;
	for (parts = 0; parts < FRAME_PARTS; parts++) {
		err = seize_part(first + ((uint64_t)parts << order), first, refs);
		if (err != 0)
			break;
	}
	if (err == 0)
		atomic_store_explicit(&first->order, (uint8_t)(order + PART_BITS),
				      memory_order_release);
	/* In an error the parts seized so far get back what they had; else they are tails now. */
	while (parts-- > 1) {
		struct frame *f = first + ((uint64_t)parts << order);

		if (err == 0)
			f->kind = FRAME_FREE;
		atomic_store_explicit(&f->refs, err == 0 ? FRAME_UNUSED : refs,
				      memory_order_release);
	}
	if (parts == 0)
		atomic_store_explicit(&first->refs, refs, memory_order_release);
	return err;
}
