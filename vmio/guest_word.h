/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Single words of guest-physical memory, as the CPU's own table walker reads and changes them: one
 * access, never torn, never repeated.
 *
 * `at` is aligned to the word. Inside an epoch section, which keeps the memory allocated while it
 * is used. A page that is missing, or lacks the right, is brought in by the space's fault handler
 * when `bring_in` is true. Errors: -EFAULT: no memory of the guest there, or not with that right;
 * -ENOMEM: it would have to be brought in and could not. The results are left alone then.
 */
#ifndef VMIO_GUEST_WORD_H
#define VMIO_GUEST_WORD_H

#include "base/contract.h"
#include "base/err.h"
#include "mm/vm_space.h"

/* Where the word is in our memory. `want` is PT_READ or PT_WRITE. */
static inline int guest_word_find(struct vm_space *space, gpa_t at, pt_attr_t want, bool bring_in,
				  void **p)
{
	struct pt_leaf leaf;

	while (!vm_translate(space, at, &leaf) || (leaf.attr & want) == 0) {
		int err = bring_in ? vm_space_fault(space, at, want) : -EFAULT;

		if (err != 0)
			return err;
	}
	/* A device's registers are not memory: reading them may do something. */
	if ((leaf.attr & PT_TRACKED) == 0)
		return -EFAULT;
	*p = hpa_ptr(hpa_add(leaf.hpa, at.gpa - leaf.va));
	return 0;
}

/* Reads 4 or 8 bytes (`size`); the upper half of *value is 0 for 4. */
static inline int guest_word_read(struct vm_space *space, gpa_t at, unsigned size, bool bring_in,
				  uint64_t *value)
{
	void *p = NULL;
	int err;

	REQUIRES((size == 4 || size == 8) && gpa_aligned(at, size));
	err = guest_word_find(space, at, PT_READ, bring_in, &p);
	if (err == 0)
		*value = size == 8 ? __atomic_load_n((uint64_t *)p, __ATOMIC_RELAXED)
				   : __atomic_load_n((uint32_t *)p, __ATOMIC_RELAXED);
	return err;
}

static inline bool guest_word_swap(void *p, unsigned size, uint64_t old, uint64_t new)
{
	uint32_t old4 = (uint32_t)old;

	if (size == 8)
		return __atomic_compare_exchange_n((uint64_t *)p, &old, new, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	return __atomic_compare_exchange_n((uint32_t *)p, &old4, (uint32_t) new, false,
					   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/*
 * Puts `new` in the place of `old`, 4 or 8 bytes, and brings in what is missing. -EAGAIN: something
 * else is there now, which is left as it is. The page is marked as written to after the fact, so
 * that whoever collects the marks either finds this one or comes after the change.
 */
static inline int guest_word_exchange(struct vm_space *space, gpa_t at, unsigned size, uint64_t old,
				      uint64_t new)
{
	void *p = NULL;
	int err;

	REQUIRES((size == 4 || size == 8) && gpa_aligned(at, size));
	err = guest_word_find(space, at, PT_WRITE, true, &p);
	if (err != 0)
		return err;
	if (!guest_word_swap(p, size, old, new))
		return -EAGAIN;
	vm_mark(space, at, PT_ACCESSED | PT_DIRTY);
	return 0;
}

#endif
