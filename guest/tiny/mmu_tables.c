/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Random tables. The first 4 MiB are always there, for the guest itself, supervisor's but for two
 * pages at their end: the stubs and a stack for CPL 3. Everything else belongs to the paths.
 *
 *   top: [0] ──▶ ours      [1 + ...] ──▶ path of slot 0      ...      ──▶ path of slot 15
 */
#include "guest/tiny/mmu.h"

#define PTE_PWU	   (PTE_P | PTE_W | PTE_U)
#define USER_PAGES 0x3fe000ul
#define LEVELS	   5

const struct paging pagings[PAGINGS] = {
	{ "32-bit", 0, 0, 2, 10, 4 },
	{ "32-bit-PSE", CR4_PSE, 0, 2, 10, 4 },
	{ "PAE", CR4_PAE, 0, 3, 9, 8 },
	{ "4-level", CR4_PAE, EFER_LME, 4, 9, 8 },
	{ "5-level", CR4_PAE | CR4_LA57, EFER_LME, 5, 9, 8 },
};

static const struct paging *paging;
static uint8_t top[4096] __attribute__((aligned(4096)));
static uint8_t ours[LEVELS][2 * 4096] __attribute__((aligned(4096)));
static uint8_t pool[SLOTS][LEVELS][4096] __attribute__((aligned(4096)));
static uint8_t user_stack[4096] __attribute__((aligned(4096)));
static unsigned phys_bits;

/* --- chance (splitmix64) ------------------------------------------------------------------ */

static uint64_t random_state;

void random_start(uint64_t seed)
{
	random_state = seed;
}

