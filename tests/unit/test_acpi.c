/* SPDX-License-Identifier: MPL-2.0 */
/* Finding the CPUs in tables that firmware wrote: good ones, broken ones, noise. */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "boot/acpi.h"

/* A little physical memory, seen through copies of just what was asked for. */
#define MEMORY 4096
#define XSDT   0x100
#define RSDT   0x200
#define FADT   0x300
#define MADT   0x400
#define VIEWS  256

static uint8_t memory[MEMORY], rsdp[36];
static void *views[VIEWS];
static unsigned view_count;
static uint32_t ids[64];

static const void *view(hpa_t at, uint64_t len)
{
	if (at.hpa == 0 || at.hpa > MEMORY || len > MEMORY - at.hpa || view_count == VIEWS)
		return NULL;
	/* Reading beyond what was asked for is seen by the sanitizer. */
	views[view_count] = malloc(len != 0 ? len : 1);
	memcpy(views[view_count], memory + at.hpa, len);
	return views[view_count++];
}

static int cpus_of(unsigned rsdp_len, unsigned max)
{
	uint8_t *root = malloc(rsdp_len != 0 ? rsdp_len : 1);
	int n;

	memcpy(root, rsdp, rsdp_len);
	n = acpi_cpus(root, rsdp_len, view, ids, max);
	free(root);
	while (view_count != 0)
		free(views[--view_count]);
	return n;
}

static int cpus(void)
{
	return cpus_of(36, 64);
}

/* --- building ------------------------------------------------------------------------------- */

static void put(uint8_t *at, uint64_t v, unsigned size)
{
	memcpy(at, &v, size);
}

static void fix_sum(uint8_t *at, uint32_t len, unsigned where)
{
	uint8_t sum = 0;

	at[where] = 0;
	for (uint32_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + at[i]);
	at[where] = (uint8_t)-sum;
}

static void table(uint32_t at, const char *signature, uint32_t len)
{
	memcpy(memory + at, signature, 4);
	put(memory + at + 4, len, 4);
	fix_sum(memory + at, len, 9);
}

static void rsdp_fix(void)
{
	fix_sum(rsdp, 20, 8);
	fix_sum(rsdp, 36, 32);
}

static uint32_t madt_len;

static void madt_begin(void)
{
	memset(memory + MADT, 0, MEMORY - MADT);
	madt_len = 44;
}

static void local_apic(uint8_t id, uint32_t flags)
{
	uint8_t *e = memory + MADT + madt_len;

	e[0] = 0;
	e[1] = 8;
	e[3] = id;
	put(e + 4, flags, 4);
	madt_len += 8;
}

static void x2apic(uint32_t id, uint32_t flags)
{
	uint8_t *e = memory + MADT + madt_len;

	e[0] = 9;
	e[1] = 16;
	put(e + 4, id, 4);
	put(e + 8, flags, 4);
	madt_len += 16;
}

static void other(uint8_t type, uint8_t len)
{
	memory[MADT + madt_len] = type;
	memory[MADT + madt_len + 1] = len;
	madt_len += len;
}

static void madt_end(void)
{
	table(MADT, "APIC", madt_len);
}

/* Version 2, both root tables, some other table first, four CPUs of which one is not enabled. */
static void build(void)
{
	memset(memory, 0, sizeof(memory));
	memset(rsdp, 0, sizeof(rsdp));
	madt_begin();
	local_apic(0, 1);
	other(1, 12); /* I/O APIC */
	local_apic(2, 1);
	local_apic(3, 0);
	other(2, 10);
	x2apic(0x123, 1);
	madt_end();
	table(FADT, "FACP", 100);
	put(memory + XSDT + 36, FADT, 8);
	put(memory + XSDT + 44, MADT, 8);
	table(XSDT, "XSDT", 52);
	put(memory + RSDT + 36, FADT, 4);
	put(memory + RSDT + 40, MADT, 4);
	table(RSDT, "RSDT", 44);
	memcpy(rsdp, "RSD PTR ", 8);
	rsdp[15] = 2;
	put(rsdp + 16, RSDT, 4);
	put(rsdp + 20, 36, 4);
	put(rsdp + 24, XSDT, 8);
	rsdp_fix();
}

/* --- good ----------------------------------------------------------------------------------- */

