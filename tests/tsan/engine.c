/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Threads over one space. Each maps, unmaps, protects and looks at random places, in ranges of all
 * shapes, and runs the guest in between.
 *
 *   shadow   what each page translates to, in plain memory that only the cursor over that page
 *            protects: a range lock that lets two in is a data race, or a page that differs
 *   stamps   the first word of each page of guest memory says which address it is for, and is
 *            destroyed before the page goes back to the allocator: whoever follows a translation
 *            that should be gone reads the wrong word
 */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "mm/pt_ops.h"
#include "mm/vm_space.h"
#include "tests/host/arena.h"
#include "tests/host/mmu.h"
#include "tests/host/random.h"
#include "tests/tsan/threads.h"
#include "tests/unit/fake_pt.h"

#define ARENA	   (UINT64_C(64) << 20)
#define CPUS	   4
#define BASE	   (SIZE_1G - 2 * SIZE_2M) /* the window crosses a gigabyte */
#define PAGES	   (4 * 512)
#define HOT	   3 /* a page that some tests are about */
#define GONE	   UINT64_C(0xdeadbeefdeadbeef)
#define RIGHTS_MEM (PT_RIGHTS | PT_MEM_MASK)

struct page {
	uint64_t hpa; /* 0: nothing */
	pt_attr_t attr;
};

static struct vm_space space;
static struct mmu mmu;
static struct page shadow[PAGES];
static _Atomic bool kicks[CPUS];
static struct mmu_page tlbs[CPUS][PAGES];
static _Atomic uint64_t lookups, hits, faults;

static void complain(const char *text)
{
	printf("  audit: %s\n", text);
	check_failed("audit", __FILE__, __LINE__);
}

static uint64_t page_gpa(uint64_t page)
{
	return BASE + page * PAGE_SIZE;
}

/* The two words of guest memory that are used: the stamp, and what guests count up. */
static _Atomic uint64_t *word(uint64_t hpa, unsigned i)
{
	return (_Atomic uint64_t *)(LINEAR_BASE + hpa) + i;
}

static void stamp(const struct frame *f, uint64_t gpa_first)
{
	for (uint64_t at = 0; at < frame_size(f); at += PAGE_SIZE)
		atomic_store_explicit(word(frame_hpa(f).hpa + at, 0),
				      gpa_first == GONE ? GONE : gpa_first + at,
				      memory_order_relaxed);
}

static void guest_frame_ends(struct frame *f)
{
	stamp(f, GONE);
}

static void stamp_check(uint64_t hpa, uint64_t page)
{
	CHECK(atomic_load_explicit(word(hpa, 0), memory_order_relaxed) == page_gpa(page));
}

/* --- the guest ------------------------------------------------------------------------------ */

static void kick(unsigned cpu)
{
	atomic_store(&kicks[cpu], true);
}

static bool in_tlb(const struct mmu_page *t, unsigned access)
{
	return t->size != 0 && (t->rights & access) != 0 && (access != MMU_WRITE || t->dirty);
}

/* One access, as a CPU makes it: by the TLB if that has it, else by a walk. */
static void guest_access(unsigned cpu, uint64_t page, unsigned access)
{
	struct mmu_page *t = &tlbs[cpu][page];
	uint64_t hpa;

	if (in_tlb(t, access)) {
		atomic_fetch_add_explicit(&hits, 1, memory_order_relaxed);
	} else {
		enum mmu_result result = mmu_walk(&mmu, page_gpa(page), access, t);

		CHECK(result != MMU_MALFORMED);
		if (result != MMU_DONE) {
			/* A fault throws the translation away, on every CPU. (SDM vol. 3, 29.4.2)
			 */
			t->size = 0;
			atomic_fetch_add_explicit(&faults, 1, memory_order_relaxed);
			return;
		}
	}
	hpa = t->hpa + (page_gpa(page) - t->gpa);
	stamp_check(hpa, page);
	if (access == MMU_WRITE)
		atomic_fetch_add_explicit(word(hpa, 1), 1, memory_order_relaxed);
}

static void guest_run(unsigned cpu, uint64_t *rng, unsigned accesses)
{
	uint64_t first = random_below(rng, PAGES);

	atomic_store(&kicks[cpu], false);
	if (tlb_enter(&space.pt.tlb))
		memset(tlbs[cpu], 0, sizeof(tlbs[cpu]));
	for (unsigned i = 0; i < accesses && !atomic_load(&kicks[cpu]); i++) {
		uint64_t page = random_below(rng, 4) ? (first + random_below(rng, 8)) % PAGES
						     : random_below(rng, PAGES);

		guest_access(cpu, page, random_below(rng, 2) ? MMU_READ : MMU_WRITE);
	}
	tlb_leave(&space.pt.tlb);
}

