/* SPDX-License-Identifier: MPL-2.0 */
/* Entry of level L: 63..52 attributes, 51 table, 50 leaf, frame number from bit 4 + L. */
#include "tests/unit/fake_pt.h"

#define FMT_LEVELS	    5
#define FMT_TABLE	    FAKE_TABLE
#define FMT_NODE_KIND	    FRAME_STAGE2_TABLE
#define FMT_HW_MARKS(level) FAKE_MARKS
#define FMT_ROOT_FIXED	    false
#define FMT_VA_FIRST	    UINT64_C(0)
#define FMT_VA_LAST	    ((UINT64_C(1) << 57) - 1)

#define FAKE_LEAF	   (UINT64_C(1) << 50)
#define FAKE_TABLE	   (UINT64_C(1) << 51)
#define FAKE_ATTR	   52
/* Rights are spelled the other way round in large leaves: each level has bits of its own. */
#define FAKE_TURNED(level) ((level) > 1 ? PT_RIGHTS : 0)
#define FAKE_MARKS	   ((uint64_t)(PT_ACCESSED | PT_DIRTY) << FAKE_ATTR)
#define FAKE_PFN(level)	   (4 + (level))

static struct pt_limits fmt_limits = {
	.name = "fake",
	.levels = FMT_LEVELS,
	.max_leaf = 3,
	.va_first = FMT_VA_FIRST,
	.va_last = FMT_VA_LAST,
	.hpa_limit = UINT64_C(1) << 46,
	.can = PT_RWX | PT_USER | PT_GLOBAL | PT_ACCESSED | PT_DIRTY | PT_TRACKED,
};

static inline uint64_t fmt_leaf_bits(pt_attr_t attr, unsigned level)
{
	return FAKE_LEAF | (uint64_t)(attr ^ FAKE_TURNED(level)) << FAKE_ATTR;
}

static inline pt_attr_t fmt_attr(uint64_t raw, unsigned level)
{
	return (pt_attr_t)(raw >> FAKE_ATTR) ^ FAKE_TURNED(level);
}

static inline bool fmt_has(uint64_t raw, pt_attr_t needs, unsigned level)
{
	return raw != 0 && (fmt_attr(raw, level) & needs) == needs;
}

static inline uint64_t fmt_address_bits(hpa_t at, unsigned level)
{
	return (at.hpa >> PAGE_SHIFT) << FAKE_PFN(level);
}

static inline uint64_t fmt_table(hpa_t table, unsigned level)
{
	return FAKE_TABLE | fmt_address_bits(table, level);
}

static inline hpa_t fmt_hpa(uint64_t raw, unsigned level)
{
	uint64_t low = raw & (FAKE_LEAF - 1);

	return hpa((low >> FAKE_PFN(level)) << PAGE_SHIFT);
}

static inline uint64_t fmt_rights_mask(unsigned level)
{
	(void)level;
	return (uint64_t)(PT_RIGHTS | PT_USER | PT_GLOBAL | PT_MEM_MASK) << FAKE_ATTR;
}

static inline uint64_t fmt_marks(pt_attr_t attr, unsigned level)
{
	(void)level;
	return (uint64_t)(attr & (PT_ACCESSED | PT_DIRTY)) << FAKE_ATTR;
}

static inline bool fmt_attr_ok(pt_attr_t attr)
{
	(void)attr;
	return true;
}

#include "mm/engine.h"

const struct pt_ops fake_pt_ops = { ENGINE_OPS };
