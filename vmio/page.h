/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Where guest-physical memory is in ours: one walk of the space's own tables, with the rights of
 * the mapping, and the space's fault handler where it is missing. Nothing else turns a guest's
 * address into a pointer.
 *
 *      walk ──▶ all that is needed is there ──▶ pointer, and what lies together with it
 *       ▲           │ not
 *       └── mended ─┴─▶ vm_page_mend: bring it in, or set its marks; or an error
 */
#ifndef VMIO_PAGE_H
#define VMIO_PAGE_H

#include "base/contract.h"
#include "base/err.h"
#include "mm/vm_space.h"

/* What the caller names when it wants more, or less, than the mapping's rights give. */
#define VM_PRESENT	 (1u << 0) /* only what is there: brings no memory in */
#define VM_READ_ONLY_TOO (1u << 1) /* writes to pages that are mapped with whatever right */

/* What a page must have when bytes are written to it: that it was is marked beforehand. */
#define VM_MARKS (PT_ACCESSED | PT_DIRTY)

/*
 * The generation of the space for who remembers where a page is: while it stays, no translation has
 * been taken away since. Inside an epoch section the memory that was found then is still there.
 */
static inline uint64_t vm_page_watch(struct vm_space *space)
{
	return tlb_watch(&space->pt.tlb);
}

/* The same without an effect: an odd generation must not be remembered. */
static inline uint64_t vm_page_peek(const struct vm_space *space)
{
	return atomic_load_explicit(&space->pt.tlb.generation, memory_order_acquire);
}

/* Is it still `generation`? What is done with the memory afterwards counts as done before a change
 * that comes later. */
static inline bool vm_page_unchanged(const struct vm_space *space, uint64_t generation)
{
	return vm_page_peek(space) == generation;
}

/* What vm_place is asked for: `want` is PT_READ or PT_WRITE, with VM_MARKS or without. A device's
 * registers are not tracked: they are no memory, and not in our linear map. */
static inline pt_attr_t vm_page_needs(pt_attr_t want, unsigned flags)
{
	if ((want & PT_WRITE) != 0 && (flags & VM_READ_ONLY_TOO) != 0)
		want &= ~PT_WRITE;
	return want | PT_TRACKED;
}

/* The bytes from `at` to the end of its page: they lie together. */
static inline uint64_t vm_page_room(struct pt_place place, gpa_t at)
{
	return place.size - (at.gpa & (place.size - 1));
}

/*
 * Makes the page at `at` what `want` says, after a walk that did not find it so. Inside an epoch
 * section. 0: walk again; errors as of vm_page_find.
 */
int vm_page_mend(struct vm_space *space, gpa_t at, pt_attr_t want, unsigned flags);

/*
 * The memory at `at` for `want` (PT_READ or PT_WRITE; with VM_MARKS they are set before). Inside an
 * epoch section, for whose length the memory stays what it is, also when it is unmapped meanwhile.
 * `needs` is vm_page_needs(want, flags), known beforehand.
 * -EFAULT: no memory of the guest there, or not with that right; -ENOMEM: it would have to be
 * brought in and could not. *out is left alone then.
 */
static inline __attribute__((always_inline)) int vm_page_find(struct vm_space *space, gpa_t at,
							      pt_attr_t want, unsigned flags,
							      pt_attr_t needs, struct pt_place *out)
{
	struct pt_place place = vm_place(space, at, needs);

	while (__builtin_expect(place.at == NULL, 0)) {
		int err = vm_page_mend(space, at, want, flags);

		if (err != 0)
			return err;
		place = vm_place(space, at, needs);
	}
	*out = place;
	return 0;
}

#endif
