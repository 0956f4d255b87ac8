/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Stage 2: the two formats of the engine that translate guest-physical addresses, Intel's EPT and
 * AMD's nested page tables, and what a violation of one of them says.
 */
#ifndef EPT_STAGE2_H
#define EPT_STAGE2_H

#include "base/addr.h"
#include "mm/pt.h"
#include "mm/vm_space.h"

/* What this machine's EPT can do (IA32_VMX_EPT_VPID_CAP, SDM vol. 3 A.10). */
struct ept_caps {
	bool page_2m, page_1g, accessed_dirty, exec_only, wb;
	bool invept, invept_single, invept_all;
	bool mbec; /* separate execute right for user mode */
};

/*
 * Called once at boot before the first space is created; `maxphyaddr` from CPUID 80000008.
 * From the capability MSR's value; returns -ENODEV with a reason in `why` when EPT cannot be used
 * (no 4-level walk, no write-back, no INVEPT).
 */
int ept_setup(uint64_t vpid_ept_cap, unsigned maxphyaddr, char *why, size_t why_size);
const struct ept_caps *ept_caps(void);
extern const struct pt_ops ept_ops;

/* The EPT pointer for a space: root, write-back, 4 levels, A/D where there is (SDM 25.6.11). */
uint64_t ept_pointer(const struct vm_space *space);

/* `page_1g` from CPUID 80000001 EDX bit 26. Never fails: every NPT has 4 levels and A/D. */
void npt_setup(bool page_1g, unsigned maxphyaddr);
extern const struct pt_ops npt_ops;

/* nCR3 for a space. */
uint64_t npt_root(const struct vm_space *space);

/* A stage-2 violation, vendor's spelling removed. */
struct stage2_fault {
	gpa_t gpa;
	gva_t gva; /* valid only with gva_valid */
	bool read; /* what was tried */
	bool write;
	bool exec;
	bool present;	/* something is mapped there, the right is missing */
	bool walking;	/* on the way through the guest's own tables, not the final access */
	bool misconfig; /* the entry is malformed: our bug, never the guest's */
	bool gva_valid;
};

/* Exit qualification of exit reasons 48 and 49 (SDM table 28-7). */
struct stage2_fault ept_decode_fault(uint64_t qualification, gpa_t at, gva_t linear,
				     bool misconfig);

/* From EXITINFO1 and EXITINFO2 of VMEXIT_NPF (APM vol. 2, 15.25.6). In place: this path is timed.
 */
static inline void npt_fill_fault(struct stage2_fault *f, uint64_t info1, uint64_t info2)
{
	f->gpa = gpa(info2);
	f->gva_valid = false;
	f->present = info1 & 1;
	f->write = info1 >> 1 & 1;
	/* Bit 3: a reserved bit was set in an entry that we wrote. */
	f->misconfig = info1 >> 3 & 1;
	f->exec = info1 >> 4 & 1;
	f->read = (info1 & (1 << 1 | 1 << 4)) == 0;
	/* Bit 33: while the guest's own tables were walked; bit 32: the final address. */
	f->walking = info1 >> 33 & 1;
}

/* The right that the access wanted: PT_WRITE before PT_EXEC before PT_READ. */
static inline pt_attr_t stage2_fault_wants(const struct stage2_fault *f)
{
	if (f->write)
		return PT_WRITE;
	return f->exec ? PT_EXEC : PT_READ;
}

#endif
