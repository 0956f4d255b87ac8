/* SPDX-License-Identifier: MPL-2.0 */
/* The memory map against a model that looks at every page by itself. */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "mm/memmap.h"
#include "tests/host/arena.h"

#define LIMIT (UINT64_C(1) << 40)
#define K     UINT64_C(1024)
#define PAGES 96

static struct memmap map;

static void region(uint64_t start, uint64_t end, enum mem_kind kind)
{
	CU_ASSERT_EQUAL_FATAL(memmap_add(&map, start, end, kind), 0);
}

static void is(unsigned i, uint64_t start, uint64_t end, enum mem_kind kind)
{
	CU_ASSERT_FATAL(i < map.count);
	CU_ASSERT_EQUAL(map.region[i].start, start);
	CU_ASSERT_EQUAL(map.region[i].end, end);
	CU_ASSERT_EQUAL(map.region[i].kind, kind);
}

static void normalize(unsigned count)
{
	CU_ASSERT_EQUAL_FATAL(memmap_normalize(&map, LIMIT), 0);
	CU_ASSERT_EQUAL(map.count, count);
}

static void begin(void)
{
	memset(&map, 0, sizeof(map));
}

/* Sorted, disjoint, aligned, neighbours of one kind joined. */
static void normal_form(void)
{
	for (unsigned i = 0; i < map.count; i++) {
		const struct mem_region *r = &map.region[i];

		CU_ASSERT(r->start < r->end);
		CU_ASSERT_EQUAL(r->start % PAGE_SIZE, 0);
		CU_ASSERT_EQUAL(r->end % PAGE_SIZE, 0);
		CU_ASSERT_NOT_EQUAL(r->kind, MEM_NONE);
		if (i != 0) {
			CU_ASSERT(r[-1].end <= r->start);
			CU_ASSERT(r[-1].end != r->start || r[-1].kind != r->kind);
		}
	}
}

/* --- scenarios ------------------------------------------------------------------------------ */

static void nothing(void)
{
	begin();
	normalize(0);
	CU_ASSERT_EQUAL(memmap_ram_end(&map), 0);
	CU_ASSERT_EQUAL(memmap_bytes(&map, MEM_RAM), 0);
	/* Empty and inverted regions say nothing. */
	region(0x5000, 0x5000, MEM_RAM);
	region(0x6000, 0x5000, MEM_RAM);
	normalize(0);
}

static void a_real_one(void)
{
	begin();
	region(0xfffc0000, UINT64_C(1) << 32, MEM_RESERVED);
	region(0x100000, 0x1ffe0000, MEM_RAM);
	region(0, 0x9fc00, MEM_RAM);
	region(0x9fc00, 0xa0000, MEM_RESERVED);
	region(0xf0000, 0x100000, MEM_RESERVED);
	region(0x1ffe0000, 0x20000000, MEM_RECLAIMABLE);
	region(0x200000, 0x2f1234, MEM_TAKEN);
	normalize(8);
	is(0, 0, 0x9f000, MEM_RAM);
	is(1, 0x9f000, 0xa0000, MEM_RESERVED);
	is(2, 0xf0000, 0x100000, MEM_RESERVED);
	is(3, 0x100000, 0x200000, MEM_RAM);
	is(4, 0x200000, 0x2f2000, MEM_TAKEN);
	is(5, 0x2f2000, 0x1ffe0000, MEM_RAM);
	is(6, 0x1ffe0000, 0x20000000, MEM_RECLAIMABLE);
	is(7, 0xfffc0000, UINT64_C(1) << 32, MEM_RESERVED);
	CU_ASSERT_EQUAL(memmap_ram_end(&map), 0x20000000);
	CU_ASSERT_EQUAL(memmap_bytes(&map, MEM_TAKEN), 0xf2000);
}

static void the_less_usable_kind_wins(void)
{
	for (enum mem_kind a = MEM_RAM; a <= MEM_BAD; a++) {
		for (enum mem_kind b = a; b <= MEM_BAD; b++) {
			begin();
			region(0x1000, 0x4000, a);
			region(0x2000, 0x3000, b);
			normalize(a == b ? 1 : 3);
			is(a == b ? 0 : 1, a == b ? 0x1000 : 0x2000, a == b ? 0x4000 : 0x3000, b);
			begin();
			region(0x2000, 0x3000, a);
			region(0x1000, 0x4000, b);
			normalize(1);
			is(0, 0x1000, 0x4000, b);
		}
	}
}

