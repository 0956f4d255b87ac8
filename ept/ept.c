/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Intel's EPT. (SDM vol. 3, 29.3)
 *
 *   63 suppress #VE | 62..53 - | 52 table | 51..12 address | 11 tracked | 10 user X | 9 D | 8 A |
 *   7 leaf | 6 ignore guest PAT | 5..3 memory type | 2 X | 1 W | 0 R
 *
 * "table" and "tracked" are ours. W without R is a misconfiguration and is refused; X without R
 * needs a CPU that has it. The guest's PAT is ignored in every leaf, so that two guests' types for
 * one frame cannot disagree; and that bit tells a page without any right from an absent one.
 */
#include "base/err.h"
#include "base/print.h"
#include "ept/stage2.h"
#include "mm/pt_ops.h"

#define EPT_R	    (UINT64_C(1) << 0)
#define EPT_W	    (UINT64_C(1) << 1)
#define EPT_X	    (UINT64_C(1) << 2)
#define EPT_MEM	    3
#define EPT_IPAT    (UINT64_C(1) << 6)
#define EPT_LEAF    (UINT64_C(1) << 7)
#define EPT_A	    (UINT64_C(1) << 8)
#define EPT_D	    (UINT64_C(1) << 9)
#define EPT_USER_X  (UINT64_C(1) << 10)
#define EPT_TRACKED (UINT64_C(1) << 11)
#define EPT_TABLE   (UINT64_C(1) << 52)
#define EPT_ADDRESS UINT64_C(0x000ffffffffff000)

#define FMT_LEVELS	    4
#define FMT_TABLE	    EPT_TABLE
#define FMT_NODE_KIND	    FRAME_STAGE2_TABLE
#define FMT_HW_MARKS(level) ept_hw_marks
#define FMT_ROOT_FIXED	    false
#define FMT_VA_FIRST	    UINT64_C(0)
#define FMT_VA_LAST	    ((UINT64_C(1) << 48) - 1)

static struct pt_limits fmt_limits = {
	.name = "EPT",
	.levels = FMT_LEVELS,
	.max_leaf = 2,
	.va_first = FMT_VA_FIRST,
	.va_last = FMT_VA_LAST,
	.hpa_limit = UINT64_C(1) << 36,
	.can = PT_RWX | PT_TRACKED,
};

static struct ept_caps caps;
static uint64_t ept_hw_marks; /* EPT_A | EPT_D where the CPU sets them */
static uint64_t ept_sayable;  /* bit n: rights and memory type n can be expressed */

#define EPT_ATTR (PT_RIGHTS | PT_MEM_MASK | PT_ACCESSED | PT_DIRTY | PT_TRACKED)

_Static_assert(EPT_R == PT_READ && EPT_W == PT_WRITE && EPT_X == PT_EXEC && EPT_A == PT_ACCESSED &&
		       EPT_D == PT_DIRTY && EPT_TRACKED == PT_TRACKED && EPT_MEM == PT_MEM_SHIFT,
	       "attributes are copied as they are");

static inline uint64_t fmt_leaf_bits(pt_attr_t attr, unsigned level)
{
	return EPT_IPAT | (level > 1 ? EPT_LEAF : 0) | (attr & EPT_ATTR);
}

static inline pt_attr_t fmt_attr(uint64_t raw, unsigned level)
{
	(void)level;
	return (pt_attr_t)raw & EPT_ATTR;
}

static inline bool fmt_has(uint64_t raw, pt_attr_t needs, unsigned level)
{
	(void)level;
	return (raw & needs) == needs;
}

static inline uint64_t fmt_table(hpa_t table, unsigned level)
{
	(void)level;
	return table.hpa | EPT_TABLE | EPT_R | EPT_W | EPT_X | (caps.mbec ? EPT_USER_X : 0);
}

static inline hpa_t fmt_hpa(uint64_t raw, unsigned level)
{
	(void)level;
	return hpa(raw & EPT_ADDRESS);
}

static inline uint64_t fmt_address_bits(hpa_t at, unsigned level)
{
	(void)level;
	return at.hpa;
}

static inline uint64_t fmt_rights_mask(unsigned level)
{
	(void)level;
	return EPT_R | EPT_W | EPT_X | UINT64_C(7) << EPT_MEM;
}

