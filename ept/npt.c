/* SPDX-License-Identifier: MPL-2.0 */
/*
 * AMD nested page tables: the host's format with two differences. Every access of a guest is a user
 * access to the nested tables, so U is always set; and nothing is global. (APM vol. 2, 15.25.5)
 */
#include "ept/stage2.h"
#include "mm/pt_ops.h"
#include "mm/x86_fmt.h"

#define FMT_NODE_KIND  FRAME_STAGE2_TABLE
#define FMT_ROOT_FIXED false
#define FMT_VA_FIRST   UINT64_C(0)
#define FMT_VA_LAST    ((UINT64_C(1) << 48) - 1)

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

static inline uint64_t fmt_leaf_bits(pt_attr_t attr, unsigned level)
{
	return x86_leaf_bits(attr, level) | X86_U;
}

static inline pt_attr_t fmt_attr(uint64_t raw, unsigned level)
{
	(void)level;
	return x86_attr(raw);
}

static inline uint64_t fmt_rights_mask(unsigned level)
{
	(void)level;
	return X86_RIGHTS_MASK;
}

#include "mm/engine.h"

const struct pt_ops npt_ops = { ENGINE_OPS };