static void alignment(void)
{
	begin();
	region(0x1001, 0x3fff, MEM_RAM);      /* shrinks to one page */
	region(0x8fff, 0x9001, MEM_RESERVED); /* two bytes, two pages */
	region(0xa001, 0xafff, MEM_RAM);      /* not one page */
	region(0xc800, 0xd800, MEM_RAM);      /* a page long, but not a page */
	normalize(2);
	is(0, 0x2000, 0x3000, MEM_RAM);
	is(1, 0x8000, 0xa000, MEM_RESERVED);
	/* A page of which something else has a byte is not RAM. */
	begin();
	region(0, 16 * K, MEM_RAM);
	region(8 * K + 7, 8 * K + 8, MEM_NVS);
	normalize(3);
	is(1, 8 * K, 12 * K, MEM_NVS);
}

static void neighbours_are_joined(void)
{
	begin();
	region(0x3000, 0x4000, MEM_RAM);
	region(0x1000, 0x2000, MEM_RAM);
	region(0x2000, 0x3000, MEM_RAM);
	region(0x2000, 0x5000, MEM_RAM);
	normalize(1);
	is(0, 0x1000, 0x5000, MEM_RAM);
}

static void beyond_the_limit(void)
{
	begin();
	region(LIMIT - 0x2000, LIMIT + 0x5000, MEM_RAM);
	region(LIMIT, LIMIT + 0x1000, MEM_RAM);
	region(LIMIT - 1, UINT64_MAX, MEM_RESERVED);
	region(UINT64_MAX - 10, UINT64_MAX, MEM_BAD);
	region(0, UINT64_MAX, MEM_RAM);
	normalize(2);
	is(0, 0, LIMIT - 0x1000, MEM_RAM);
	is(1, LIMIT - 0x1000, LIMIT, MEM_RESERVED);
	/* By one byte. */
	begin();
	region(LIMIT - 0x1000, LIMIT + 1, MEM_RESERVED);
	normalize(1);
	is(0, LIMIT - 0x1000, LIMIT, MEM_RESERVED);
}

static void full(void)
{
	begin();
	for (unsigned i = 0; i < MEMMAP_MAX; i++)
		region((uint64_t)i * 0x2000, (uint64_t)i * 0x2000 + 0x1000, MEM_RAM);
	CU_ASSERT_EQUAL(memmap_add(&map, 0, 0x1000, MEM_RAM), -E2BIG);
	CU_ASSERT_EQUAL(map.count, MEMMAP_MAX);
	CU_ASSERT_EQUAL(memmap_add(&map, 5, 5, MEM_RAM), 0);
	normalize(MEMMAP_MAX);
	/* Overlaps that fall into more pieces than there is room for. */
	begin();
	for (unsigned i = 0; i < MEMMAP_MAX - 1; i++)
		region((uint64_t)i * 0x2000, (uint64_t)i * 0x2000 + 0x1000, MEM_RESERVED);
	region(0, (uint64_t)MEMMAP_MAX * 0x2000, MEM_RAM);
	CU_ASSERT_EQUAL(memmap_normalize(&map, LIMIT), -E2BIG);
}

static void ram_kinds(void)
{
	static const bool ram[] = { false, true, true, true, true, false, false };

	for (enum mem_kind k = MEM_NONE; k <= MEM_BAD; k++) {
		CU_ASSERT_EQUAL(mem_kind_is_ram(k), ram[k]);
		begin();
		region(0x1000, 0x2000, MEM_RAM);
		region(0x5000, 0x7000, k);
		CU_ASSERT_EQUAL_FATAL(memmap_normalize(&map, LIMIT), 0);
		CU_ASSERT_EQUAL(memmap_ram_end(&map), ram[k] ? 0x7000 : 0x2000);
		if (k != MEM_RAM && k != MEM_NONE)
			CU_ASSERT_EQUAL(memmap_bytes(&map, k), 0x2000);
	}
}

/* --- taking --------------------------------------------------------------------------------- */

static void take(uint64_t from, uint64_t to, uint64_t bytes, uint64_t align, uint64_t want)
{
	uint64_t at = 1;

	CU_ASSERT_EQUAL(memmap_take(&map, from, to, bytes, align, &at), 0);
	CU_ASSERT_EQUAL(at, want);
	normal_form();
}

