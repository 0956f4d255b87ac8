/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The host format: x86-64 4-level page tables of Nestling itself. (SDM vol. 3, 5.5; APM vol.
 * 2, 5.3)
 *
 *   63 NX | 62..54 - | 53 table | 52 valid | 51..12 address | 11 tracked | 8 G | 7 PS/PAT | 6 D |
 *   5 A | 4 PCD | 3 PWT | 2 U | 1 W | 0 P
 *
 * "table", "valid" and "tracked" are ours. "valid" is set in leaves: with it a page that may not
 * even be read (P = 0) is told from an absent one. The PAT is programmed so that PWT and PCD alone
 * choose WB, WT, WC, UC (see cpu setup in base/x86), and bit 12 of large pages, the PAT bit there,
 * stays 0.
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
#define X86_TRACKED (UINT64_C(1) << 11)
#define X86_VALID   (UINT64_C(1) << 52)
#define X86_TABLE   (UINT64_C(1) << 53)
#define X86_NX	    (UINT64_C(1) << 63)
#define X86_ADDRESS UINT64_C(0x000ffffffffff000)

/* PWT and PCD by memory type; the types that the PAT has no slot for are refused before. */
static inline uint64_t x86_mem_bits(pt_attr_t attr)
{
	static const uint8_t bits[8] = {
		3 << 3, 2 << 3, 3 << 3, 3 << 3, 1 << 3, 3 << 3, 0, 3 << 3
	};

	return bits[(attr & PT_MEM_MASK) >> PT_MEM_SHIFT];
}

static inline pt_attr_t x86_mem_attr(uint64_t raw)
{
	static const uint8_t types[4] = { PT_MEM_WB, PT_MEM_WT, PT_MEM_WC, PT_MEM_UC };

	return types[(raw >> 3) & 3];
}

static inline bool x86_attr_ok(pt_attr_t attr)
{
	/* W without R and X without R cannot be said; R = 0 can, as P = 0. */
	const uint64_t rights = 1u << 0 | 1u << PT_READ | 1u << PT_RW | 1u << PT_RX | 1u << PT_RWX;
	const uint64_t all = rights << PT_MEM_WB | rights << PT_MEM_WT | rights << PT_MEM_WC |
			     rights << PT_MEM_UC;

	return (all >> (attr & (PT_RIGHTS | PT_MEM_MASK)) & 1) != 0;
}

/* Some bits are where ours are, so that they are copied; the others are moved there. */
#define X86_COPIED (X86_P | X86_W | X86_TRACKED)
#define PT_MARKS   (PT_ACCESSED | PT_DIRTY)
_Static_assert(X86_COPIED == (PT_READ | PT_WRITE | PT_TRACKED), "copied as they are");
_Static_assert((X86_A | X86_D) << 3 == PT_MARKS && X86_A << 3 == PT_ACCESSED, "moved by 3");
_Static_assert((uint64_t)PT_EXEC << 61 == X86_NX, "moved by 61, inverted");

/* What host tables and nested tables spell alike. */
static inline uint64_t x86_leaf_bits(pt_attr_t attr, unsigned level)
{
	return X86_VALID | (level > 1 ? X86_PS : 0) | (attr & X86_COPIED) | (attr & PT_MARKS) >> 3 |
	       (uint64_t)(~attr & PT_EXEC) << 61 | x86_mem_bits(attr);
}

static inline pt_attr_t x86_attr(uint64_t raw)
{
	pt_attr_t exec = (pt_attr_t)(~raw >> 61) & PT_EXEC;
	/* Without P there is no right, whatever the other bits say. */
	pt_attr_t rights = raw & X86_P ? (pt_attr_t)(raw & (X86_P | X86_W)) | exec : 0;

	return rights | (pt_attr_t)(raw & (X86_A | X86_D)) << 3 | (pt_attr_t)(raw & X86_TRACKED) |
	       x86_mem_attr(raw);
}

static inline uint64_t x86_marks(pt_attr_t attr)
{
	return (attr & PT_MARKS) >> 3;
}

#define X86_RIGHTS_MASK (X86_P | X86_W | X86_NX | X86_PWT | X86_PCD)

#endif
