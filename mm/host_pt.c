/* SPDX-License-Identifier: MPL-2.0 */
#include "mm/host_pt.h"

#include "mm/x86_fmt.h"

#define FMT_NODE_KIND  FRAME_HOST_TABLE
#define FMT_ROOT_FIXED true
#define FMT_VA_FIRST   0xffff800000000000
#define FMT_VA_LAST    0xfffffffffffeffff

/* The upper half, without its last 64 KiB, so that the end of a range never wraps to 0. */
static struct pt_limits fmt_limits = {
	.name = "host",
	.levels = FMT_LEVELS,
	.max_leaf = 2,
	.va_first = FMT_VA_FIRST,
	.va_last = FMT_VA_LAST,
	.hpa_limit = UINT64_C(1) << 36,
	.can = PT_RWX | PT_USER | PT_GLOBAL | PT_ACCESSED | PT_DIRTY | PT_TRACKED,
};

void host_pt_setup(bool page_1g, unsigned maxphyaddr)
{
	fmt_limits.max_leaf = page_1g ? 3 : 2;
	fmt_limits.hpa_limit = UINT64_C(1) << maxphyaddr;
}

static inline uint64_t fmt_leaf_bits(pt_attr_t attr, unsigned level)
{
	return x86_leaf_bits(attr, level) | (attr & PT_USER ? X86_U : 0) |
	       (attr & PT_GLOBAL ? X86_G : 0);
}

static inline pt_attr_t fmt_attr(uint64_t raw, unsigned level)
{
	(void)level;
	return x86_attr(raw) | (raw & X86_U ? PT_USER : 0) | (raw & X86_G ? PT_GLOBAL : 0);
}

static inline uint64_t fmt_rights_mask(unsigned level)
{
	(void)level;
	return X86_RIGHTS_MASK | X86_U | X86_G;
}

#include "mm/engine.h"

const struct pt_ops host_pt_ops = { ENGINE_OPS };