static void take_fails(uint64_t from, uint64_t to, uint64_t bytes, uint64_t align)
{
	struct memmap before = map;
	uint64_t at;

	CU_ASSERT_EQUAL(memmap_take(&map, from, to, bytes, align, &at), -ENOMEM);
	CU_ASSERT_EQUAL(map.count, before.count);
	CU_ASSERT_EQUAL(memcmp(map.region, before.region, map.count * sizeof(before.region[0])), 0);
}

static void taking(void)
{
	begin();
	region(0, 0x9fc00, MEM_RAM);
	region(0x100000, 0x1100000, MEM_RAM);
	normalize(2);
	take(0x1000, 0xa0000, 0x1000, 0x1000, 0x1000);
	take(0x1000, 0xa0000, 0x1000, 0x1000, 0x2000);
	normalize(4);
	is(1, 0x1000, 0x3000, MEM_TAKEN);
	take(0x200000, UINT64_MAX, 0x200000, 0x200000, 0x200000);
	take(0x200000, UINT64_MAX, 0x200000, 0x200000, 0x400000);
	take(0, UINT64_MAX, 0x300000, 0x200000, 0x600000);
	/* A piece to its very last byte, and one byte less than it needs. */
	take_fails(0x9e000, 0x9efff, 0x1000, 0x1000);
	take(0x9e000, 0x9f000, 0x1000, 0x1000, 0x9e000);
	take_fails(0x9e000, 0xa0000, 0x1000, 0x1000);
	take_fails(0, UINT64_MAX, 0x801000, 0x1000);
	take_fails(0x1100000, UINT64_MAX, 0x1000, 0x1000);
	take_fails(UINT64_MAX - 5, UINT64_MAX, 0x1000, 0x1000);
	take(0, UINT64_MAX, 0x800000, 0x1000, 0x900000);
}

static void take_from_a_full_map(void)
{
	begin();
	region(0, 0x10000, MEM_RAM);
	for (unsigned i = 0; i < MEMMAP_MAX - 2; i++)
		region(0x20000 + (uint64_t)i * 0x2000, 0x21000 + (uint64_t)i * 0x2000,
		       MEM_RESERVED);
	normalize(MEMMAP_MAX - 1);
	take_fails(0x4000, UINT64_MAX, 0x1000, 0x1000);
	map.count--;
	take(0x4000, UINT64_MAX, 0x1000, 0x1000, 0x4000);
	CU_ASSERT_EQUAL(map.count, MEMMAP_MAX);
}

static void take_nothing(void *context)
{
	uint64_t at;

	(void)context;
	memmap_take(&map, 0, UINT64_MAX, 0, PAGE_SIZE, &at);
}

static void take_an_odd_length(void *context)
{
	uint64_t at;

	(void)context;
	memmap_take(&map, 0, UINT64_MAX, PAGE_SIZE + 1, PAGE_SIZE, &at);
}

static void taking_has_preconditions(void)
{
	begin();
	region(0, 0x10000, MEM_RAM);
	normalize(1);
	CU_ASSERT_TRUE(panics(take_nothing, NULL, "precondition"));
	CU_ASSERT_TRUE(panics(take_an_odd_length, NULL, "precondition"));
}

/* --- the model ------------------------------------------------------------------------------ */

static enum mem_kind model[PAGES];

/* The definition, page by page: RAM only where a region has all of it, anything else by one byte.
 */
static void model_build(const struct memmap *m, uint64_t base)
{
	for (unsigned p = 0; p < PAGES; p++) {
		uint64_t start = base + p * PAGE_SIZE, end = start + PAGE_SIZE;

		model[p] = MEM_NONE;
		for (unsigned i = 0; i < m->count; i++) {
			const struct mem_region *r = &m->region[i];
			bool whole = r->start <= start && end <= r->end;
			bool some = r->start < end && start < r->end;

			if ((r->kind == MEM_RAM ? whole : some) && r->kind > model[p])
				model[p] = r->kind;
		}
	}
}

static bool model_agrees(uint64_t base)
{
	enum mem_kind seen[PAGES] = { MEM_NONE };
	unsigned pages = 0;

	for (unsigned i = 0; i < map.count; i++) {
		const struct mem_region *r = &map.region[i];

		for (uint64_t at = r->start; at < r->end; at += PAGE_SIZE, pages++) {
			if (at < base || at >= base + PAGES * PAGE_SIZE)
				return false;
			seen[(at - base) / PAGE_SIZE] = r->kind;
		}
	}
	return memcmp(seen, model, sizeof(seen)) == 0;
}

