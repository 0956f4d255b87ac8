/* SPDX-License-Identifier: MPL-2.0 */
/*
 * AMD nested page tables: the host's format with two differences. Every access of a guest is a user
 * access to the nested tables, so U is always set; and nothing is global. (APM vol. 2, 15.25.5)
 */
#include "ept/stage2.h"
#include "mm/host_format.h"
#include "mm/pt_ops.h"

#define FMT_LEVELS	    4
#define FMT_NODE_KIND	    FRAME_STAGE2_TABLE
#define FMT_HW_MARKS(level) (X86_A | X86_D)
#define FMT_VA_FIRST	    UINT64_C(0)
#define FMT_VA_LAST	    ((UINT64_C(1) << 48) - 1)

static struct pt_limits fmt_limits = {
	.name = "NPT",
	.levels = FMT_LEVELS,
	.max_leaf = 2,
	.va_first = FMT_VA_FIRST,
	.va_last = FMT_VA_LAST,
	.hpa_limit = UINT64_C(1) << 36,
	.can = PT_RWX | PT_ACCESSED | PT_DIRTY | PT_TRACKED,
};

void npt_setup(bool page_1g, unsigned maxphyaddr)
{
	fmt_limits.max_leaf = page_1g ? 3 : 2;
	fmt_limits.hpa_limit = UINT64_C(1) << maxphyaddr;
}

uint64_t npt_root(const struct vm_space *space)
{
	return frame_hpa(space->pt.root).hpa;
}

static inline bool fmt_is_leaf(uint64_t raw, unsigned level)
{
	return level == 1 || (raw & X86_PS) != 0;
}

static inline uint64_t fmt_leaf_bits(pt_attr_t attr, unsigned level)
{
	return x86_leaf_bits(attr, level) | X86_U;
}

static inline pt_attr_t fmt_attr(uint64_t raw, unsigned level)
{
	(void)level;
	return x86_attr(raw);
}

static inline uint64_t fmt_table(hpa_t table, unsigned level)
{
	(void)level;
	return table.hpa | X86_VALID | X86_P | X86_W | X86_U | X86_A;
}

static inline hpa_t fmt_hpa(uint64_t raw, unsigned level)
{
	(void)level;
	return hpa(raw & X86_ADDRESS);
}

static inline uint64_t fmt_address_bits(hpa_t at, unsigned level)
{
	(void)level;
	return at.hpa;
}

static inline uint64_t fmt_rights_mask(unsigned level)
{
	(void)level;
	return X86_RIGHTS_MASK;
}

static inline uint64_t fmt_marks(pt_attr_t attr, unsigned level)
{
	(void)level;
	return x86_marks(attr);
}

static inline bool fmt_attr_ok(pt_attr_t attr)
{
	return x86_attr_ok(attr);
}

#include "mm/engine.h"

const struct pt_ops npt_ops = { ENGINE_OPS };
