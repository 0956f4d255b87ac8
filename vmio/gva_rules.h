/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Part of vmio/gva.c: what the modes of paging have in common and where they differ, without any
 * memory. Functions of registers, entries and accesses.
 *
 *      mode      levels in memory   entry     index     pages at level
 *      32-bit    2                  4 bytes   10 bits   1, 2 with CR4.PSE
 *      PAE       2, 4 registers     8 bytes    9 bits   1, 2
 *      4-level   4                  8 bytes    9 bits   1, 2, 3 where the CPU has it
 *      5-level   5                  8 bytes    9 bits   as 4-level
 */
#ifndef VMIO_GVA_RULES_H
#define VMIO_GVA_RULES_H

#include "base/x86/msr.h"
#include "base/x86/regs.h"
#include "vmio/gva.h"

/* An entry, the same in all formats as far as it has them. (SDM vol. 3, 4.3 to 4.5) */
#define E_P	  (UINT64_C(1) << 0)
#define E_W	  (UINT64_C(1) << 1)
#define E_U	  (UINT64_C(1) << 2)
#define E_A	  (UINT64_C(1) << 5)
#define E_D	  (UINT64_C(1) << 6)
#define E_PS	  (UINT64_C(1) << 7)
#define E_G	  (UINT64_C(1) << 8)
#define E_NX	  (UINT64_C(1) << 63)
#define E_ADDRESS UINT64_C(0x000ffffffffff000)

/* The page-fault error code. (SDM vol. 3, 4.7) */
#define PF_P	(1u << 0)
#define PF_W	(1u << 1)
#define PF_U	(1u << 2)
#define PF_RSVD (1u << 3)
#define PF_ID	(1u << 4)
#define PF_PK	(1u << 5)

/* Bits first .. last. */
#define BITS(last, first) ((UINT64_C(2) << (last)) - (UINT64_C(1) << (first)))

/* The tables of a mode. */
struct gva_rules {
	const struct gva_mode *mode;
	uint64_t root;	   /* the topmost table in memory; of PAE paging not known yet */
	uint64_t reserved; /* bits reserved in every entry */
	unsigned top;	   /* level of the topmost table */
	unsigned skip;	   /* steps before it that are not in memory: 1 with PAE paging */
	unsigned bits;	   /* of the address for each level */
	unsigned size;	   /* of an entry, in bytes */
	unsigned pages;	   /* levels at which PS makes a page: bit `level` */
	uint16_t flags[GVA_MAX_LEVELS + 1]; /* of PS and G those that are reserved, by level */
};

static inline bool gva_long_mode(const struct gva_mode *m)
{
	return (m->efer & EFER_LMA) != 0;
}

static inline unsigned gva_level_shift(const struct gva_rules *r, unsigned level)
{
	return PAGE_SHIFT + r->bits * (level - 1);
}

/* 32-bit paging. Nothing is reserved but in pages of 4 MiB. (SDM vol. 3, 4.3) */
static inline void gva_rules_32(struct gva_rules *r)
{
	r->bits = 10;
	r->size = 4;
	r->top = 2;
	r->root = r->mode->cr3 & UINT64_C(0xfffff000);
	r->pages = r->mode->cr4 & CR4_PSE ? 1u << 2 : 0;
}

/* PAE paging, below the registers: what is ignored in long mode is reserved. (SDM vol. 3, 4.4) */
static inline void gva_rules_pae(struct gva_rules *r)
{
	r->top = 2;
	r->skip = 1;
	r->pages = 1u << 2;
	r->reserved |= BITS(62, 52);
}

/* 4-level and 5-level paging. (SDM vol. 3, 4.5) */
static inline void gva_rules_long(struct gva_rules *r)
{
	r->top = r->mode->cr4 & CR4_LA57 ? 5 : 4;
	r->root = r->mode->cr3 & E_ADDRESS;
	r->pages = 1u << 2 | (r->mode->gib_pages ? 1u << 3 : 0);
	r->flags[3] = r->mode->gib_pages ? 0 : E_PS;
	r->flags[4] = r->flags[5] = (uint16_t)(E_PS | (r->mode->amd ? E_G : 0));
}

