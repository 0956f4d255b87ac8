/* SPDX-License-Identifier: MPL-2.0 */
#include "vmio/page.h"

static bool has_right(struct pt_hit hit, pt_attr_t right, unsigned flags)
{
	return hit.level != 0 &&
	       ((hit.attr & right) != 0 || (right == PT_WRITE && (flags & VM_READ_ONLY_TOO) != 0));
}

int vm_page_mend(struct vm_space *space, gpa_t at, pt_attr_t want, unsigned flags)
{
	struct pt_hit hit = vm_lookup(space, at);
	pt_attr_t right = want & PT_RW, marks = want & VM_MARKS;

	if (!has_right(hit, right, flags)) {
		if ((flags & VM_PRESENT) != 0)
			return -EFAULT;
		return vm_space_fault(space, at, flags & VM_READ_ONLY_TOO ? PT_READ : right);
	}
	if ((hit.attr & PT_TRACKED) == 0)
		return -EFAULT;
	/* It may be gone by now: the next walk sees that. */
	if ((hit.attr & marks) != marks)
		vm_mark(space, at, marks);
	return 0;
}
