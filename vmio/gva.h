/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Guest-virtual addresses: the walk through the guest's own page tables, with the fault that the
 * guest's CPU would have raised. (SDM vol. 3, chapter 4; APM vol. 2, chapter 5)
 *
 *      gva ──▶ entry ──▶ entry ──▶ ... leaf ──▶ rights? ──▶ set A in each, D in the leaf ──▶ gpa
 *               │ each is one word of guest-physical memory:          │
 *               ▼ absent or reserved bits: #PF                        ▼ no right: #PF
 *               └ no memory there: GVA_WALK_STAGE2                    └ entry changed: read again
 *
 * The tables are hostile and change meanwhile. Each entry is read exactly once, and what is checked
 * is what is used; a mark is set by an exchange with the very value that was checked:
 *
 *      this walk                              another vCPU
 *      reads entry: present, writable
 *                                             makes it read-only
 *      exchanges (old value, old value | D)
 *      fails: reads it again, now #PF
 *
 * Marks are set from the top down, and only when the whole translation has been allowed. Where an
 * entry changes between, those above it may be left marked, as the CPU leaves them too.
 *
 * AMD differs from Intel in two ways. PAE paging has no registers for its four top entries under
 * nested paging: they are read in memory at each walk, and reserved bits in them are found there.
 * (APM vol. 2, 15.25) And bit 8 of the topmost entries in long mode is reserved. (5.3)
 *
 * Not there, because no guest of ours can turn it on: shadow stacks (their MSRs are refused), upper
 * address ignore (EFER is checked). Protection keys, 5-level paging and linear-address masking are
 * not in the CPUID that guests see, but nothing keeps a guest of a CPU that has them from CR4.
 */
#ifndef VMIO_GVA_H
#define VMIO_GVA_H

#include "base/addr.h"
#include "base/x86/regs.h"
#include "mm/vm_space.h"

/* The registers of a vCPU that decide. Values that its CPU could have; see the preconditions. */
struct gva_mode {
	uint64_t cr0, cr3, cr4;
	uint64_t efer;	     /* LMA says that it is in long mode, not LME */
	uint64_t pdpte[4];   /* PAE paging, not `amd`: as loaded at MOV CR3, see gva_load_pdptes */
	uint32_t pkru, pkrs; /* with CR4.PKE, CR4.PKS */
	uint8_t maxphyaddr;  /* 32 to 52: the guest's CPUID 80000008 */
	bool rflags_ac;	     /* counts with CR4.SMAP */
	bool gib_pages;	     /* has pages of 1 GiB: the guest's CPUID 80000001 EDX bit 26 */
	bool amd;	     /* AMD's rules under nested paging, see below */
};

enum gva_kind {
	GVA_READ,
	GVA_WRITE,
	GVA_EXEC,
};

struct gva_access {
	enum gva_kind kind;
	bool user;     /* at CPL 3 */
	bool implicit; /* to a descriptor table or TSS: a supervisor's at any CPL, AC does not count
			*/
	bool probe;    /* only look: sets no marks, brings no memory in */
};

enum gva_outcome {
	GVA_OK,
	GVA_PAGE_FAULT,	  /* #PF for the guest */
	GVA_NONCANONICAL, /* #GP(0) for the guest; #SS(0) if it came through SS, which the caller
			     knows */
	GVA_WALK_STAGE2,  /* a table of the guest lies where the guest has no such memory */
	GVA_NO_MEMORY,	  /* the host has none to bring a table in */
	GVA_BUSY,	  /* the tables change all the time: let the guest run, and try again */
};

struct gva_result {
	enum gva_outcome outcome;
	gpa_t gpa;	    /* OK: the address; WALK_STAGE2, NO_MEMORY: the entry's; else 0 */
	uint64_t page_size; /* OK: in bytes; 0 with paging off */
	/* OK: what all levels together allow (PT_READ, PT_WRITE, PT_EXEC, PT_USER), before the
	 * control registers have their say. WALK_STAGE2, NO_MEMORY: the right that the walk wanted
	 * of stage 2. */
	pt_attr_t rights;
	uint8_t vector; /* PAGE_FAULT, NONCANONICAL: what to inject */
	uint32_t error; /* its error code */
	uint64_t cr2;	/* PAGE_FAULT: what CR2 becomes */
};