/* --- the changers ---------------------------------------------------------------------------- */

static pt_attr_t random_attr(uint64_t *rng)
{
	static const pt_attr_t some[] = { PT_RW, PT_READ, PT_RWX, PT_RX, 0 };

	return some[random_below(rng, 5)] | PT_MEM_WB;
}

/* Under a cursor: [first, end) of the engine is what the shadow says. */
static void compare(struct vm_cursor *c, uint64_t first, uint64_t end)
{
	uint64_t page = first;

	CHECK(vm_jump(c, gpa(page_gpa(first))) == 0);
	while (vm_find_next(c, page_gpa(end) - vm_cursor_at(c).gpa)) {
		uint64_t at = (vm_cursor_at(c).gpa - BASE) / PAGE_SIZE;
		struct pt_leaf leaf;

		for (; page < at; page++)
			CHECK(shadow[page].hpa == 0);
		CHECK(vm_query(c, &leaf) == 0 && leaf.attr != 0);
		for (; page < end && page_gpa(page) - leaf.va < leaf.size; page++) {
			CHECK(shadow[page].hpa == leaf.hpa.hpa + (page_gpa(page) - leaf.va));
			CHECK(shadow[page].attr == (leaf.attr & RIGHTS_MEM));
		}
		CHECK(vm_jump(c, gpa(page_gpa(page))) == 0);
	}
	for (; page < end; page++)
		CHECK(shadow[page].hpa == 0);
}

static void change_map(struct vm_cursor *c, uint64_t page, unsigned order, uint64_t *rng)
{
	struct frame *f = frame_alloc(order, FRAME_GUEST, 0);
	pt_attr_t attr = random_attr(rng);
	int err;

	if (f == NULL)
		return;
	stamp(f, page_gpa(page));
	CHECK(vm_jump(c, gpa(page_gpa(page))) == 0);
	err = vm_map(c, f, attr);
	CHECK(err == 0 || err == -ENOMEM);
	if (err != 0) {
		frame_put(f);
		return;
	}
	for (uint64_t i = 0; i < UINT64_C(1) << order; i++)
		shadow[page + i] = (struct page){ frame_hpa(f).hpa + i * PAGE_SIZE,
						  attr & RIGHTS_MEM };
}

static void change_unmap(struct vm_cursor *c, uint64_t first, uint64_t end)
{
	uint64_t pages, expected = 0, stop = end;

	CHECK(vm_jump(c, gpa(page_gpa(first))) == 0);
	if (vm_unmap(c, (end - first) * PAGE_SIZE, &pages) != 0)
		stop = (vm_cursor_at(c).gpa - BASE) / PAGE_SIZE;
	for (uint64_t page = first; page < stop; page++) {
		expected += shadow[page].hpa != 0;
		shadow[page] = (struct page){ 0 };
	}
	CHECK(pages == expected);
}

static void change_protect(struct vm_cursor *c, uint64_t first, uint64_t end, uint64_t *rng)
{
	pt_attr_t attr = random_attr(rng);
	struct pt_leaf old;

	CHECK(vm_jump(c, gpa(page_gpa(first))) == 0);
	while (vm_protect_next(c, page_gpa(end) - vm_cursor_at(c).gpa, attr, &old) == 0)
		for (uint64_t at = 0; at < old.size; at += PAGE_SIZE) {
			struct page *p = &shadow[(old.va + at - BASE) / PAGE_SIZE];

			CHECK(p->hpa == old.hpa.hpa + at);
			p->attr = attr & RIGHTS_MEM;
		}
}

static void change(struct vm_cursor *c, uint64_t first, uint64_t end, uint64_t *rng)
{
	for (unsigned n = 1 + (unsigned)random_below(rng, 3); n > 0; n--) {
		uint64_t a = first + random_below(rng, end - first);
		uint64_t b = a + 1 + random_below(rng, end - a);
		uint64_t large = round_up(a, 512);

		if (random_below(rng, 2) == 0)
			change_map(c, a, FRAME_ORDER_4K, rng);
		else if (large + 512 <= end && random_below(rng, 4) == 0)
			change_map(c, large, FRAME_ORDER_2M, rng);
		else if (random_below(rng, 2) == 0)
			change_unmap(c, a, b);
		else
			change_protect(c, a, b, rng);
	}
}

