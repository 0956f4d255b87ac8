/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What is common to all page tables, whatever their format: rights, leaves, the table object.
 *
 * Addresses that a table translates ("va" here) are host-virtual for a host table and
 * guest-physical for stage 2. The engine works on their raw 64-bit value; the typed interfaces are
 * above it (mm/vm_space.h for guests, mm/kspace.h for Nestling itself).
 *
 * Levels are numbered from the leaves: 1 = 4 KiB entries, 2 = 2 MiB, 3 = 1 GiB, 4 = 512 GiB, 5.
 */
#ifndef MM_PT_H
#define MM_PT_H

#include "base/addr.h"
#include "mm/frame.h"
#include "mm/tlb.h"

/*
 * Rights, memory type and marks of a leaf. A format says which of them it can express. They are
 * where EPT entries have them, so that there they are copied in one piece.
 */
typedef uint32_t pt_attr_t;

#define PT_READ	    (1u << 0)
#define PT_WRITE    (1u << 1)
#define PT_EXEC	    (1u << 2)
/* 3 .. 5: memory type */
#define PT_USER	    (1u << 6) /* host tables only */
#define PT_GLOBAL   (1u << 7) /* host tables only */
#define PT_ACCESSED (1u << 8)
#define PT_DIRTY    (1u << 9)
#define PT_TRACKED  (1u << 11) /* the leaf owns a reference to its frame; not changed by protect */

#define PT_RIGHTS (PT_READ | PT_WRITE | PT_EXEC)
#define PT_RW	  (PT_READ | PT_WRITE)
#define PT_RX	  (PT_READ | PT_EXEC)
#define PT_RWX	  (PT_READ | PT_WRITE | PT_EXEC)

/* Memory type, numbered as x86 does in MTRRs and EPT. */
#define PT_MEM_SHIFT 3
#define PT_MEM_MASK  (7u << PT_MEM_SHIFT)
#define PT_MEM_UC    (0u << PT_MEM_SHIFT)
#define PT_MEM_WC    (1u << PT_MEM_SHIFT)
#define PT_MEM_WT    (4u << PT_MEM_SHIFT)
#define PT_MEM_WP    (5u << PT_MEM_SHIFT)
#define PT_MEM_WB    (6u << PT_MEM_SHIFT)

#define PT_MAX_LEVELS 5

static inline uint64_t pt_level_size(unsigned level)
{
	return PAGE_SIZE << (9 * (level - 1));
}

static inline unsigned pt_index(uint64_t va, unsigned level)
{
	return (unsigned)(va >> (PAGE_SHIFT + 9 * (level - 1))) & 511;
}

/* One translation. An address inside the page is as far from `hpa` as from `va`. */
struct pt_leaf {
	uint64_t va;	/* start of the page */
	hpa_t hpa;	/* start of the page */
	uint64_t size;	/* 4 KiB, 2 MiB or 1 GiB; for "nothing here": of the empty slot */
	pt_attr_t attr; /* 0 for "nothing here" */
};

/*
 * What a lock-free lookup found, small enough to be handed over in registers. level 0: nothing is
 * mapped there, and hpa and attr are 0.
 */
struct pt_hit {
	hpa_t hpa; /* start of the page */
	pt_attr_t attr;
	uint32_t level; /* of the leaf: the page's size is pt_level_size(level) */
};

/* The memory behind an address, as a lock-free walk found it. */
struct pt_place {
	void *at;      /* the byte; NULL: nothing is mapped there, or not with what was asked for */
	uint64_t size; /* of the page that it is in, whose bytes all lie together */
};

/* What take_next took out: a page, or a whole table with everything in it. */
struct pt_fragment {
	uint64_t va, size; /* of the slot */
	uint64_t pages;	   /* 4 KiB pages that were mapped in it; 0 for an empty table */
	bool table;
	hpa_t hpa;	/* of a page; of a table 0 */
	pt_attr_t attr; /* of a page; of a table 0 */
};

/* Level of the leaf that maps a whole block. */
static inline unsigned pt_block_level(const struct frame *block)
{
	return block->order == FRAME_ORDER_4K ? 1 : block->order == FRAME_ORDER_2M ? 2 : 3;
}

/* One step of a walk, as `walk` shows it. */
struct pt_step {
	unsigned level;
	hpa_t table;
	unsigned index;
	uint64_t raw;
	enum { PT_STEP_ABSENT, PT_STEP_TABLE, PT_STEP_LEAF } is;
};

/* A page table. `root` never changes during its life. */
struct pt {
	const struct pt_ops *ops;
	struct frame *root;
	void *top; /* the root's entries */
	struct tlb_domain tlb;
	_Atomic uint64_t nodes; /* page-table nodes in the tree, root included */
	/* Host tables only: whose tables its root points to (mm/host_pt.h), NULL for those that
	 * have their own; and how many point to this one's. */
	struct pt *kernel;
	_Atomic unsigned sharers;
};

/* Limits of a format, decided at boot where the CPU decides them. */
struct pt_limits {
	const char *name;   /* "host", "EPT", "NPT" */
	unsigned levels;    /* 4 or 5 */
	unsigned max_leaf;  /* largest leaf level: 1, 2 or 3 */
	uint64_t va_first;  /* the addresses that this table may translate: */
	uint64_t va_last;   /* va_first .. va_last, both included */
	uint64_t hpa_limit; /* leaves must end at or below this: 2^MAXPHYADDR */
	pt_attr_t can;	    /* marks and rights that an entry can express */
};

#endif