uint64_t random(void)
{
	uint64_t x = random_state += 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

/* --- our own ------------------------------------------------------------------------------ */

static void put(uint64_t at, unsigned size, uint64_t value)
{
	if (size == 4)
		*(volatile uint32_t *)qword(at) = (uint32_t)value;
	else
		*qword(at) = value;
}

uint64_t tables_root(void)
{
	return (uint64_t)top;
}

/* A table in which the first entry leads to the next one, down to the pages. */
static void map_ours(void)
{
	extern char stubs[];
	uint64_t low = (uint64_t)ours[1], size = paging->size;

	for (uint64_t at = 0; at < 0x400000; at += PAGE) {
		uint64_t value = at | PTE_P | PTE_W;

		if (at == USER_PAGES)
			value = (uint64_t)stubs | PTE_P | PTE_U;
		if (at == USER_PAGES + PAGE)
			value = (uint64_t)user_stack | PTE_PWU;
		put(low + at / PAGE * size, paging->size, value);
	}
	for (unsigned level = 2; level <= paging->top; level++) {
		uint64_t table = level == paging->top ? (uint64_t)top : (uint64_t)ours[level];
		bool pdpte = level == 3 && paging->top == 3;

		put(table, paging->size, (uint64_t)ours[level - 1] | (pdpte ? PTE_P : PTE_PWU));
		if (level == 2 && size == 8)
			put(table + 8, 8, ((uint64_t)ours[1] + PAGE) | PTE_PWU);
	}
}

void tables_begin(const struct paging *g)
{
	paging = g;
	phys_bits = cpuid(0x80000008, 0).eax & 0xff;
	for (unsigned i = 0; i < PAGE / 8; i++)
		*qword((uint64_t)top + 8 * i) = 0;
	for (unsigned i = 0; i < sizeof(ours) / 8; i++)
		*qword((uint64_t)ours + 8 * i) = 0;
	for (unsigned i = 0; i < sizeof(pool) / 8; i++)
		*qword((uint64_t)pool + 8 * i) = 0;
	map_ours();
}

/* --- entries ------------------------------------------------------------------------------ */

static unsigned shift_of(unsigned level)
{
	return 12 + paging->bits * (level - 1);
}

static bool is_pdpte(unsigned level)
{
	return paging->top == 3 && level == 3;
}

/* Reserved in a PDPTE. A is too, but is not held against it. */
static bool pdpte_low(unsigned bit)
{
	return bit == 1 || bit == 2 || (bit >= 6 && bit <= 8);
}

/* May this bit be changed without leading out of RAM? Which of them are reserved is the CPU's to
 * say. */
static bool harmless(unsigned bit, unsigned level, bool page)
{
	bool in_page = page && level > 1;

	if (bit == 3 || bit == 4 || (bit >= 9 && bit <= 11))
		return true;
	if (is_pdpte(level)) /* Intel takes no other: see mmu_pdptes; QEMU knows some of them */
		return cpu_is_amd() && (bit >= phys_bits || (!mmu_tcg && pdpte_low(bit)));
	if (bit == 8) /* reserved on AMD at the top, which no emulator knows */
		return level < 4 || !cpu_is_amd();
	if (paging->size == 4)
		return in_page && (bit == 12 || bit == 21 ||
				   (bit >= 13 && bit <= 20 && bit - 13 + 32 >= phys_bits));
	if (bit == 7)
		return level >= 4;
	return bit >= phys_bits || (in_page && bit >= 12 && bit < shift_of(level));
}

static uint64_t odd_bit(unsigned level, bool page)
{
	for (;;) {
		unsigned bit = random() % (8 * paging->size);

		if (harmless(bit, level, page))
			return 1ul << bit;
	}
}

static uint64_t rights(unsigned level, bool page)
{
	uint64_t bits = PTE_PWU | (random() & (PTE_A | PTE_D));

	if (once(24))
		bits &= ~PTE_P;
	if (is_pdpte(level))
		return bits & PTE_P;
	if (once(5))
		bits &= ~PTE_W;
	if (once(4))
		bits &= ~PTE_U;
	if (paging->size == 8 && once(10))
		bits |= PTE_NX;
	if (page && paging->efer != 0 && once(2))
		bits |= (random() & 15) << 59;
	return bits;
}

static uint64_t frame(unsigned level)
{
	uint64_t size = 1ul << shift_of(level);

	return size > DATA ? 0 : DATA + random() % (DATA_BYTES / size) * size;
}

static bool wants_page(unsigned level)
{
	if (level == 1)
		return true;
	if (is_pdpte(level) || level > 3)
		return false;
	return once(level == 2 ? 4 : 8);
}

/* Is PS at this level a page, or does the walk go on? */
static bool ps_is_page(unsigned level)
{
	if (paging->size == 4)
		return (paging->cr4 & CR4_PSE) != 0;
	return level == 2 || (cpuid(0x80000001, 0).edx >> 26 & 1) != 0;
}

static void add(struct path *p, uint64_t at, unsigned level, uint64_t value)
{
	p->entry[p->n].at = at;
	p->entry[p->n].value = value;
	p->entry[p->n].size = paging->size;
	p->entry[p->n++].level = level;
	put(at, paging->size, value);
}

/* --- paths -------------------------------------------------------------------------------- */

static uint64_t index_of(unsigned level, unsigned slot)
{
	if (level == 1)
		return random() % ((1u << paging->bits) - 1);
	if (paging->size == 4)
		return 256 + slot;
	if (paging->top == 3)
		return level == 3 ? 1 + slot % 3 : slot;
	if (level == paging->top)
		return 1 + slot * 31 + random() % 31;
	/* In a page of 1 GiB that lies at 0 the address is among our data. */
	return level == 2 ? DATA / 0x200000 + random() % (DATA_BYTES / 0x200000) : random() % 512;
}

static uint8_t *table_of(unsigned level, unsigned slot)
{
	return pool[paging->top == 3 && level == 2 ? slot % 3 : slot][level - 1];
}

static void extend_sign(struct path *p)
{
	unsigned unused = 64 - shift_of(paging->top + 1);

	if (paging->efer != 0)
		p->va = (uint64_t)((int64_t)(p->va << unused) >> unused);
	if (paging->efer != 0 && once(40))
		p->va ^= 1ul << 60;
}

/* The fourth PAE path in a row finds the entry that the first has made. */
static bool take_over(struct path *p, unsigned slot, uint64_t at, unsigned level)
{
	if (!is_pdpte(level) || slot < 3)
		return false;
	add(p, at, level, *qword(at));
	return true;
}

void path_make(struct path *p, unsigned slot)
{
	uint64_t table = (uint64_t)top;
	bool page = false;

	*p = (struct path){ .va = random() & (PAGE - 1) };
	for (unsigned level = paging->top; level >= 1; level--) {
		uint64_t index = index_of(level, slot), value;
		uint64_t at = table + index * paging->size;

		p->va |= index << shift_of(level);
		if (page)
			continue;
		if (take_over(p, slot, at, level)) {
			table = (uint64_t)table_of(level - 1, slot);
			continue;
		}
		page = wants_page(level);
		value = rights(level, page) | (page && level > 1 ? PTE_LARGE : 0);
		if (page && level > 1 && !ps_is_page(level))
			page = false;
		table = page ? frame(level) : (uint64_t)table_of(level - 1, slot);
		value |= table;
		if (once(12))
			value ^= odd_bit(level, page);
		add(p, at, level, value);
		p->shift = shift_of(level);
	}
	p->gpa = table | (p->va & ((1ul << p->shift) - 1));
	/* What is behind the end of the page. */
	if (p->shift == 12)
		add(p, p->entry[p->n - 1].at + paging->size, 1, rights(1, true) | frame(1));
	extend_sign(p);
}

void path_restore(const struct path *p)
{
	for (unsigned i = 0; i < p->n; i++)
		put(p->entry[i].at, p->entry[i].size, p->entry[i].value);
}

uint64_t path_entry_now(const struct path *p, unsigned i)
{
	uint64_t at = p->entry[i].at;

	return p->entry[i].size == 4 ? *(volatile uint32_t *)qword(at) : *qword(at);
}

void path_say(const struct path *p)
{
	for (unsigned i = 0; i < p->n; i++)
		say("mmu:   level %u at 0x%lx: 0x%lx, now 0x%lx\n", p->entry[i].level,
		    p->entry[i].at, p->entry[i].value, path_entry_now(p, i));
}
