/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A guest's memory: RAM from 0 to its size, nothing above, brought in when it is first touched.
 *
 *   touch ──▶ violation ──▶ guest_fault ──▶ populate_small: cursor over one page
 *                                             mapped meanwhile by another vCPU? then done
 *                                             frame, zeroed, map, close
 *
 * This is the path that is walked most often: it has no division, no message and no second walk.
 */
#include "guest/memory.h"

#include "base/err.h"
#include "base/print.h"
#include "mm/frame_alloc.h"
#include "mm/pt_ops.h"

#define RAM_ATTR (PT_RWX | PT_MEM_WB)

/* No memory: that matters only if no other vCPU has brought the page in. */
static __attribute__((noinline)) int nothing_left(struct vm_cursor *c)
{
	struct pt_leaf leaf;

	return vm_query(c, &leaf) == 0 && leaf.attr != 0 ? -EEXIST : -ENOMEM;
}

/* Maps a fresh block of `order` at the cursor, where nothing is. A large one takes the place of an
 * empty table. */
static inline int populate_here(struct vm_cursor *c, unsigned order)
{
	struct frame *f = frame_alloc(order, FRAME_GUEST, ALLOC_ZERO);
	int err;

	if (f == NULL)
		return nothing_left(c);
	err = order == 0 ? vm_map_new(c, f, RAM_ATTR) : vm_map(c, f, RAM_ATTR);
	if (err != 0)
		frame_put(f);
	return err;
}

static inline void populate_count(struct guest *g, uint64_t pages)
{
	atomic_fetch_add_explicit(&g->faults_served, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&g->pages_populated, pages, memory_order_relaxed);
}

/* The page of 4 KiB at `start`, if nothing is there. -EEXIST: something is. -ENOMEM. */
static inline int populate_small(struct guest *g, gpa_t start)
{
	struct vm_cursor c;
	int err;

	err = vm_cursor_open(&c, &g->space, start, gpa_add(start, PAGE_SIZE), VM_CHANGE);
	if (err != 0)
		return err;
	err = populate_here(&c, 0);
	vm_cursor_close(&c);
	if (err == 0)
		populate_count(g, 1);
	return err;
}

/* The page of `level` that contains `at`, likewise: small pages that are in use stay. */
static int populate_large(struct guest *g, gpa_t at, unsigned level)
{
	uint64_t size = pt_level_size(level);
	gpa_t start = gpa_align_down(at, size);
	struct vm_cursor c;
	int err;

	if (start.gpa + size > g->config.mem)
		return -ENOMEM;
	err = vm_cursor_open(&c, &g->space, start, gpa_add(start, size), VM_CHANGE);
	if (err != 0)
		return err;
	if (vm_find_next(&c, size)) {
		err = -EEXIST;
	} else {
		vm_jump(&c, start);
		err = populate_here(&c, (level - 1) * 9);
	}
	vm_cursor_close(&c);
	if (err == 0)
		populate_count(g, size / PAGE_SIZE);
	return err;
}

/* Large pages where they fit and there are blocks; else the next smaller size. */
static __attribute__((noinline)) int populate_by_size(struct guest *g, gpa_t at)
{
	unsigned level = g->config.page, max = g->space.pt.ops->limits->max_leaf;

	for (level = level < max ? level : max; level > 1; level--)
		if (populate_large(g, at, level) == 0)
			return 0;
	return populate_small(g, gpa_align_down(at, PAGE_SIZE));
}

static inline __attribute__((always_inline)) int memory_populate(struct guest *g, gpa_t at)
{
	if (g->config.page != 1)
		return populate_by_size(g, at);
	return populate_small(g, gpa_align_down(at, PAGE_SIZE));
}

/* May the page that is mapped at `at` be used so? Nothing mapped any more: the access is tried
 * again. Without any right is not nothing, though the CPU does not tell them apart. */
static int memory_check(struct guest *g, gpa_t at, pt_attr_t want)
{
	struct pt_leaf leaf;

	return !vm_translate(&g->space, at, &leaf) || (leaf.attr & want) != 0 ? 0 : -EFAULT;
}

int guest_memory_fault(void *context, gpa_t at, pt_attr_t want)
{
	struct guest *g = context;
	struct pt_leaf leaf;
	int err = -EEXIST;

	if (at.gpa >= g->config.mem)
		return -EFAULT;
	if (!vm_translate(&g->space, at, &leaf))
		err = memory_populate(g, at);
	/* It was there, or another vCPU was faster. */
	return err == -EEXIST ? memory_check(g, at, want) : err;
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

/* All but the common case; `err` is how far that got. */
static __attribute__((noinline)) int fault_rest(struct guest *g, const struct stage2_fault *f,
						int err, char *why, size_t why_size)
{
	pt_attr_t want = stage2_fault_wants(f);

	MUST(!f->misconfig, "guest '%s': malformed stage-2 entry for 0x%llx", g->config.name,
	     (unsigned long long)f->gpa.gpa);
	if (err == -EEXIST)
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

int guest_fault(struct guest *g, const struct stage2_fault *f, char *why, size_t why_size)
{
	int err = -EEXIST;

	/* The common case, without a look at what is mapped: nothing is. */
	if (!f->present && !f->misconfig && f->gpa.gpa < g->config.mem)
		err = memory_populate(g, f->gpa);
	return err == 0 ? 0 : fault_rest(g, f, err, why, why_size);
}
