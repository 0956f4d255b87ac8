/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The CPUs of the model. What each holds:
 *
 *   tlb     translations that it has filled since its last flush: all of them
 *   tables  nodes that it has met, by level and address, as a paging-structure cache would: a later
 *           walk may begin at one of them
 *
 * A frame that is given to the allocator while a CPU inside holds it is the bug that this is for;
 * so the frames' destructors look, and not only the end of an operation.
 */
#include <arch/pt_store.h>
#include <arch/this_cpu.h>
#include <string.h>

#include "mm/frame_alloc.h"
#include "tests/model/model.h"

#define CPUS	   2
#define TLB_MAX	   200
#define TABLES_MAX 40
#define SEEN_MAX   64

struct table {
	uint64_t gpa, table;
	unsigned level;
};

static struct cpu {
	bool inside;
	unsigned tlb_count, table_count;
	struct mmu_page tlb[TLB_MAX];
	struct table tables[TABLES_MAX];
} cpus[CPUS + 1]; /* 1 .. CPUS; CPU 0 is the one that changes things */

/* Translations seen in the middle of an operation, with what the model said before it. */
static struct {
	unsigned count;
	struct {
		uint64_t page;
		struct mmu_page t;
	} at[SEEN_MAX];
} seen;
static struct {
	uint64_t first, count;
	bool on;
} operation;

struct cpus_counts cpus_counts;

static uint64_t span(unsigned level)
{
	return PAGE_SIZE << (9 * level); /* of one table of that level */
}

static void remember_tables(struct cpu *c, const struct mmu_page *t, uint64_t at)
{
	for (unsigned level = 1; level < mmu_levels(world.format); level++) {
		uint64_t base = round_down(at, span(level));
		bool known = t->table[level] == 0;

		for (unsigned i = 0; !known && i < c->table_count; i++)
			known = c->tables[i].table == t->table[level] && c->tables[i].gpa == base;
		if (!known && c->table_count < TABLES_MAX)
			c->tables[c->table_count++] = (struct table){ base, t->table[level],
								      level };
	}
}

/* Where to begin a walk: the root, or at random a table that covers the address. */
static struct mmu walk_from(const struct cpu *c, uint64_t at)
{
	struct mmu m = world.mmu;

	for (unsigned i = 0; i < c->table_count && below(2); i++)
		if (at - c->tables[i].gpa < span(c->tables[i].level))
			m = (struct mmu){ world.format, c->tables[i].table, c->tables[i].level };
	return m;
}

static struct mmu_page *tlb_find(struct cpu *c, uint64_t at, unsigned access)
{
	for (unsigned i = 0; i < c->tlb_count; i++) {
		struct mmu_page *t = &c->tlb[i];

		if (at - t->gpa < t->size && (t->rights & access) != 0 &&
		    (access != MMU_WRITE || t->dirty))
			return t;
	}
	return NULL;
}

static void check_frame(const struct mmu_page *t, uint64_t at)
{
	struct frame *f = frame_at(hpa(t->hpa + (at - t->gpa)));

	if (f != NULL && frame_refs(frame_head(f)) == 0)
		fail("a CPU reaches a frame that has been given away, 0x%llx, through 0x%llx",
		     (unsigned long long)frame_hpa(f).hpa, (unsigned long long)at);
}

/* Notes a translation that came up while an operation is under way. Old is as good as new. */
static void note_seen(uint64_t page, const struct mmu_page *t)
{
	if (operation.on && seen.count < SEEN_MAX && !pages_allow(page, t)) {
		seen.at[seen.count].page = page;
		seen.at[seen.count++].t = *t;
	}
}

