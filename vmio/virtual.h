/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Readers and writers over a guest's virtual memory: each page is translated by the guest's own
 * tables (vmio/gva.h), once for each piece that is copied, and what lies behind it is reached as
 * all guest memory is. A piece crosses no page of the guest and none of stage 2.
 *
 * *fault is the last translation (of a vm_copy that came to none, GVA_OK). Where a copy stops with
 * -EFAULT, -ENOMEM or -ETIMEDOUT it says why, as the guest's CPU would:
 *
 *   GVA_PAGE_FAULT, GVA_NONCANONICAL   inject vector, error, cr2
 *   GVA_OK                             not the guest's tables: stage 2 has no memory at fault->gpa,
 *                                      or not with the right, or it was the copy's other side
 *   others                             as gva_translate
 */
#ifndef VMIO_VIRTUAL_H
#define VMIO_VIRTUAL_H

#include "vmio/gva.h"
#include "vmio/vmio.h"

/* Of one vCPU, used by one CPU at a time. Outlives the readers and writers that it is given to. */
struct vm_virtual {
	const struct gva_mode *mode; /* of the vCPU, which does not run meanwhile */
	bool user, implicit;	     /* as in struct gva_access */
	struct gva_result *fault;    /* the last translation */
	struct guest_pages pages;    /* starts as zeros */
};

/*
 * Over guest-virtual [at, at + len), which may wrap around as addresses of the guest do.
 * VM_PRESENT also leaves the guest's tables as they are (a probe). The copies' further errors:
 * -EBUSY and -ENOSPC, as each piece is claimed; and -ETIMEDOUT: the guest changes its tables all
 * the time, let it run. A piece that somebody else uses in part is not copied at all.
 */
void vm_reader_virtual(struct vm_reader *r, struct vm_space *space, gva_t at, uint64_t len,
		       struct vm_virtual *virt, const struct vm_use *use);
void vm_writer_virtual(struct vm_writer *w, struct vm_space *space, gva_t at, uint64_t len,
		       struct vm_virtual *virt, const struct vm_use *use);

#endif
