/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The host format: x86-64 4-level page tables of Nestling itself. (SDM vol. 3, 5.5; APM vol.
 * 2, 5.3)
 *
 *   63 NX | 62..53 - | 52 tracked | 51..12 address | 11 valid | 8 G | 7 PS/PAT | 6 D | 5 A |
 *   4 PCD | 3 PWT | 2 U | 1 W | 0 P
 *
 * "valid" is ours: with it a page that may not even be read (P = 0) is told from an absent one. The
 * PAT is programmed so that PWT and PCD alone choose WB, WT, WC, UC (see cpu setup in base/x86),
 * and bit 12 of large pages, the PAT bit there, stays 0.
 */
#ifndef MM_HOST_FORMAT_H
#define MM_HOST_FORMAT_H

#include "mm/pt.h"

#define X86_P	    (UINT64_C(1) << 0)
#define X86_W	    (UINT64_C(1) << 1)
#define X86_U	    (UINT64_C(1) << 2)
#define X86_PWT	    (UINT64_C(1) << 3)
#define X86_PCD	    (UINT64_C(1) << 4)
#define X86_A	    (UINT64_C(1) << 5)
#define X86_D	    (UINT64_C(1) << 6)
#define X86_PS	    (UINT64_C(1) << 7)
#define X86_G	    (UINT64_C(1) << 8)
#define X86_VALID   (UINT64_C(1) << 11)
#define X86_TRACKED (UINT64_C(1) << 52)
#define X86_NX	    (UINT64_C(1) << 63)
#define X86_ADDRESS UINT64_C(0x000ffffffffff000)

/* PWT and PCD for a memory type; the types that the PAT has no slot for are refused before. */
static inline uint64_t x86_mem_bits(pt_attr_t attr)
{
	switch (attr & PT_MEM_MASK) {
	case PT_MEM_WB:
		return 0;
	case PT_MEM_WT:
		return X86_PWT;
	case PT_MEM_WC:
		return X86_PCD;
	default:
		return X86_PCD | X86_PWT;
	}
}

static inline pt_attr_t x86_mem_attr(uint64_t raw)
{
	static const uint16_t types[4] = { PT_MEM_WB, PT_MEM_WT, PT_MEM_WC, PT_MEM_UC };

	return types[(raw >> 3) & 3];
}

static inline bool x86_attr_ok(pt_attr_t attr)
{
	pt_attr_t mem = attr & PT_MEM_MASK;

	/* W without R and X without R cannot be said; R = 0 can, as P = 0. */
	if ((attr & PT_RIGHTS) != 0 && (attr & PT_READ) == 0)
		return false;
	return mem == PT_MEM_WB || mem == PT_MEM_WT || mem == PT_MEM_WC || mem == PT_MEM_UC;
}

/* What host tables and nested tables spell alike. */
static inline uint64_t x86_leaf_bits(pt_attr_t attr, unsigned level)
{
	return X86_VALID | (level > 1 ? X86_PS : 0) | (attr & PT_READ ? X86_P : 0) |
	       (attr & PT_WRITE ? X86_W : 0) | (attr & PT_EXEC ? 0 : X86_NX) |
	       (attr & PT_ACCESSED ? X86_A : 0) | (attr & PT_DIRTY ? X86_D : 0) |
	       (attr & PT_TRACKED ? X86_TRACKED : 0) | x86_mem_bits(attr);
}

static inline pt_attr_t x86_attr(uint64_t raw)
{
	pt_attr_t rights = 0;

	if (raw & X86_P)
		rights = PT_READ | (raw & X86_W ? PT_WRITE : 0) | (raw & X86_NX ? 0 : PT_EXEC);
	return rights | (raw & X86_A ? PT_ACCESSED : 0) | (raw & X86_D ? PT_DIRTY : 0) |
	       (raw & X86_TRACKED ? PT_TRACKED : 0) | x86_mem_attr(raw);
}

static inline uint64_t x86_marks(pt_attr_t attr)
{
	return (attr & PT_ACCESSED ? X86_A : 0) | (attr & PT_DIRTY ? X86_D : 0);
}

#define X86_RIGHTS_MASK (X86_P | X86_W | X86_NX | X86_PWT | X86_PCD)

#endif