static void fill(struct cpu *c, uint64_t page, unsigned access)
{
	uint64_t at = page_gpa(page).gpa;
	struct mmu m = walk_from(c, at);
	struct mmu_page t;
	enum mmu_result result = mmu_walk(&m, at, access, &t);

	cpus_counts.walks++;
	remember_tables(c, &t, at);
	if (result == MMU_MALFORMED)
		fail("a CPU meets a malformed entry at page %llu", (unsigned long long)page);
	cpus_counts.faults += result == MMU_FAULT;
	if (result != MMU_DONE)
		return;
	if (access != 0 && pages[page].mapped && pages[page].hpa == t.hpa + (at - t.gpa))
		pages_mark(&t, PT_ACCESSED | (access == MMU_WRITE ? PT_DIRTY : 0));
	if (m.level == 0)
		note_seen(page, &t);
	check_frame(&t, at);
	if (c->tlb_count < TLB_MAX && access != 0)
		c->tlb[c->tlb_count++] = t;
}

static void cpu_access(struct cpu *c, uint64_t page)
{
	static const unsigned accesses[] = { MMU_READ, MMU_READ, MMU_WRITE, MMU_WRITE, MMU_EXEC };
	unsigned access = accesses[below(5)];
	uint64_t at = page_gpa(page).gpa;
	struct mmu_page *t = tlb_find(c, at, access);

	if (t != NULL) {
		cpus_counts.hits++;
		check_frame(t, at);
	} else {
		fill(c, page, operation.on && world.looks_only ? 0 : access);
	}
}

static uint64_t near(uint64_t page)
{
	return below(8) == 0 ? below(PAGES) : (page + below(24)) % PAGES;
}

static void check_tables(const struct cpu *c)
{
	for (unsigned i = 0; i < c->table_count; i++) {
		const struct table *held = &c->tables[i];
		struct mmu_page t;

		mmu_walk(&world.mmu, held->gpa, 0, &t);
		if (t.table[held->level] != held->table)
			fail("a CPU still uses the table 0x%llx for 0x%llx, level %u",
			     (unsigned long long)held->table, (unsigned long long)held->gpa,
			     held->level);
	}
}

static void check_entry(uint64_t page, const struct mmu_page *t)
{
	if (!pages_allow(page, t))
		fail("a CPU still reaches 0x%llx, rights %u%s, through page %llu (now 0x%llx 0x%x)",
		     (unsigned long long)t->hpa, t->rights, t->dirty ? " dirty" : "",
		     (unsigned long long)page, (unsigned long long)pages[page].hpa,
		     pages[page].attr);
	check_frame(t, page_gpa(page).gpa);
}

/* Each translation at its ends, and where it meets [first, end): there all of it, or a sample. */
static void check_tlb(struct cpu *c, uint64_t first, uint64_t end)
{
	for (unsigned i = 0; i < c->tlb_count; i++) {
		const struct mmu_page *t = &c->tlb[i];
		uint64_t a = gpa_page(t->gpa), b = gpa_page(t->gpa + t->size), step;

		check_entry(a, t);
		check_entry(b - 1, t);
		a = a > first ? a : first;
		b = b < end ? b : end;
		step = b > a + 600 ? (b - a) / 97 : 1;
		for (; a < b; a += step)
			check_entry(a, t);
	}
}

static void cpu_enter(unsigned cpu)
{
	struct cpu *c = &cpus[cpu];

	host_cpu = cpu;
	if (tlb_enter(&world.space.pt.tlb))
		c->tlb_count = c->table_count = 0;
	host_cpu = 0;
	c->inside = true;
	cpus_counts.entries++;
}

static void cpu_leave(unsigned cpu)
{
	host_cpu = cpu;
	tlb_leave(&world.space.pt.tlb);
	host_cpu = 0;
	cpus[cpu].inside = false;
}

/* It goes on for a moment before it leaves, and may be back at once. */
static void kick(unsigned cpu)
{
	cpus_counts.kicks++;
	if (!cpus[cpu].inside) {
		fail("CPU %u is kicked outside", cpu);
		return;
	}
	for (unsigned i = 0; i < 4; i++)
		cpu_access(&cpus[cpu], near(operation.first));
	cpu_leave(cpu);
	if (below(4) == 0) {
		cpu_enter(cpu);
		cpu_access(&cpus[cpu], near(operation.first));
	}
}

