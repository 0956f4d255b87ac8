/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Random operations on a VmSpace, against two models:
 *
 *   pages   what every page of the window translates to: compared page by page, with the engine's
 *           own lookup and with a decoder of our own that walks the raw tables
 *   TLBs    two CPUs whose TLB never forgets by itself. They enter the space, fill translations by
 *           walking, stay inside until they are kicked, and flush only when tlb_enter says so.
 * After each operation every translation that a CPU inside still holds must be one that the tables
 * give now, or a weaker one, to a frame that is in use.
 *
 * Real CPUs and emulators flush more than they must, so only this can show a flush that is missing.
 *
 *   MODEL_SEED=n  MODEL_OPS=n (for each format)
 */
#include <arch/this_cpu.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "mm/pt_ops.h"
#include "mm/vm_space.h"
#include "tests/host/arena.h"
#include "tests/unit/fake_pt.h"

#define ARENA	   (UINT64_C(64) << 20)
#define BASE	   (SIZE_1G - 4 * SIZE_2M) /* the window crosses a gigabyte */
#define PAGES	   (8 * 512)
#define CPUS	   2
#define AUDIT_EACH 4096

struct page {
	uint64_t hpa; /* 0: nothing */
	pt_attr_t rights;
};

static struct page model[PAGES];
static struct page tlb[CPUS + 1][PAGES]; /* of CPU 1, 2 */
static bool inside[CPUS + 1];
static struct vm_space space;
static const struct pt_ops *ops;
static uint64_t state, step, failures;

static uint64_t random64(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * UINT64_C(0x2545f4914f6cdd1d);
}

static unsigned below(unsigned n)
{
	return (unsigned)(random64() >> 33) % n;
}