static void found(int n)
{
	CU_ASSERT_EQUAL_FATAL(n, 3);
	CU_ASSERT_EQUAL(ids[0], 0);
	CU_ASSERT_EQUAL(ids[1], 2);
	CU_ASSERT_EQUAL(ids[2], 0x123);
}

static void both_versions(void)
{
	build();
	found(cpus());
	/* The XSDT is what counts: the RSDT may even be missing. */
	put(rsdp + 16, 0, 4);
	rsdp_fix();
	found(cpus());
	build();
	rsdp[15] = 0;
	put(rsdp + 24, 0xdead0000, 8);
	rsdp_fix();
	found(cpus());
	found(cpus_of(20, 64));
}

static void falls_back_to_the_rsdt(void)
{
	build();
	memory[XSDT + 20]++; /* its sum is wrong now */
	found(cpus());
	build();
	put(rsdp + 24, UINT64_MAX - 16, 8);
	rsdp_fix();
	found(cpus());
	/* The sum of the second version's fields is wrong: only the first version's are believed.
	 */
	build();
	rsdp[32]++;
	found(cpus());
	put(rsdp + 16, 0, 4);
	fix_sum(rsdp, 20, 8);
	CU_ASSERT_EQUAL(cpus(), -ENOENT);
	build();
	put(memory + XSDT + 44, FADT, 8);
	table(XSDT, "XSDT", 52);
	found(cpus());
}

static void at_most_max(void)
{
	build();
	CU_ASSERT_EQUAL(cpus_of(36, 2), 2);
	CU_ASSERT_EQUAL(ids[1], 2);
	CU_ASSERT_EQUAL(cpus_of(36, 1), 1);
}

static void a_cpu_in_both_forms_is_one(void)
{
	build();
	madt_begin();
	local_apic(0, 1);
	local_apic(1, 1);
	x2apic(0, 1);
	x2apic(1, 1);
	x2apic(300, 1);
	madt_end();
	CU_ASSERT_EQUAL_FATAL(cpus(), 3);
	CU_ASSERT_EQUAL(ids[1], 1);
	CU_ASSERT_EQUAL(ids[2], 300);
}

static void broadcast_ids_are_no_cpus(void)
{
	build();
	madt_begin();
	local_apic(0xff, 1);
	x2apic(0xffffffff, 1);
	x2apic(0xff, 1);
	madt_end();
	CU_ASSERT_EQUAL_FATAL(cpus(), 1);
	CU_ASSERT_EQUAL(ids[0], 0xff);
}

/* --- wrong ---------------------------------------------------------------------------------- */

static void none(void)
{
	CU_ASSERT_EQUAL(cpus(), -ENOENT);
}

static void bad_root_pointer(void)
{
	build();
	for (unsigned len = 0; len < 20; len++)
		CU_ASSERT_EQUAL(cpus_of(len, 64), -ENOENT);
	for (unsigned i = 0; i < 20; i++) {
		build();
		rsdp[i]++;
		none();
	}
	build();
	memcpy(rsdp, "RSD_PTR ", 8);
	rsdp_fix();
	none();
}

static void no_madt(void)
{
	build();
	table(MADT, "APIX", madt_len);
	none();
	build();
	memory[MADT + 9]++;
	none();
	build();
	madt_begin();
	madt_end();
	none();
	build();
	madt_begin();
	local_apic(1, 0);
	local_apic(2, 2); /* only "can be turned on" */
	madt_end();
	none();
}

static void impossible_lengths(void)
{
	static const uint32_t lengths[] = { 0, 1, 35, MEMORY, 1 << 20, (1 << 20) + 1, UINT32_MAX };
	static const uint32_t tables[] = { MADT, 0 };

	for (unsigned i = 0; i < 7; i++) {
		build();
		put(memory + tables[0] + 4, lengths[i], 4);
		none();
		build();
		put(memory + XSDT + 4, lengths[i], 4);
		put(memory + RSDT + 4, lengths[i], 4);
		none();
	}
}