#define GVA_MAX_LEVELS 5

struct gva_step {
	unsigned level; /* 1: 4 KiB entries */
	gpa_t at;	/* where the entry is */
	uint64_t value; /* as last read; of a PAE PDPTE, as given in gva_mode */
};

/* The entries that a walk used, from the top; the last one is the leaf, or the one that faulted. */
struct gva_trace {
	unsigned n;
	struct gva_step steps[GVA_MAX_LEVELS];
};

/* What an entry says. */
struct gva_entry {
	enum { GVA_ENTRY_ABSENT, GVA_ENTRY_RESERVED, GVA_ENTRY_TABLE, GVA_ENTRY_PAGE } is;
	gpa_t to;      /* TABLE, PAGE: where that is */
	uint64_t size; /* PAGE: in bytes */
	/* Of PT_WRITE, PT_EXEC, PT_USER, PT_ACCESSED, PT_DIRTY; `has`: those that an entry of this
	 * kind has at all; an absent one has none. One without PT_EXEC in `has` does not forbid
	 * execution. */
	pt_attr_t attr, has;
	int key; /* PAGE in long mode: its protection key, 0 to 15; else -1 */
};

/* Decodes a step of a walk with `mode`. Precondition: paging is on, the step is of such a walk. */
struct gva_entry gva_decode(const struct gva_mode *mode, const struct gva_step *step);

/* In long mode: are the bits above the address all like its highest one? (SDM vol. 1, 3.3.7.1) */
static inline bool gva_canonical(const struct gva_mode *m, uint64_t va)
{
	unsigned unused = m->cr4 & CR4_LA57 ? 64 - 57 : 64 - 48;

	return (uint64_t)((int64_t)(va << unused) >> unused) == va;
}

/*
 * Linear-address masking: what an explicit access to data at `va` in long mode is translated for.
 * Metadata in the upper bits gives way to copies of the highest bit that counts; bit 63 stays.
 * (SDM vol. 1, "Linear-address masking")
 */
static inline uint64_t gva_masked(const struct gva_mode *m, uint64_t va)
{
	bool upper = (va >> 63 & 1) != 0, la57 = (m->cr4 & CR4_LA57) != 0;
	bool wide = upper ? la57 : (m->cr3 & CR3_LAM_U57) != 0;
	unsigned unused = wide ? 64 - 57 : 64 - 48;
	uint64_t extended = (uint64_t)((int64_t)(va << unused) >> unused);

	if (upper ? (m->cr4 & CR4_LAM_SUP) == 0 : (m->cr3 & (CR3_LAM_U57 | CR3_LAM_U48)) == 0)
		return va;
	return (extended & ~(UINT64_C(1) << 63)) | (va & UINT64_C(1) << 63);
}

/*
 * Translates `at`, a linear address: segments and the 20 bits of real mode are behind the caller.
 * Outside long mode only its lower 32 bits count. An access that reaches over the end of a page is
 * two translations. With paging off the answer is the address itself.
 *
 * *out is filled in every case, *trace (may be NULL) likewise. What stage 2 says of the resulting
 * address is not looked at. Memory of the guest is changed by marks only; with `probe` not at all,
 * and then tables that were never touched count as not there (GVA_WALK_STAGE2).
 *
 * The walk is one epoch section. Precondition: no lock held that the space's fault handler takes;
 * 32 <= maxphyaddr <= 52.
 */
enum gva_outcome gva_translate(struct vm_space *space, const struct gva_mode *mode, gva_t at,
			       struct gva_access access, struct gva_result *out,
			       struct gva_trace *trace);

/* The same with the places of the tables remembered from walk to walk, for many of them. The tables
 * themselves are read each time. */
struct guest_pages;
enum gva_outcome gva_translate_again(struct vm_space *space, const struct gva_mode *mode, gva_t at,
				     struct gva_access access, struct gva_result *out,
				     struct guest_pages *pages);

/*
 * Loads mode->pdpte from the table at mode->cr3, as MOV CR3 does with PAE paging (SDM 4.4.1).
 * -EINVAL: one is present and has reserved bits, the guest gets #GP(0); -EFAULT: no memory there;
 * -ENOMEM. Errors leave *mode alone.
 */
int gva_load_pdptes(struct vm_space *space, struct gva_mode *mode);

#endif