static inline uint64_t fmt_marks(pt_attr_t attr, unsigned level)
{
	(void)level;
	return attr & (PT_ACCESSED | PT_DIRTY);
}

static inline bool fmt_attr_ok(pt_attr_t attr)
{
	return (ept_sayable >> (attr & (PT_RIGHTS | PT_MEM_MASK)) & 1) != 0;
}

#include "mm/engine.h"

const struct pt_ops ept_ops = { ENGINE_OPS };

const struct ept_caps *ept_caps(void)
{
	return &caps;
}

/* What of the capability MSR is missing that Nestling cannot do without; NULL: nothing. */
static const char *ept_missing(uint64_t cap)
{
	if ((cap >> 6 & 1) == 0)
		return "page-walk length 4";
	if ((cap >> 14 & 1) == 0)
		return "write-back page tables";
	if ((cap >> 20 & 1) == 0 || (cap >> 25 & 3) == 0)
		return "INVEPT";
	return NULL;
}

/* All memory types with all rights, but for W without R, and X alone where the CPU lacks it. */
static uint64_t sayable(bool exec_only)
{
	static const pt_attr_t types[] = { PT_MEM_UC, PT_MEM_WC, PT_MEM_WT, PT_MEM_WP, PT_MEM_WB };
	uint64_t set = 0;

	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		for (pt_attr_t rights = 0; rights <= PT_RIGHTS; rights++) {
			if ((rights & PT_RW) == PT_WRITE || (rights == PT_EXEC && !exec_only))
				continue;
			set |= UINT64_C(1) << (types[i] | rights);
		}
	return set;
}

int ept_setup(uint64_t cap, unsigned maxphyaddr, char *why, size_t why_size)
{
	const char *missing = ept_missing(cap);

	if (missing != NULL) {
		format(why, why_size,
		       "this CPU's EPT lacks %s (IA32_VMX_EPT_VPID_CAP = 0x%llx): use a machine or "
		       "an emulated CPU model that has it",
		       missing, (unsigned long long)cap);
		return -ENODEV;
	}
	caps = (struct ept_caps){
		.page_2m = (cap >> 16 & 1) != 0,
		.page_1g = (cap >> 17 & 1) != 0,
		.accessed_dirty = (cap >> 21 & 1) != 0,
		.exec_only = (cap & 1) != 0,
		.wb = true,
		.invept = true,
		.invept_single = (cap >> 25 & 1) != 0,
		.invept_all = (cap >> 26 & 1) != 0,
	};
	ept_sayable = sayable(caps.exec_only);
	ept_hw_marks = caps.accessed_dirty ? EPT_A | EPT_D : 0;
	fmt_limits.max_leaf = caps.page_2m ? (caps.page_1g ? 3 : 2) : 1;
	fmt_limits.hpa_limit = UINT64_C(1) << maxphyaddr;
	fmt_limits.can = PT_RWX | PT_TRACKED | (caps.accessed_dirty ? PT_ACCESSED | PT_DIRTY : 0);
	return 0;
}

uint64_t ept_pointer(const struct vm_space *space)
{
	const uint64_t write_back = 6, walk_length_4 = 3 << 3, accessed_dirty = 1 << 6;

	return frame_hpa(space->pt.root).hpa | write_back | walk_length_4 |
	       (caps.accessed_dirty ? accessed_dirty : 0);
}

struct stage2_fault ept_decode_fault(uint64_t qualification, gpa_t at, gva_t linear, bool misconfig)
{
	bool linear_valid = (qualification >> 7 & 1) != 0;

	if (misconfig)
		return (struct stage2_fault){ .gpa = at, .misconfig = true };
	return (struct stage2_fault){
		.gpa = at,
		.gva = linear_valid ? linear : gva(0),
		.gva_valid = linear_valid,
		/* With A/D on, the walk's own marks count as writes (bit 1 together with bit 0). */
		.read = (qualification & 1) != 0,
		.write = (qualification & 2) != 0,
		.exec = (qualification & 4) != 0,
		.present = (qualification >> 3 & 7) != 0,
		.walking = linear_valid && (qualification >> 8 & 1) == 0,
	};
}
