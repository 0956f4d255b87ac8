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

#define KERNEL_FIRST 256 /* of the root's entries */

/* Precondition: the root is locked. */
static int root_fill(struct pt *kernel)
{
	const pt_entry_t *entries = pt_entries(kernel->root);

	for (unsigned i = KERNEL_FIRST; i < PT_ENTRIES; i++) {
		struct frame *node;

		if (pt_entry_load(&entries[i]) != 0)
			continue;
		node = node_alloc(NULL, kernel, FMT_LEVELS - 1, ALLOC_ZERO);
		if (node == NULL)
			return -ENOMEM;
		rw_write_unlock(&node->lock);
		entry_set_new(kernel->root, i, fmt_table(frame_hpa(node), FMT_LEVELS));
	}
	return 0;
}

int host_pt_share(struct pt *pt, struct pt *kernel)
{
	int err = engine_init(pt);

	REQUIRES(kernel->ops == &host_pt_ops && kernel->kernel == NULL);
	if (err != 0)
		return err;
	rw_write_lock(&kernel->root->lock);
	err = root_fill(kernel);
	for (unsigned i = KERNEL_FIRST; err == 0 && i < PT_ENTRIES; i++)
		pt_entry_store(&pt_entries(pt->root)[i],
			       pt_entry_load(&pt_entries(kernel->root)[i]));
	rw_write_unlock(&kernel->root->lock);
	if (err != 0) {
		engine_destroy(pt);
		return err;
	}
	pt->ops = &host_pt_ops;
	pt->kernel = kernel;
	atomic_fetch_add(&kernel->sharers, 1);
	return 0;
}

void host_pt_unshare(struct pt *pt)
{
	struct pt *kernel = pt->kernel;

	REQUIRES(kernel != NULL);
	/* The root counts no entry as its own, so nothing below it goes with it. */
	ENSURES(pt->root->present == 0);
	engine_destroy(pt);
	atomic_fetch_sub(&kernel->sharers, 1);
}