/* An entry is about to be written, or has just been: a CPU inside makes an access. */
static void on_store(const volatile void *entry, uint64_t raw)
{
	unsigned cpu = 1 + (unsigned)below(CPUS);
	uint64_t reach = operation.count + 8, page;

	(void)entry;
	(void)raw;
	if (!operation.on || !cpus[cpu].inside || below(8) != 0)
		return;
	cpus_counts.meanwhile++;
	page = operation.first + below(reach);
	cpu_access(&cpus[cpu], page < PAGES ? page : PAGES - 1);
}

static void frame_ends(struct frame *f)
{
	uint64_t first = frame_hpa(f).hpa, end = first + frame_size(f);

	for (unsigned cpu = 1; cpu <= CPUS; cpu++)
		for (unsigned i = 0; cpus[cpu].inside && i < cpus[cpu].tlb_count; i++)
			if (cpus[cpu].tlb[i].hpa < end &&
			    first < cpus[cpu].tlb[i].hpa + cpus[cpu].tlb[i].size)
				fail("frame 0x%llx is given away, a CPU reaches it",
				     (unsigned long long)first);
}

static void table_ends(struct frame *f)
{
	for (unsigned cpu = 1; cpu <= CPUS; cpu++)
		for (unsigned i = 0; cpus[cpu].inside && i < cpus[cpu].table_count; i++)
			if (cpus[cpu].tables[i].table == frame_hpa(f).hpa)
				fail("table 0x%llx is given away, a CPU walks it",
				     (unsigned long long)frame_hpa(f).hpa);
}

void cpus_reset(void)
{
	memset(cpus, 0, sizeof(cpus));
	operation.on = false;
	seen.count = 0;
	tlb_set_kick(kick);
	host_pt_store = on_store;
	frame_set_destructor(FRAME_GUEST, frame_ends);
	frame_set_destructor(FRAME_STAGE2_TABLE, table_ends);
	frame_set_destructor(FRAME_HOST_TABLE, table_ends);
}

void cpus_run(uint64_t page)
{
	for (unsigned cpu = 1; cpu <= CPUS; cpu++) {
		if (cpus[cpu].inside && below(16) == 0)
			cpu_leave(cpu);
		if (below(3) != 0)
			continue;
		if (!cpus[cpu].inside)
			cpu_enter(cpu);
		for (unsigned i = 0; i < 6; i++)
			cpu_access(&cpus[cpu], near(page));
	}
}

void cpus_leave(void)
{
	for (unsigned cpu = 1; cpu <= CPUS; cpu++)
		if (cpus[cpu].inside)
			cpu_leave(cpu);
	host_pt_store = NULL;
	tlb_set_kick(NULL);
	frame_set_destructor(FRAME_GUEST, NULL);
	frame_set_destructor(FRAME_STAGE2_TABLE, NULL);
	frame_set_destructor(FRAME_HOST_TABLE, NULL);
}

void cpus_begin(uint64_t first, uint64_t count)
{
	operation.first = first;
	operation.count = count;
	operation.on = true;
	seen.count = 0;
}

void cpus_saw_old_or_new(void)
{
	for (unsigned i = 0; i < seen.count; i++)
		if (!pages_allow(seen.at[i].page, &seen.at[i].t))
			fail("page %llu was neither old nor new for a moment: 0x%llx rights %u",
			     (unsigned long long)seen.at[i].page,
			     (unsigned long long)seen.at[i].t.hpa, seen.at[i].t.rights);
	seen.count = 0;
}

void cpus_end(void)
{
	operation.on = false;
	for (unsigned cpu = 1; cpu <= CPUS; cpu++) {
		if (!cpus[cpu].inside)
			continue;
		check_tlb(&cpus[cpu], operation.first, operation.first + operation.count);
		check_tables(&cpus[cpu]);
	}
}
