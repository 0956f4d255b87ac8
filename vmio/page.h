/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Where guest-physical memory is in ours: one lookup in the space's own tables, with the rights of
 * the mapping, and the space's fault handler where it is missing. Nothing else turns a guest's
 * address into a pointer.
 */
#ifndef VMIO_PAGE_H
#define VMIO_PAGE_H

#include "base/contract.h"
#include "base/err.h"
#include "mm/vm_space.h"

/* What the caller names when it wants more, or less, than the mapping's rights give. */
#define VM_PRESENT	 (1u << 0) /* only what is there: brings no memory in */
#define VM_READ_ONLY_TOO (1u << 1) /* writes to pages that are mapped, but not for writing */
#define VM_DEVICE	 (1u << 2) /* untracked memory too, whose reads may have effects */

struct vm_page {
	void *at;	 /* the byte asked for */
	uint64_t before; /* bytes of the page before it, */
	uint64_t room;	 /* and from it on: they all lie together */
};

/*
 * The generation of the space for who remembers where a page is: while it stays, no translation has
 * been taken away since. Inside an epoch section the memory that was found then is still there.
 */
static inline uint64_t vm_page_watch(struct vm_space *space)
{
	return tlb_watch(&space->pt.tlb);
}

/* Is it still `generation`? What is done with the memory afterwards counts as done before a change
 * that comes later. */
static inline bool vm_page_unchanged(const struct vm_space *space, uint64_t generation)
{
	return atomic_load_explicit(&space->pt.tlb.generation, memory_order_acquire) == generation;
}

static inline bool vm_page_right(struct pt_hit hit, pt_attr_t want, unsigned flags)
{
	return hit.level != 0 &&
	       ((hit.attr & want) != 0 || (want == PT_WRITE && (flags & VM_READ_ONLY_TOO) != 0));
}

/*
 * The page at `at` for `want` (PT_READ or PT_WRITE). Inside an epoch section, for whose length the
 * memory stays what it is, also when it is unmapped meanwhile. Does not mark anything.
 * -EFAULT: no memory of the guest there, or not with that right; -ENOMEM: it would have to be
 * brought in and could not. *out is left alone then.
 */
static inline int vm_page_find(struct vm_space *space, gpa_t at, pt_attr_t want, unsigned flags,
			       struct vm_page *out, pt_attr_t *attr)
{
	struct pt_hit hit = vm_lookup(space, at);
	uint64_t offset;

	while (__builtin_expect(!vm_page_right(hit, want, flags), 0)) {
		pt_attr_t need = flags & VM_READ_ONLY_TOO ? PT_READ : want;
		int err = flags & VM_PRESENT ? -EFAULT : vm_space_fault(space, at, need);

		if (err != 0)
			return err;
		hit = vm_lookup(space, at);
	}
	/* A device's registers are not memory: reading them may do something. */
	if (__builtin_expect((hit.attr & PT_TRACKED) == 0 && (flags & VM_DEVICE) == 0, 0))
		return -EFAULT;
	offset = at.gpa & (pt_level_size(hit.level) - 1);
	out->at = hpa_ptr(hpa_add(hit.hpa, offset));
	out->before = offset;
	out->room = pt_level_size(hit.level) - offset;
	*attr = hit.attr;
	return 0;
}

#endif
