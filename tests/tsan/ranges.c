/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Threads that do all that can be done to one space, in ranges that are the same, overlap, or are
 * apart, while others look without a lock, run the guest, and make and destroy spaces of their own.
 * Overlapping cursors serialise (Asterinas #1948): the judge finds the order of each page's changes
 * in the tickets and replays it.
 */
#include "tests/tsan/ranges.h"

#include <arch/pt_store.h>
#include <arch/this_cpu.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "tests/host/arena.h"
#include "tests/host/mmu.h"
#include "tests/host/random.h"
#include "tests/tsan/threads.h"

#define ARENA (UINT64_C(96) << 20)

static struct mmu mmu;
static struct mmu_page tlbs[RANGE_CPUS][RANGE_PAGES];
static _Atomic bool kicks[RANGE_CPUS];
static uint64_t rounds;

struct vm_space ranges_space;
struct range_log range_logs[RANGE_CPUS];
_Atomic uint64_t range_clock;

/* --- without a lock --------------------------------------------------------------------------- */

static struct probe *probe_begin(struct worker *w, enum probe_kind kind, uint64_t page)
{
	struct range_log *log = &range_logs[w->cpu];
	struct probe *p = &log->probes[log->probe_count++];

	memset(p, 0, sizeof(*p));
	p->kind = kind;
	p->page = page;
	p->t0 = ticket();
	return p;
}

static uint64_t some_page(struct worker *w)
{
	return below(w, RANGE_SLOTS) * SLOT_PAGES + below(w, below(w, 4) ? 32 : SLOT_PAGES);
}

static bool look_by(unsigned how, gpa_t at, struct pt_leaf *leaf)
{
	struct pt_step steps[PT_MAX_LEVELS];
	struct pt_hit hit;
	unsigned n;

	switch (how) {
	case 0:
		return vm_translate(&ranges_space, at, leaf);
	case 1:
		hit = vm_lookup(&ranges_space, at);
		*leaf = (struct pt_leaf){ .hpa = hit.hpa, .attr = hit.attr };
		if (hit.level != 0)
			leaf->size = pt_level_size(hit.level);
		return hit.level != 0;
	default:
		n = vm_walk(&ranges_space, at, steps);
		*leaf = vm_decode(&ranges_space, steps[n - 1].raw, steps[n - 1].level);
		return steps[n - 1].is == PT_STEP_LEAF;
	}
}

static void look(struct worker *w)
{
	uint64_t page = some_page(w);
	unsigned how = (unsigned)below(w, 3);
	struct pt_leaf leaf = { 0 };
	struct probe *p;

	epoch_enter();
	for (unsigned n = 1 + (unsigned)below(w, 6); n > 0; n--) {
		p = probe_begin(w, PROBE_LOOK, page);
		p->found = look_by(how, page_gpa(page), &leaf);
		p->t1 = ticket();
		if (p->found) {
			p->hpa = leaf.hpa.hpa + (page_gpa(page).gpa & (leaf.size - 1));
			p->attr = leaf.attr & ~(PT_ACCESSED | PT_DIRTY);
		}
	}
	epoch_exit();
}

static void mark(struct worker *w)
{
	struct probe *p;

	for (unsigned n = 1 + (unsigned)below(w, 6); n > 0; n--) {
		epoch_enter();
		p = probe_begin(w, PROBE_MARK, some_page(w));
		p->marks = below(w, 2) ? PT_ACCESSED | PT_DIRTY : PT_ACCESSED;
		p->found = vm_mark(&ranges_space, page_gpa(p->page), p->marks);
		p->t1 = ticket();
		epoch_exit();
	}
}

/* --- in the guest ----------------------------------------------------------------------------- */

static void kick(unsigned cpu)
{
	atomic_store(&kicks[cpu], true);
}

static bool in_tlb(const struct mmu_page *t, unsigned access)
{
	return t->size != 0 && (t->rights & access) != 0 && (access != MMU_WRITE || t->dirty);
}

static void guest_access(struct worker *w, uint64_t page, unsigned access)
{
	struct mmu_page *t = &tlbs[w->cpu][page];
	struct probe *p = probe_begin(w, PROBE_HIT, page);
	enum mmu_result result = MMU_DONE;

	p->attr = access;
	p->marks = access == MMU_WRITE ? PT_ACCESSED | PT_DIRTY : PT_ACCESSED;
	if (!in_tlb(t, access)) {
		p->kind = PROBE_WALK;
		result = mmu_walk(&mmu, page_gpa(page).gpa, access, t);
		CHECK(result != MMU_MALFORMED);
	}
	p->t1 = ticket();
	p->found = result == MMU_DONE;
	if (p->found)
		p->hpa = t->hpa + (page_gpa(page).gpa - t->gpa);
	else
		t->size = 0; /* A fault throws the translation away. (SDM vol. 3, 29.4.2) */
}

static void guest_run(struct worker *w)
{
	uint64_t base = some_page(w);

	atomic_store(&kicks[w->cpu], false);
	if (tlb_enter(&ranges_space.pt.tlb))
		memset(tlbs[w->cpu], 0, sizeof(tlbs[w->cpu]));
	for (unsigned n = 0; n < 24 && !atomic_load(&kicks[w->cpu]); n++)
		guest_access(w, (base + below(w, 6)) % RANGE_PAGES,
			     below(w, 2) ? MMU_READ : MMU_WRITE);
	tlb_leave(&ranges_space.pt.tlb);
}

/* --- whole spaces ----------------------------------------------------------------------------- */

static void whole_space(struct worker *w)
{
	struct vm_space own;
	struct frame *f;

	if (vm_space_init(&own, ranges_space.pt.ops) != 0)
		return;
	for (unsigned n = (unsigned)below(w, 6); n > 0; n--) {
		uint64_t at = below(w, 1 << 16) * SIZE_2M, pages;

		if (vm_cursor_open(&w->c, &own, gpa(at), gpa(at + SIZE_2M), VM_CHANGE) != 0)
			continue;
		f = frame_alloc(below(w, 8) ? FRAME_ORDER_4K : FRAME_ORDER_2M, FRAME_GUEST, 0);
		if (f != NULL && vm_map(&w->c, f, PT_RW | PT_MEM_WB) != 0)
			frame_put(f);
		else if (f != NULL && below(w, 2) == 0)
			CHECK(vm_jump(&w->c, gpa(at)) == 0 &&
			      vm_unmap(&w->c, PAGE_SIZE, &pages) != -EINVAL);
		vm_cursor_close(&w->c);
	}
	vm_space_destroy(&own);
}

/* --- the test --------------------------------------------------------------------------------- */

static void worker(unsigned cpu)
{
	struct worker w = { .cpu = cpu, .rng = thread_seed(cpu) };

	for (uint64_t i = 0; i < rounds; i++) {
		switch (below(&w, 16)) {
		case 0 ... 2:
			look(&w);
			break;
		case 3 ... 4:
			mark(&w);
			break;
		case 5 ... 6:
			guest_run(&w);
			break;
		case 7:
			whole_space(&w);
			break;
		default:
			ranges_under_cursor(&w);
		}
		epoch_poll();
	}
}

/* Before an entry is written others may go on: what was read is old by then. */
static void stall(const volatile void *entry, uint64_t raw)
{
	static struct {
		uint64_t rng __attribute__((aligned(64)));
	} cpus[RANGE_CPUS];

	(void)entry;
	(void)raw;
	if (random_below(&cpus[host_cpu].rng, 32) == 0)
		cpu_relax();
}

static void begin(const struct pt_ops *ops, enum mmu_format format)
{
	char why[128];

	arena_init(ARENA);
	CHECK(ept_setup(0xf0106734141, MMU_PHYS_BITS, why, sizeof(why)) == 0);
	npt_setup(true, MMU_PHYS_BITS);
	CHECK(vm_space_init(&ranges_space, ops) == 0);
	mmu = (struct mmu){ .format = format, .root = frame_hpa(ranges_space.pt.root).hpa };
	tlb_set_kick(kick);
	host_pt_store = stall;
	rounds = random_env("TSAN_RANGES", 8000);
	atomic_store(&range_clock, 1);
	memset(tlbs, 0, sizeof(tlbs));
	for (unsigned cpu = 0; cpu < RANGE_CPUS; cpu++) {
		/* A round makes at most RANGE_CALLS calls, or 24 probes. */
		range_logs[cpu].ops = malloc(rounds * RANGE_CALLS * sizeof(struct op));
		range_logs[cpu].probes = malloc(rounds * 24 * sizeof(struct probe));
		range_logs[cpu].op_count = range_logs[cpu].probe_count = 0;
		if (range_logs[cpu].ops == NULL || range_logs[cpu].probes == NULL)
			abort();
	}
}

static void complain(const char *text)
{
	printf("  audit: %s\n", text);
	check_failed("audit", __FILE__, __LINE__);
}

/* What is left in the space is what the replay ends with. */
static void compare(void)
{
	for (uint64_t page = 0; page < RANGE_PAGES; page++) {
		struct pt_leaf leaf;
		pt_attr_t attr;
		uint64_t at;
		bool found;

		epoch_enter();
		found = vm_translate(&ranges_space, page_gpa(page), &leaf);
		epoch_exit();
		CHECK(ranges_page(page, &at, &attr) == found);
		CHECK(!found || leaf.hpa.hpa + (page_gpa(page).gpa - leaf.va) == at);
		CHECK(!found || (leaf.attr & ~(PT_ACCESSED | PT_DIRTY)) == attr);
	}
}

static void end(void)
{
	struct vm_audit audit;
	struct frame_account a;

	threads_settle(RANGE_CPUS);
	vm_audit(&ranges_space, &audit, complain);
	vm_space_destroy(&ranges_space);
	threads_settle(RANGE_CPUS);
	frame_account(&a);
	CHECK(a.by_kind[FRAME_GUEST] == 0);
	CHECK(a.by_kind[FRAME_STAGE2_TABLE] == 0);
	CHECK(frame_audit(complain) == 0);
	tlb_set_kick(NULL);
	host_pt_store = NULL;
	for (unsigned cpu = 0; cpu < RANGE_CPUS; cpu++) {
		free(range_logs[cpu].ops);
		free(range_logs[cpu].probes);
	}
	ranges_forget();
	arena_fini();
}

/* It was no idle run: each call has done what it is for, each probe has found something. */
static void busy(void)
{
	uint64_t ops[OP_KINDS] = { 0 }, probes[PROBE_HIT + 1] = { 0 };

	for (unsigned cpu = 0; cpu < RANGE_CPUS; cpu++) {
		for (unsigned i = 0; i < range_logs[cpu].op_count; i++)
			ops[range_logs[cpu].ops[i].kind] += range_logs[cpu].ops[i].err == 0;
		for (unsigned i = 0; i < range_logs[cpu].probe_count; i++)
			probes[range_logs[cpu].probes[i].kind] += range_logs[cpu].probes[i].found;
	}
	for (unsigned i = 0; i < OP_KINDS; i++)
		for (unsigned i = 0; i < OP_KINDS; i++)
			for (unsigned i = 0; i < OP_KINDS; i++)
				for (unsigned i = 0; i < OP_KINDS; i++)
					CHECK(ops[i] > rounds / 100);
	for (unsigned i = 0; i <= PROBE_HIT; i++)
		CHECK(probes[i] > rounds / 100);
}

static void ranges(const struct pt_ops *ops, enum mmu_format format)
{
	begin(ops, format);
	threads_run(RANGE_CPUS, worker);
	busy();
	ranges_judge(range_logs);
	compare();
	end();
}

void test_ranges_ept(void)
{
	ranges(&ept_ops, MMU_EPT);
}

void test_ranges_npt(void)
{
	ranges(&npt_ops, MMU_NPT);
}