static void under_cursor(uint64_t *rng)
{
	uint64_t first = random_below(rng, PAGES), count;
	bool reads = random_below(rng, 4) == 0;
	struct vm_cursor c;
	int err;

	count = 1 + random_below(rng, random_below(rng, 8) == 0 ? 700 : 6);
	if (random_below(rng, 8) == 0) {
		first = round_down(first, 512);
		count = 512;
	}
	if (count > PAGES - first)
		count = PAGES - first;
	err = vm_cursor_open(&c, &space, gpa(page_gpa(first)), gpa(page_gpa(first + count)),
			     reads ? VM_READ : VM_CHANGE);
	CHECK(err == 0 || (err == -ENOMEM && !reads));
	if (err != 0)
		return;
	compare(&c, first, first + count);
	if (!reads)
		change(&c, first, first + count, rng);
	compare(&c, first, first + count);
	vm_cursor_close(&c);
}

/* Without a lock: what is found, tables and memory, stays what it is until the section ends. */
static void look(uint64_t page, bool lingers)
{
	struct pt_step steps[PT_MAX_LEVELS];
	unsigned n;

	epoch_enter();
	n = vm_walk(&space, gpa(page_gpa(page)), steps);
	for (unsigned i = 0; lingers && i < 3; i++)
		cpu_relax();
	for (unsigned i = 0; i < n; i++)
		CHECK(frame_state(frame_at(steps[i].table)) < FRAME_STATE_FREE &&
		      frame_state(frame_at(steps[i].table)) != FRAME_STATE_UNUSED);
	if (steps[n - 1].is == PT_STEP_LEAF) {
		struct pt_leaf leaf = vm_decode(&space, steps[n - 1].raw, steps[n - 1].level);

		stamp_check(leaf.hpa.hpa + (page_gpa(page) & (leaf.size - 1)), page);
		vm_mark(&space, gpa(page_gpa(page)), PT_ACCESSED);
		atomic_fetch_add_explicit(&lookups, 1, memory_order_relaxed);
	}
	epoch_exit();
}

static void worker(unsigned cpu)
{
	uint64_t rng = thread_seed(cpu);
	uint64_t rounds = random_env("TSAN_OPS", 4000);

	for (uint64_t i = 0; i < rounds; i++) {
		switch (random_below(&rng, 4)) {
		case 0:
			guest_run(cpu, &rng, 60);
			break;
		case 1:
			look(random_below(&rng, PAGES), random_below(&rng, 4) == 0);
			break;
		default:
			under_cursor(&rng);
		}
		epoch_poll();
	}
}

static void begin(const struct pt_ops *ops, enum mmu_format format)
{
	char why[128];

	arena_init(ARENA);
	CHECK(ept_setup(0xf0106734141, MMU_PHYS_BITS, why, sizeof(why)) == 0);
	npt_setup(true, MMU_PHYS_BITS);
	memset(shadow, 0, sizeof(shadow));
	CHECK(vm_space_init(&space, ops) == 0);
	mmu = (struct mmu){ .format = format, .root = frame_hpa(space.pt.root).hpa };
	frame_set_destructor(FRAME_GUEST, guest_frame_ends);
	tlb_set_kick(kick);
}

static void end(void)
{
	struct vm_audit audit;
	struct frame_account a;
	struct vm_cursor c;

	threads_settle(CPUS);
	CHECK(vm_cursor_open(&c, &space, gpa(BASE), gpa(page_gpa(PAGES)), VM_READ) == 0);
	compare(&c, 0, PAGES);
	vm_cursor_close(&c);
	vm_audit(&space, &audit, complain);
	vm_space_destroy(&space);
	threads_settle(CPUS);
	frame_account(&a);
	CHECK(a.by_kind[FRAME_GUEST] == 0);
	CHECK(a.by_kind[FRAME_STAGE2_TABLE] == 0);
	CHECK(frame_audit(complain) == 0);
	tlb_set_kick(NULL);
	frame_set_destructor(FRAME_GUEST, NULL);
	arena_fini();
}

static void engine(const struct pt_ops *ops, enum mmu_format format)
{
	begin(ops, format);
	lookups = hits = faults = 0;
	/* It must not be an idle run: on a busy machine two threads may miss each other. */
	for (unsigned runs = 0; runs < 20 && atomic_load(&space.pt.tlb.kicks) == 0; runs++)
		threads_run(CPUS, worker);
	CHECK(lookups > 0 && hits > 0 && faults > 0);
	CHECK(atomic_load(&space.pt.tlb.kicks) > 0);
	end();
}

void test_engine_ept(void)
{
	engine(&ept_ops, MMU_EPT);
}

void test_engine_npt(void)
{
	engine(&npt_ops, MMU_NPT);
}

void test_engine_fake(void)
{
	engine(&fake_pt_ops, MMU_FAKE);
}

/* --- a page and its table come and go before the eyes of the others --------------------------- */