/* Precondition: paging is on. */
static inline void gva_rules_init(struct gva_rules *r, const struct gva_mode *m)
{
	*r = (struct gva_rules){ .mode = m };
	if (!gva_long_mode(m) && (m->cr4 & CR4_PAE) == 0) {
		gva_rules_32(r);
		return;
	}
	r->bits = 9;
	r->size = 8;
	r->reserved = E_ADDRESS & ~BITS(m->maxphyaddr - 1, 0);
	if ((m->efer & EFER_NXE) == 0)
		r->reserved |= E_NX;
	if (gva_long_mode(m))
		gva_rules_long(r);
	else
		gva_rules_pae(r);
}

/* The bits of a page's entry that would be address bits within the page, but for PAT (12). */
static inline uint64_t gva_page_reserved(const struct gva_rules *r, unsigned level)
{
	unsigned m = r->mode->maxphyaddr;

	if (level == 1)
		return 0;
	/* PSE-36: bits 13 and up are the address bits 32 and up, to 39 or MAXPHYADDR. */
	if (r->size == 4)
		return BITS(21, (m < 40 ? m : 40) - 19);
	return BITS(gva_level_shift(r, level) - 1, 13);
}

static inline bool gva_is_page(const struct gva_rules *r, unsigned level, uint64_t value)
{
	return level == 1 || ((value & E_PS) != 0 && (r->pages >> level & 1) != 0);
}

static inline bool gva_entry_reserved(const struct gva_rules *r, unsigned level, uint64_t value)
{
	uint64_t reserved = r->reserved | r->flags[level];

	if (gva_is_page(r, level, value))
		reserved |= gva_page_reserved(r, level);
	return (value & reserved) != 0;
}

/*
 * What a PDPTE may not have when it is present. (SDM vol. 3, table 4-8; APM vol. 2, figure 5-10)
 * In memory A is not held against it: one emulator sets it there.
 */
static inline bool gva_pdpte_reserved(const struct gva_mode *m, uint64_t value)
{
	if (m->amd)
		value &= ~E_A;
	return (value & (BITS(2, 1) | BITS(8, 5) | ~BITS(m->maxphyaddr - 1, 0))) != 0;
}

/* --- what may be done: `user` of an access is false when it is implicit --- */

/* May a supervisor use the user's page so? (SDM vol. 3, 4.6.1) */
static inline bool gva_user_page_open(const struct gva_mode *m, struct gva_access a)
{
	if (a.kind == GVA_EXEC)
		return (m->cr4 & CR4_SMEP) == 0;
	return (m->cr4 & CR4_SMAP) == 0 || (m->rflags_ac && !a.implicit);
}

/* (SDM vol. 3, 4.6.1) */
static inline bool gva_rights_allow(const struct gva_mode *m, struct gva_access a, pt_attr_t rights)
{
	bool user_page = (rights & PT_USER) != 0;

	if (a.user ? !user_page : user_page && !gva_user_page_open(m, a))
		return false;
	switch (a.kind) {
	case GVA_EXEC:
		return (rights & PT_EXEC) != 0;
	case GVA_WRITE:
		return (rights & PT_WRITE) != 0 || (!a.user && (m->cr0 & CR0_WP) == 0);
	default:
		return true;
	}
}

/* Protection keys: data only, in long mode only. (SDM vol. 3, 4.6.2) */
static inline bool gva_key_denies(const struct gva_mode *m, struct gva_access a, pt_attr_t rights,
				  uint64_t leaf)
{
	bool user_page = (rights & PT_USER) != 0;
	unsigned key = (unsigned)(leaf >> 59) & 15;
	uint32_t deny = (user_page ? m->pkru : m->pkrs) >> (2 * key);

	if (!gva_long_mode(m) || a.kind == GVA_EXEC ||
	    (m->cr4 & (user_page ? CR4_PKE : CR4_PKS)) == 0)
		return false;
	if ((deny & 1) != 0)
		return true;
	return (deny & 2) != 0 && a.kind == GVA_WRITE &&
	       ((m->cr0 & CR0_WP) != 0 || (user_page && a.user));
}

/* The page-fault error code: `why` and what is known of the access. (SDM vol. 3, 4.7) */
static inline uint32_t gva_error_code(const struct gva_mode *m, struct gva_access a, uint32_t why)
{
	bool nx = (gva_long_mode(m) || (m->cr4 & CR4_PAE) != 0) && (m->efer & EFER_NXE) != 0;

	if (a.kind == GVA_WRITE)
		why |= PF_W;
	if (a.user)
		why |= PF_U;
	if (a.kind == GVA_EXEC && (nx || (m->cr4 & CR4_SMEP) != 0))
		why |= PF_ID;
	return why;
}

#endif