__attribute__((format(printf, 1, 2))) static void fail(const char *fmt, ...)
{
	va_list args;

	if (failures++ > 10)
		return;
	fprintf(stderr, "%s, step %llu: ", ops->limits->name, (unsigned long long)step);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

static gpa_t page_gpa(unsigned page)
{
	return gpa(BASE + page * PAGE_SIZE);
}

/* What EPT and NPT say, read from the tables by a decoder that shares nothing with the engine. */
static struct page walk_raw(unsigned page)
{
	uint64_t at = page_gpa(page).gpa, table = frame_hpa(space.pt.root).hpa;
	bool ept = ops == &ept_ops;

	for (int shift = 39; shift >= 12; shift -= 9) {
		uint64_t e = ((const uint64_t *)(LINEAR_BASE + table))[at >> shift & 511];
		uint64_t size = UINT64_C(1) << shift;

		if (ept ? (e & 7) == 0 : (e & 1) == 0)
			return (struct page){ 0 };
		if (shift == 12 || (e & 0x80) != 0) {
			pt_attr_t rights = ept ? e & 7 : 1 | (e & 2) | (e >> 63 ? 0 : 4);

			return (struct page){ (e & 0xffffffffff000) + (at & (size - 1)), rights };
		}
		table = e & 0xffffffffff000;
	}
	return (struct page){ 0 };
}

static struct page look(unsigned page)
{
	struct pt_leaf leaf;
	struct page p = { 0 };

	if (ops != &fake_pt_ops)
		return walk_raw(page);
	epoch_enter();
	if (vm_translate(&space, page_gpa(page), &leaf) && (leaf.attr & PT_READ) != 0)
		p = (struct page){ leaf.hpa.hpa + (page_gpa(page).gpa - leaf.va),
				   leaf.attr & PT_RIGHTS };
	epoch_exit();
	return p;
}

/* A CPU goes in, throwing away what it must, and uses some pages. */
static void cpu_use(unsigned cpu)
{
	host_cpu = cpu;
	if (!inside[cpu]) {
		if (tlb_enter(&space.pt.tlb))
			memset(tlb[cpu], 0, sizeof(tlb[cpu]));
		inside[cpu] = true;
	}
	host_cpu = 0;
	for (unsigned i = 0; i < 8; i++) {
		unsigned page = below(PAGES);
		struct page now = look(page);

		/* A hit is used as it is; a miss, or a right that is missing, walks. */
		if (tlb[cpu][page].hpa == 0)
			tlb[cpu][page] = now;
	}
}

static void cpu_leave(unsigned cpu)
{
	host_cpu = cpu;
	tlb_leave(&space.pt.tlb);
	inside[cpu] = false;
	host_cpu = 0;
}

static void kick(unsigned cpu)
{
	if (inside[cpu])
		cpu_leave(cpu);
}

/* Nobody inside may hold more than the tables give. */
static void check_tlbs(void)
{
	for (unsigned cpu = 1; cpu <= CPUS; cpu++) {
		for (unsigned page = 0; inside[cpu] && page < PAGES; page++) {
			const struct page *t = &tlb[cpu][page], *m = &model[page];

			if (t->hpa == 0)
				continue;
			if (t->hpa != m->hpa || (t->rights & ~m->rights) != 0)
				fail("CPU %u still reaches 0x%llx through page %u (now 0x%llx)",
				     cpu, (unsigned long long)t->hpa, page,
				     (unsigned long long)m->hpa);
			else if (frame_refs(frame_head(frame_at(hpa(t->hpa)))) == 0)
				fail("CPU %u reaches a free frame through page %u", cpu, page);
		}
	}
}

static void check_pages(void)
{
	for (unsigned page = 0; page < PAGES; page++) {
		struct page p = look(page);
		bool readable = (model[page].rights & PT_READ) != 0;

		if (readable ? p.hpa != model[page].hpa || p.rights != model[page].rights
			     : p.hpa != 0)
			fail("page %u is 0x%llx %u, should be 0x%llx %u", page,
			     (unsigned long long)p.hpa, p.rights,
			     (unsigned long long)model[page].hpa, model[page].rights);
	}
}

static void set_model(unsigned first, unsigned count, uint64_t hpa_first, pt_attr_t rights)
{
	for (unsigned i = 0; i < count; i++)
		model[first + i] = (struct page){ hpa_first == 0 ? 0 : hpa_first + i * PAGE_SIZE,
						  rights };
}

static pt_attr_t random_rights(void)
{
	static const pt_attr_t some[] = { PT_READ, PT_RW, PT_RX, PT_RWX, 0 };

	return some[below(5)];
}

static void op_map(void)
{
	unsigned order = below(8) == 0 ? FRAME_ORDER_2M : FRAME_ORDER_4K, count = 1u << order;
	unsigned page = below(PAGES) & ~(count - 1);
	pt_attr_t rights = random_rights();
	struct frame *f = frame_alloc(order, FRAME_GUEST, 0);
	struct vm_cursor c;
	int err;

	if (f == NULL)
		return;
	err = vm_cursor_open(&c, &space, page_gpa(page), page_gpa(page + count), VM_CHANGE);
	if (err == 0) {
		err = vm_map(&c, f, rights | PT_MEM_WB);
		vm_cursor_close(&c);
	}
	if (err == 0)
		set_model(page, count, frame_hpa(f).hpa, rights);
	else
		frame_put(f);
	if (err != 0 && err != -ENOMEM)
		fail("map: %s", err_name(err));
}

static unsigned random_range(unsigned *first)
{
	unsigned len = 1 + below(below(4) == 0 ? 1500 : 12);

	*first = below(PAGES);
	return *first + len > PAGES ? PAGES - *first : len;
}

static void op_unmap(void)
{
	unsigned first, count = random_range(&first), expected = 0;
	struct vm_cursor c;
	uint64_t pages;
	int err = vm_cursor_open(&c, &space, page_gpa(first), page_gpa(first + count), VM_CHANGE);

	if (err != 0)
		return;
	err = vm_unmap(&c, count * PAGE_SIZE, &pages);
	if (err != 0) /* it stopped at a page that could not be split */
		count = (unsigned)((vm_cursor_at(&c).gpa - page_gpa(first).gpa) / PAGE_SIZE);
	vm_cursor_close(&c);
	for (unsigned i = 0; i < count; i++)
		expected += model[first + i].hpa != 0;
	if (pages != expected)
		fail("unmap of %u pages from %u says %llu, were %u", count, first,
		     (unsigned long long)pages, expected);
	set_model(first, count, 0, 0);
}

static void op_protect(void)
{
	unsigned first, count = random_range(&first);
	pt_attr_t rights = random_rights();
	struct pt_leaf old;
	struct vm_cursor c;

	if (vm_cursor_open(&c, &space, page_gpa(first), page_gpa(first + count), VM_CHANGE) != 0)
		return;
	for (;;) {
		uint64_t left = page_gpa(first + count).gpa - vm_cursor_at(&c).gpa;
		unsigned at;

		if (vm_protect_next(&c, left, rights | PT_MEM_WB, &old) != 0)
			break;
		at = (unsigned)((old.va - BASE) / PAGE_SIZE);
		for (unsigned i = 0; i < old.size / PAGE_SIZE; i++) {
			if (model[at + i].hpa != old.hpa.hpa + i * PAGE_SIZE)
				fail("protect found another page than is there at %u", at + i);
			model[at + i].rights = rights;
		}
	}
	vm_cursor_close(&c);
}

static void op_find(void)
{
	unsigned first, count = random_range(&first), expected = first;
	struct vm_cursor c;
	bool found;

	if (vm_cursor_open(&c, &space, page_gpa(first), page_gpa(first + count), VM_READ) != 0) {
		fail("a cursor that only reads cannot be opened");
		return;
	}
	found = vm_find_next(&c, count * PAGE_SIZE);
	while (expected < first + count && model[expected].hpa == 0)
		expected++;
	if (found != (expected < first + count) || vm_cursor_at(&c).gpa != page_gpa(expected).gpa)
		fail("find_next from %u stands at 0x%llx, not at page %u", first,
		     (unsigned long long)vm_cursor_at(&c).gpa, expected);
	vm_cursor_close(&c);
}

static void complain(const char *text)
{
	fail("audit: %s", text);
}

static void check_all(void)
{
	struct vm_audit audit;

	check_pages();
	vm_audit(&space, &audit, complain);
	frame_audit(complain);
	if (lock_held() != 0)
		fail("a lock is still held");
}

static void run_step(void)
{
	static void (*const operations[])(void) = { op_map,   op_map,	  op_map,
						    op_unmap, op_protect, op_find };

	for (unsigned cpu = 1; cpu <= CPUS; cpu++) {
		if (below(3) == 0)
			cpu_use(cpu);
		else if (inside[cpu] && below(8) == 0)
			cpu_leave(cpu);
	}
	if (below(16) == 0)
		frame_alloc_fail_after(below(6));
	operations[below(6)]();
	frame_alloc_fail_after(-1);
	check_tlbs();
	epoch_poll();
	if (step % AUDIT_EACH == 0)
		check_all();
}

static void finish(void)
{
	struct frame_account a;

	check_all();
	for (unsigned cpu = 1; cpu <= CPUS; cpu++)
		kick(cpu);
	vm_space_destroy(&space);
	epoch_drain();
	frame_account(&a);
	if (a.by_kind[FRAME_GUEST] != 0 || a.by_kind[FRAME_STAGE2_TABLE] != 0)
		fail("%llu bytes of guest and %llu of tables are lost",
		     (unsigned long long)a.by_kind[FRAME_GUEST],
		     (unsigned long long)a.by_kind[FRAME_STAGE2_TABLE]);
	arena_fini();
}

static bool run_format(const struct pt_ops *format, uint64_t seed, uint64_t count)
{
	char why[128];

	ops = format;
	state = seed * 2 + 1;
	failures = 0;
	memset(model, 0, sizeof(model));
	memset(tlb, 0, sizeof(tlb));
	arena_init(ARENA);
	ept_setup(0xf0106734141, 46, why, sizeof(why));
	npt_setup(true, 46);
	tlb_set_kick(kick);
	if (vm_space_init(&space, format) != 0)
		return false;
	for (step = 1; step <= count && failures == 0; step++)
		run_step();
	finish();
	printf("model: %s: %llu operations, seed %llu: %s\n", format->limits->name,
	       (unsigned long long)count, (unsigned long long)seed, failures ? "FAILED" : "ok");
	return failures == 0;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

int main(void)
{
	static const struct pt_ops *const formats[] = { &ept_ops, &npt_ops, &fake_pt_ops };
	uint64_t seed = setting("MODEL_SEED", (uint64_t)time(NULL));
	uint64_t count = setting("MODEL_OPS", 100000);
	unsigned passed = 0;

	for (unsigned i = 0; i < 3; i++)
		passed += run_format(formats[i], seed + i, count);
	printf("%u passed, %u failed, 0 skipped\n", passed, 3 - passed);
	return passed != 3;
}
