/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A guest's memory: RAM from 0 to its size, nothing above, brought in when it is first touched.
 *
 *   touch ──▶ violation ──▶ guest_fault ──▶ memory_populate: cursor over one page
 *                                             mapped meanwhile by another vCPU? then done
 *                                             frame from the zeroed pool, map, close
 */
#include "guest/memory.h"

#include "base/err.h"
#include "base/print.h"
#include "mm/frame_alloc.h"
#include "mm/pt_ops.h"

#define RAM_ATTR (PT_RWX | PT_MEM_WB)

/* A page of `level` at the cursor, if nothing is there. -EAGAIN: something is. -ENOMEM. */
static int populate_page(struct guest *g, gpa_t at, unsigned level)
{
	uint64_t size = pt_level_size(level);
	gpa_t start = gpa_align_down(at, size);
	struct pt_leaf leaf;
	struct vm_cursor c;
	struct frame *f;
	int err;

	err = vm_cursor_open(&c, &g->space, start, gpa_add(start, size), VM_CHANGE);
	if (err != 0)
		return err;
	/* A larger page must not replace small ones that are in use. */
	if (level == 1 ? vm_query(&c, &leaf) == 0 && leaf.attr != 0 : vm_find_next(&c, size)) {
		vm_cursor_close(&c);
		return -EAGAIN;
	}
	if (level != 1)
		vm_jump(&c, start);
	f = frame_alloc((level - 1) * 9, FRAME_GUEST, ALLOC_ZERO);
	err = f == NULL ? -ENOMEM : vm_map(&c, f, RAM_ATTR);
	if (err != 0 && f != NULL)
		frame_put(f);
	vm_cursor_close(&c);
	return err;
}

/* Is the page of `level` around `at` wholly RAM? */
static bool page_fits(const struct guest *g, gpa_t at, unsigned level)
{
	uint64_t size = pt_level_size(level);

	return round_down(at.gpa, size) + size <= g->config.mem;
}

static int memory_populate(struct guest *g, gpa_t at)
{
	unsigned level = g->config.page;
	int err = -ENOMEM;

	if (level > g->space.pt.ops->limits->max_leaf)
		level = g->space.pt.ops->limits->max_leaf;
	/* Large pages where they fit and there are blocks; else the next smaller size. */
	for (; level > 1; level--) {
		if (!page_fits(g, at, level))
			continue;
		err = populate_page(g, at, level);
		if (err == 0)
			break;
	}
	if (level == 1)
		err = populate_page(g, at, 1);
	if (err == 0) {
		atomic_fetch_add_explicit(&g->faults_served, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&g->pages_populated, pt_level_size(level) / PAGE_SIZE,
					  memory_order_relaxed);
	}
	return err;
}

/* Brings memory in, or finds that something is mapped: by another vCPU that was faster, or by the
 * owner, perhaps without any right, which the CPU does not tell from nothing. */
static int memory_serve(struct guest *g, gpa_t at, pt_attr_t want)
{
	int err = memory_populate(g, at);
	struct pt_leaf leaf;

	if (err != -EAGAIN || !vm_translate(&g->space, at, &leaf))
		return err == -EAGAIN ? 0 : err;
	return (leaf.attr & want) != 0 ? 0 : -EFAULT;
}

int guest_memory_fault(void *context, gpa_t at, pt_attr_t want)
{
	struct guest *g = context;
	struct pt_leaf leaf;

	if (at.gpa >= g->config.mem)
		return -EFAULT;
	if (vm_translate(&g->space, at, &leaf))
		return (leaf.attr & want) != 0 ? 0 : -EFAULT;
	return memory_serve(g, at, want);
}

static const char *access_name(const struct stage2_fault *f, pt_attr_t want)
{
	if (f->walking)
		return "page-table walk";
	return want == PT_WRITE ? "write" : want == PT_EXEC ? "execution" : "read";
}

/* Why an access cannot be: for the report of a stopped guest. */
static void explain(struct guest *g, const struct stage2_fault *f, pt_attr_t want, char *why,
		    size_t why_size)
{
	const char *access = access_name(f, want);
	unsigned long long at = f->gpa.gpa;
	struct pt_leaf leaf;
	char rights[4];

	if (f->gpa.gpa >= g->config.mem)
		format(why, why_size,
		       "%s at guest-physical 0x%llx: no memory there (it has 0x%llx bytes) and no "
		       "device",
		       access, at, (unsigned long long)g->config.mem);
	else if (vm_translate(&g->space, f->gpa, &leaf))
		format(why, why_size, "%s at guest-physical 0x%llx: the page allows only %s",
		       access, at, pt_rights_text(leaf.attr, rights));
	else
		format(why, why_size, "%s at guest-physical 0x%llx: not mapped", access, at);
}

int guest_fault(struct guest *g, const struct stage2_fault *f, char *why, size_t why_size)
{
	pt_attr_t want = stage2_fault_wants(f);
	int err;

	MUST(!f->misconfig, "guest '%s': malformed stage-2 entry for 0x%llx", g->config.name,
	     (unsigned long long)f->gpa.gpa);
	/* The common case, without a look at what is mapped: nothing is. */
	if (!f->present && f->gpa.gpa < g->config.mem)
		err = memory_serve(g, f->gpa, want);
	else
		err = guest_memory_fault(g, f->gpa, want);
	if (err == -EFAULT)
		explain(g, f, want, why, why_size);
	else if (err != 0)
		format(why, why_size,
		       "the host has no memory left for guest-physical 0x%llx (%s): stop another "
		       "guest or give it less memory",
		       (unsigned long long)f->gpa.gpa, err_name(err));
	return err;
}