static void grace_worker(unsigned cpu)
{
	uint64_t rng = thread_seed(cpu);
	struct vm_cursor c;

	while (cpu != 0 && !threads_stopped())
		look(HOT, true);
	for (unsigned i = 0; cpu == 0 && i < 1500; i++) {
		CHECK(vm_cursor_open(&c, &space, gpa(page_gpa(0)), gpa(page_gpa(512)), VM_CHANGE) ==
		      0);
		change_map(&c, HOT, FRAME_ORDER_4K, &rng);
		vm_cursor_close(&c);
		if (i % 4 == 0)
			cpu_relax();
		CHECK(vm_cursor_open(&c, &space, gpa(page_gpa(0)), gpa(page_gpa(512)), VM_CHANGE) ==
		      0);
		change_unmap(&c, 0, 512);
		vm_cursor_close(&c);
		epoch_poll();
	}
	if (cpu == 0)
		threads_stop();
}

void test_grace(void)
{
	begin(&ept_ops, MMU_EPT);
	lookups = 0;
	threads_run(THREADS, grace_worker);
	CHECK(lookups > 0);
	end();
}

/* --- a right that was taken away is gone, a mark that was cleared comes back ------------------ */

static struct frame *hot;
static unsigned hot_marked; /* rounds in which a mark had to come back, and did */

static uint64_t hot_count(void)
{
	return atomic_load_explicit(word(frame_hpa(hot).hpa, 1), memory_order_relaxed);
}

static void hot_protect(pt_attr_t attr)
{
	struct vm_cursor c;
	struct pt_leaf old;

	CHECK(vm_cursor_open(&c, &space, gpa(page_gpa(HOT)), gpa(page_gpa(HOT + 1)), VM_CHANGE) ==
	      0);
	CHECK(vm_protect_next(&c, PAGE_SIZE, attr | PT_MEM_WB, &old) == 0);
	vm_cursor_close(&c);
}

static bool hot_clear_dirty(void)
{
	struct vm_cursor c;
	struct pt_leaf old;

	CHECK(vm_cursor_open(&c, &space, gpa(page_gpa(HOT)), gpa(page_gpa(HOT + 1)), VM_CHANGE) ==
	      0);
	CHECK(vm_clear_marks_next(&c, PAGE_SIZE, PT_DIRTY, &old) == 0);
	vm_cursor_close(&c);
	return (old.attr & PT_DIRTY) != 0;
}

static bool hot_wait(uint64_t count)
{
	for (unsigned i = 0; i < 2000; i++) {
		if (hot_count() != count)
			return true;
		cpu_relax();
	}
	return false;
}

static void downgrade_worker(unsigned cpu)
{
	uint64_t count, rng = thread_seed(cpu);

	while (cpu != 0 && !threads_stopped()) {
		atomic_store(&kicks[cpu], false);
		if (tlb_enter(&space.pt.tlb))
			memset(tlbs[cpu], 0, sizeof(tlbs[cpu]));
		for (unsigned i = 0; i < 1000 && !atomic_load(&kicks[cpu]); i++)
			guest_access(cpu, HOT, random_below(&rng, 4) ? MMU_WRITE : MMU_READ);
		tlb_leave(&space.pt.tlb);
	}
	for (unsigned i = 0; cpu == 0 && i < 150; i++) {
		hot_protect(PT_READ);
		count = hot_count();
		for (unsigned k = 0; k < 3; k++)
			cpu_relax();
		CHECK(hot_count() == count);
		hot_clear_dirty();
		hot_protect(PT_RW);
		/* Who writes from here on must mark the page again, before the write is seen. */
		if (hot_wait(count)) {
			CHECK(hot_clear_dirty());
			hot_marked++;
		}
	}
	if (cpu == 0)
		threads_stop();
}

static void downgrade(const struct pt_ops *ops, enum mmu_format format)
{
	struct vm_cursor c;
	uint64_t rng = 1;

	begin(ops, format);
	CHECK(vm_cursor_open(&c, &space, gpa(page_gpa(HOT)), gpa(page_gpa(HOT + 1)), VM_CHANGE) ==
	      0);
	change_map(&c, HOT, FRAME_ORDER_4K, &rng);
	vm_cursor_close(&c);
	hot = frame_at(hpa(shadow[HOT].hpa));
	hot_protect(PT_RW);
	shadow[HOT].attr = PT_RW | PT_MEM_WB;
	hot_marked = 0;
	threads_run(THREADS, downgrade_worker);
	CHECK(hot_marked > 0);
	end();
}

void test_downgrade_ept(void)
{
	downgrade(&ept_ops, MMU_EPT);
}

void test_downgrade_npt(void)
{
	downgrade(&npt_ops, MMU_NPT);
}