static void model_sums_agree(uint64_t base)
{
	uint64_t sums[MEM_BAD + 1] = { 0 }, ram_end = 0;

	for (unsigned p = 0; p < PAGES; p++) {
		sums[model[p]] += PAGE_SIZE;
		if (mem_kind_is_ram(model[p]))
			ram_end = base + (p + 1) * PAGE_SIZE;
	}
	for (enum mem_kind k = MEM_RAM; k <= MEM_BAD; k++)
		CU_ASSERT_EQUAL(memmap_bytes(&map, k), sums[k]);
	CU_ASSERT_EQUAL(memmap_ram_end(&map), ram_end);
}

/* The lowest place that memmap_take may choose; UINT64_MAX: none. */
static uint64_t model_place(uint64_t base, uint64_t from, uint64_t to, uint64_t bytes,
			    uint64_t align)
{
	for (uint64_t at = base; at + bytes <= base + PAGES * PAGE_SIZE; at += PAGE_SIZE) {
		bool free = at >= from && at + bytes <= to && at % align == 0;

		for (uint64_t p = at; p < at + bytes && free; p += PAGE_SIZE)
			free = model[(p - base) / PAGE_SIZE] == MEM_RAM;
		if (free)
			return at;
	}
	return UINT64_MAX;
}

static void model_take(uint64_t base)
{
	uint64_t from = base + (uint64_t)rand() % (PAGES * PAGE_SIZE);
	uint64_t to = from + (uint64_t)rand() % (PAGES * PAGE_SIZE);
	uint64_t bytes = PAGE_SIZE * (1 + (uint64_t)rand() % 6), align = PAGE_SIZE << rand() % 4;
	uint64_t want = model_place(base, from, to, bytes, align), at = UINT64_MAX;
	int err = memmap_take(&map, from, to, bytes, align, &at);

	CU_ASSERT_EQUAL(err, want != UINT64_MAX ? 0 : -ENOMEM);
	if (err == 0) {
		CU_ASSERT_EQUAL(at, want);
		for (uint64_t p = at; p < at + bytes; p += PAGE_SIZE)
			model[(p - base) / PAGE_SIZE] = MEM_TAKEN;
	}
	normal_form();
	CU_ASSERT_TRUE(model_agrees(base));
}

/* Ends often meet: on page boundaries, one byte beside them, anywhere. */
static uint64_t some_address(uint64_t base)
{
	uint64_t at = base + (uint64_t)(rand() % PAGES) * PAGE_SIZE;

	switch (rand() % 4) {
	case 0:
		return at + (uint64_t)rand() % PAGE_SIZE;
	case 1:
		return at != base ? at - 1 : at;
	case 2:
		return at + 1;
	default:
		return at;
	}
}

static void random_maps(void)
{
	static const uint64_t bases[] = { 0, UINT64_C(0xfffd0000), LIMIT - PAGES * PAGE_SIZE };
	unsigned seed = 42;

	printf("[seed %u] ", seed);
	srand(seed);
	for (unsigned round = 0; round < 6000; round++) {
		uint64_t base = bases[round % 3];

		begin();
		for (int n = rand() % 24; n > 0; n--) {
			uint64_t a = some_address(base), b = some_address(base);

			region(a < b ? a : b, a < b ? b : a,
			       rand() % 2 ? MEM_RAM : (enum mem_kind)(MEM_RAM + rand() % 6));
		}
		model_build(&map, base);
		CU_ASSERT_EQUAL_FATAL(memmap_normalize(&map, LIMIT), 0);
		normal_form();
		CU_ASSERT_TRUE(model_agrees(base));
		model_sums_agree(base);
		for (unsigned i = 0; i < 4; i++)
			model_take(base);
	}
}

void suite_memmap(void);

void suite_memmap(void)
{
	CU_pSuite s = CU_add_suite("memmap", NULL, NULL);

	CU_ADD_TEST(s, nothing);
	CU_ADD_TEST(s, a_real_one);
	CU_ADD_TEST(s, the_less_usable_kind_wins);
	CU_ADD_TEST(s, alignment);
	CU_ADD_TEST(s, neighbours_are_joined);
	CU_ADD_TEST(s, beyond_the_limit);
	CU_ADD_TEST(s, full);
	CU_ADD_TEST(s, ram_kinds);
	CU_ADD_TEST(s, taking);
	CU_ADD_TEST(s, take_from_a_full_map);
	CU_ADD_TEST(s, taking_has_preconditions);
	CU_ADD_TEST(s, random_maps);
}
