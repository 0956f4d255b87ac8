/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Fills, checks and re-checks all of its RAM but its first page and itself.
 *
 *   fresh RAM      reads as zero
 *   each pattern   in one order: the pattern before is still there? write this one
 *                  in another order: is it there?
 *   straddle       stores over the ends of pages
 *
 * cmdline: limit=4M tests only what is below, from=1M only what is above.
 */
#include "guest/tiny/tiny.h"

#define WORDS	   (PAGE / 8)
#define TELL_MAX   8
#define GIB	   (1ul << 30)
#define GIB_BY_PD  4 /* that start.S has mapped */
#define GIB_MAX	   512
#define ODD_RANDOM 0x9e3779b97f4a7c15ul

/* Word i of a page is word i - 1 rotated by `rotate`, plus `add`; the first comes from `seed`. */
struct pattern {
	const char *name;
	uint64_t (*seed)(uint64_t page);
	uint64_t add;
	unsigned rotate;
	int write_order, check_order;
};

/* Orders: up, down, or every so many pages, around. */
enum { UP = 1, DOWN = -1, BY_7 = 7, BY_127 = 127, BY_509 = 509 };

static uint64_t pages_low, pages_total, high_page; /* usable: [1, 1 + low), [high_page, ...) */
static uint64_t errors;

static uint64_t seed_zero(uint64_t page)
{
	(void)page;
	return 0;
}

static uint64_t seed_address(uint64_t page)
{
	return page;
}

static uint64_t seed_inverse(uint64_t page)
{
	return ~page;
}

static uint64_t seed_board(uint64_t page)
{
	return page & PAGE ? 0x5555555555555555 : 0xaaaaaaaaaaaaaaaa;
}

static uint64_t seed_one(uint64_t page)
{
	return 1ul << (page / PAGE % 64);
}

static uint64_t seed_hole(uint64_t page)
{
	return ~seed_one(page);
}

static uint64_t seed_random(uint64_t page)
{
	return (page + 1) * ODD_RANDOM;
}

static const struct pattern patterns[] = {
	{ "zero", seed_zero, 0, 0, UP, UP }, /* not written: what fresh RAM is */
	{ "address", seed_address, 8, 0, UP, DOWN },
	{ "inverse", seed_inverse, -8ul, 0, DOWN, UP },
	{ "board", seed_board, 0, 1, BY_7, UP },
	{ "walking-one", seed_one, 0, 1, BY_127, BY_7 },
	{ "walking-zero", seed_hole, 0, 1, DOWN, BY_509 },
	{ "random", seed_random, ODD_RANDOM, 13, BY_509, BY_127 },
};

#define PATTERNS (sizeof(patterns) / sizeof(patterns[0]))

static uint64_t next_word(const struct pattern *p, uint64_t v)
{
	return (p->rotate ? v << p->rotate | v >> (64 - p->rotate) : v) + p->add;
}

static void wrong(const char *what, uint64_t at, uint64_t is, uint64_t expected)
{
	if (errors++ < TELL_MAX)
		say("memtest: %s: 0x%lx has 0x%lx, expected 0x%lx\n", what, at, is, expected);
}

static void write_page(const struct pattern *p, uint64_t page)
{
	volatile uint64_t *at = qword(page);
	uint64_t v = p->seed(page);

	for (unsigned i = 0; i < WORDS; i++, v = next_word(p, v))
		at[i] = v;
}

static void check_page(const struct pattern *p, uint64_t page)
{
	volatile uint64_t *at = qword(page);
	uint64_t v = p->seed(page);

	for (unsigned i = 0; i < WORDS; i++, v = next_word(p, v)) {
		uint64_t is = at[i];

		if (is != v)
			wrong(p->name, page + 8 * i, is, v);
	}
}

/* The n-th usable page. */
static uint64_t usable(uint64_t n)
{
	return PAGE * (n < pages_low ? 1 + n : high_page + n - pages_low);
}

/* The distance between pages that are visited one after the other, modulo their number. A prime
 * that divides it would not visit all of them: then the next page is. */
static uint64_t order_step(int order)
{
	if (order < 0)
		return pages_total - 1;
	return (uint64_t)order >= pages_total || pages_total % (uint64_t)order == 0
		       ? 1
		       : (uint64_t)order;
}

/* Visits every page once: checks `old` there, then writes `new`; either may be NULL. */
static void visit(int order, const struct pattern *old, const struct pattern *new)
{
	uint64_t step = order_step(order), n = order < 0 ? pages_total - 1 : 0;

	for (uint64_t i = 0; i < pages_total; i++) {
		if (old != NULL)
			check_page(old, usable(n));
		if (new != NULL)
			write_page(new, usable(n));
		n += step;
		if (n >= pages_total)
			n -= pages_total;
	}
}

static void visit_ends(void)
{
	for (uint64_t n = 0; n + 1 < pages_total; n++) {
		uint64_t at = usable(n) + PAGE - 4;

		if (usable(n + 1) == usable(n) + PAGE)
			*qword(at) = at * ODD_RANDOM;
	}
	for (uint64_t n = 0; n + 1 < pages_total; n++) {
		uint64_t at = usable(n) + PAGE - 4, v = at * ODD_RANDOM;

		if (usable(n + 1) != usable(n) + PAGE)
			continue;
		if (*qword(at) != v)
			wrong("straddle", at, *qword(at), v);
		/* The same bytes again, one page at a time. */
		if ((*qword(at - 4) >> 32 | *qword(at + 4) << 32) != v)
			wrong("straddle", at, *qword(at - 4) >> 32 | *qword(at + 4) << 32, v);
	}
}

/* Maps what lies above the tables of start.S; the directories are taken from the RAM after us. */
static uint64_t map_all(uint64_t mem, uint64_t free_page)
{
	for (uint64_t g = GIB_BY_PD; g < GIB_MAX && g * GIB < mem; g++, free_page++) {
		volatile uint64_t *dir = qword(free_page * PAGE);

		for (unsigned i = 0; i < 512; i++)
			dir[i] = (g * GIB + i * (2ul << 20)) | PTE_P | PTE_W | PTE_LARGE;
		pdpt[g] = free_page * PAGE | PTE_P | PTE_W;
	}
	return free_page;
}

int main(void)
{
	uint64_t mem = mem_bytes(), limit = option_number("limit", mem);
	uint64_t from = option_number("from", 0);

	if (limit > mem)
		limit = mem;
	if (limit > GIB_MAX * GIB)
		limit = GIB_MAX * GIB;
	high_page = map_all(limit, (uint64_t)image_end / PAGE);
	if (from == 0)
		pages_low = (uint64_t)image_start / PAGE - 1;
	if (from / PAGE > high_page)
		high_page = from / PAGE;
	pages_total = pages_low;
	if (limit / PAGE > high_page)
		pages_total += limit / PAGE - high_page;
	say("memtest: %lu KiB, %lu pages to test\n", mem >> 10, pages_total);
	visit(UP, &patterns[0], NULL);
	say("memtest: fresh memory: errors %lu\n", errors);
	for (unsigned i = 1; i < PATTERNS; i++) {
		visit(patterns[i].write_order, &patterns[i - 1], &patterns[i]);
		visit(patterns[i].check_order, &patterns[i], NULL);
		say("memtest: %s: errors %lu\n", patterns[i].name, errors);
	}
	visit_ends();
	say("memtest: straddle: errors %lu\n", errors);
	say("memtest: %s %u pages %lu errors %lu\n", errors == 0 ? "pass" : "FAIL",
	    (unsigned)PATTERNS + 1, pages_total, errors);
	return errors != 0;
}