/* Cut at every length, its sum right: the CPUs that are whole in it, none that is not. */
static void madt_cut_at_every_byte(void)
{
	uint32_t whole;

	build();
	whole = madt_len;
	for (uint32_t len = 36; len < whole; len++) {
		int want = len >= 44 + 8 + 12 + 8 ? 2 : len >= 44 + 8 ? 1 : -ENOENT;

		build();
		table(MADT, "APIC", len);
		CU_ASSERT_EQUAL(cpus(), want);
	}
}

static void root_cut_at_every_byte(void)
{
	for (uint32_t len = 36; len < 52; len++) {
		build();
		put(rsdp + 16, 0, 4);
		rsdp_fix();
		table(XSDT, "XSDT", len);
		none();
	}
	for (uint32_t len = 36; len < 44; len++) {
		build();
		rsdp[15] = 0;
		rsdp_fix();
		table(RSDT, "RSDT", len);
		none();
	}
}

static void entries_of_impossible_length(void)
{
	for (unsigned len = 0; len < 2; len++) {
		build();
		memory[MADT + 44 + 8 + 1] = (uint8_t)len;
		/* Going on behind one byte would lead to the next CPU. */
		memory[MADT + 44 + 8 + 2] = 11;
		table(MADT, "APIC", madt_len);
		CU_ASSERT_EQUAL(cpus(), 1);
	}
	/* Too short for what it claims to be: skipped. */
	build();
	madt_begin();
	memory[MADT + madt_len + 4] = 1;
	other(0, 7);
	memory[MADT + madt_len + 8] = 1;
	other(9, 15);
	local_apic(5, 1);
	madt_end();
	CU_ASSERT_EQUAL_FATAL(cpus(), 1);
	CU_ASSERT_EQUAL(ids[0], 5);
}

static uint8_t large[2 << 20];

static const void *view_large(hpa_t at, uint64_t len)
{
	return at.hpa != 0 && at.hpa < sizeof(large) && len <= sizeof(large) - at.hpa
		       ? large + at.hpa
		       : NULL;
}

/* A table is believed up to 1 MiB, wherever it comes from. */
static void large_tables(void)
{
	for (uint32_t len = 1 << 20; len <= (1 << 20) + 1; len++) {
		int want = len == 1 << 20 ? 3 : -ENOENT;

		build();
		memcpy(large, memory, MEMORY);
		put(large + MADT + 4, len, 4);
		/* The rest of it: one entry of no known type after the other. */
		for (uint32_t o = madt_len; o < len; o += 2)
			put(large + MADT + o, 0x02f0, 2);
		fix_sum(large + MADT, len, 9);
		CU_ASSERT_EQUAL(acpi_cpus(rsdp, 36, view_large, ids, 64), want);
	}
}

static void noise(void)
{
	static const uint32_t places[] = { XSDT, RSDT, MADT };
	unsigned seed = 99;

	printf("[seed %u] ", seed);
	srand(seed);
	for (unsigned round = 0; round < 20000; round++) {
		uint32_t at = places[rand() % 3], len;
		int n;

		build();
		memcpy(&len, memory + at + 4, 4);
		for (int i = 1 + rand() % 4; i > 0; i--)
			memory[at + (uint32_t)rand() % len] = (uint8_t)rand();
		memcpy(&len, memory + at + 4, 4);
		if (len <= MEMORY - at && len >= 10)
			fix_sum(memory + at, len, 9);
		n = cpus();
		CU_ASSERT(n == -ENOENT || (n > 0 && n <= 64));
	}
}

void suite_acpi(void);

void suite_acpi(void)
{
	CU_pSuite s = CU_add_suite("acpi", NULL, NULL);

	CU_ADD_TEST(s, both_versions);
	CU_ADD_TEST(s, falls_back_to_the_rsdt);
	CU_ADD_TEST(s, at_most_max);
	CU_ADD_TEST(s, a_cpu_in_both_forms_is_one);
	CU_ADD_TEST(s, broadcast_ids_are_no_cpus);
	CU_ADD_TEST(s, bad_root_pointer);
	CU_ADD_TEST(s, no_madt);
	CU_ADD_TEST(s, impossible_lengths);
	CU_ADD_TEST(s, madt_cut_at_every_byte);
	CU_ADD_TEST(s, root_cut_at_every_byte);
	CU_ADD_TEST(s, entries_of_impossible_length);
	CU_ADD_TEST(s, large_tables);
	CU_ADD_TEST(s, noise);
}
