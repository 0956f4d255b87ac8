/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Areas on the machine: another CPU reads an area, so that its TLB has it; the area is dropped, the
 * addresses come back with other memory; the other CPU must read that.
 */
#include "base/contract.h"
#include "base/err.h"
#include "base/fixup.h"
#include "base/x86/apic.h"
#include "base/x86/percpu.h"
#include "base/x86/regs.h"
#include "hv/console/machine_test.h"
#include "hv/hv.h"
#include "mm/frame_alloc.h"
#include "mm/kspace.h"
#include "mm/kspace_tlb.h"
#include "mm/kvirt.h"

#define RW	    (PT_RW | PT_MEM_WB)
#define PAGES_MAX   1100 /* more than one leaf table, at any place: it is taken out as a whole */
#define STACK_PAGES 2
#define WAIT_MS	    5000 /* another CPU may be about to free it, and its machine be slow */

struct look {
	hva_t at;
	uint64_t word;
	bool there;
};

static void look_here(void *context)
{
	struct look *l = context;

	l->there = fixup_load8(hva_ptr(l->at), &l->word) == 0;
}

/* Does CPU `cpu` read `word` at `at`? */
static bool reads(unsigned cpu, hva_t at, uint64_t word)
{
	struct look l = { .at = at };

	hv_call(cpu, look_here, &l);
	return l.there && l.word == word;
}

static bool faults(unsigned cpu, hva_t at)
{
	struct look l = { .at = at };

	hv_call(cpu, look_here, &l);
	return !l.there;
}

/* An area of `pages` pages, each of which begins with its number more than `word`. */
static struct kvirt_area *make(unsigned pages, uint64_t word)
{
	static struct frame *frames[PAGES_MAX];
	struct kvirt_area *area;
	unsigned n = 0;

	REQUIRES(pages <= PAGES_MAX);
	for (; n < pages; n++) {
		frames[n] = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL, 0);
		if (frames[n] == NULL)
			break;
		*(uint64_t *)frame_own_bytes(frames[n]) = word + n;
	}
	if (n == pages && kvirt_map_frames(pages * PAGE_SIZE, 0, frames, n, RW, &area) == 0)
		return area;
	while (n-- != 0)
		frame_put(frames[n]);
	return NULL;
}

/* Until everything that was dropped is free. */
static bool settle(void)
{
	uint64_t end = tsc_read() + WAIT_MS * tsc_per_ms;

	while (kvirt_quarantined() != 0 && tsc_read() < end) {
		kspace_tlb_sync();
		if (kvirt_reap(UINT32_MAX) == 0)
			cpu_relax();
	}
	return kvirt_quarantined() == 0;
}

static const char *drop_and_reuse(unsigned cpu, unsigned pages, uint64_t word)
{
	struct kvirt_area *area = make(pages, word);
	hva_t first, last;

	if (area == NULL)
		return "no memory for an area";
	first = kvirt_start(area);
	last = hva(kvirt_end(area).hva - PAGE_SIZE);
	if (!reads(0, first, word) || !reads(cpu, first, word) ||
	    !reads(cpu, last, word + pages - 1))
		return "an area does not show its frames";
	if (!faults(cpu, hva(first.hva - 8)) || !faults(cpu, hva(last.hva + PAGE_SIZE)))
		return "an area has no guard page";
	kvirt_drop(area);
	if (!faults(0, first) || !faults(0, last))
		return "the CPU that has dropped an area still reaches it";
	if (!settle())
		return "what was dropped does not become free";
	if (!faults(cpu, first) || !faults(cpu, last))
		return "another CPU still reaches an area that is gone";
	area = make(pages, ~word);
	if (area == NULL)
		return "no memory for an area";
	if (kvirt_start(area).hva != first.hva)
		return "addresses that are free are not used again";
	if (!reads(cpu, first, ~word) || !reads(cpu, last, ~word + pages - 1))
		return "another CPU reads the memory of an area that is gone";
	kvirt_drop(area);
	return settle() ? NULL : "what was dropped does not become free";
}

static const char *stacks(unsigned cpu)
{
	hva_t top = kspace_stack(STACK_PAGES);

	if (top.hva == 0)
		return "no memory for a stack";
	if (!reads(cpu, hva(top.hva - 8), 0) ||
	    !reads(cpu, hva(top.hva - STACK_PAGES * PAGE_SIZE), 0))
		return "a stack is not there, or not zero";
	if (!faults(cpu, hva(top.hva - STACK_PAGES * PAGE_SIZE - 8)) || !faults(cpu, top))
		return "a stack has no guard page";
	kspace_stack_drop(top);
	if (!settle() || !faults(cpu, hva(top.hva - 8)))
		return "a stack that was given back is still there";
	return NULL;
}

static const char *refusals(void)
{
	struct kvirt_area *area;

	if (kvirt_map_untracked(PAGE_SIZE, 0, hpa(PAGE_SIZE), PAGE_SIZE, RW, 0, &area) != -EBUSY)
		return "RAM was mapped as if it were a device";
	if (kvirt_map_untracked(PAGE_SIZE, 0, kspace_root(), PAGE_SIZE, RW | PT_EXEC, KVIRT_RAM,
				&area) != -EINVAL)
		return "something was mapped writable and executable";
	return NULL;
}

const char *test_areas(void)
{
	/* One page, as many as are flushed one by one, one more, and whole tables. */
	static const unsigned sizes[] = { 1, 3, KSPACE_TLB_PAGES, KSPACE_TLB_PAGES + 1, PAGES_MAX };
	const char *wrong = refusals();

	if (!settle())
		return "what was dropped before does not become free";
	for (unsigned cpu = 0; cpu < cpu_count; cpu++) {
		for (unsigned i = 0; wrong == NULL && i < sizeof(sizes) / sizeof(sizes[0]); i++)
			for (unsigned round = 0; wrong == NULL && round < 3; round++)
				wrong = drop_and_reuse(cpu, sizes[i], (round + 1) << 20);
		if (wrong == NULL)
			wrong = stacks(cpu);
	}
	return wrong;
}
