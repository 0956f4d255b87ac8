/* SPDX-License-Identifier: MPL-2.0 */
/* Flushing of Nestling's own space: who flushes what and when. CPUs are numbers here. */
#include <CUnit/CUnit.h>

#include "base/host_tlb.h"
#include "mm/kspace_tlb.h"
#include "tests/host/arena.h"
#include "tests/host/host_tlb.h"

#define AT UINT64_C(0xffffc00000123000)

static struct tlb_domain domain;
static uint64_t kicked; /* mask of CPUs */

static void on(unsigned cpu)
{
	host_cpu = cpu;
}

/* The CPU takes the NMI at once. */
static void kick(unsigned cpu)
{
	unsigned me = host_cpu;

	kicked |= UINT64_C(1) << cpu;
	on(cpu);
	kspace_tlb_flush();
	on(me);
}

static void begin(unsigned cpus)
{
	tlb_domain_init(&domain);
	host_tlb_begin(0, kick);
	kspace_tlb_init(&domain);
	kicked = 0;
	for (unsigned i = 0; i < cpus; i++) {
		on(i);
		kspace_tlb_online();
	}
	on(0);
}

static void end(void)
{
	kspace_tlb_init(NULL);
	host_tlb_begin(0, NULL);
	on(0);
}

static void expect_flushed(unsigned cpu, uint64_t pages, uint64_t all)
{
	unsigned me = host_cpu;

	on(cpu);
	CU_ASSERT_EQUAL(host_tlb_count().pages, pages);
	CU_ASSERT_EQUAL(host_tlb_count().all, all);
	on(me);
}

/* Whatever a CPU has cached before it is online goes; it does nothing until then. */
static void test_online(void)
{
	kspace_tlb_init(NULL);
	CU_ASSERT_FALSE(kspace_tlb_flush());
	begin(1);
	expect_flushed(0, 0, 1);
	on(1);
	kspace_tlb_stamp(hva(AT), 1);
	CU_ASSERT_FALSE(kspace_tlb_flush());
	expect_flushed(1, 0, 0);
	kspace_tlb_online();
	expect_flushed(1, 0, 1);
	CU_ASSERT_FALSE(kspace_tlb_flush());
	end();
}

/* Page by page up to the limit, all at once above it; nothing when there is nothing. */
static void test_what_is_flushed(void)
{
	begin(2);
	CU_ASSERT_FALSE(kspace_tlb_flush());
	kspace_tlb_stamp(hva(AT), 1);
	CU_ASSERT_TRUE(kspace_tlb_flush());
	CU_ASSERT_FALSE(kspace_tlb_flush());
	expect_flushed(0, 1, 1);
	kspace_tlb_stamp(hva(AT), KSPACE_TLB_PAGES - 1);
	CU_ASSERT_TRUE(kspace_tlb_flush());
	expect_flushed(0, KSPACE_TLB_PAGES, 1);
	on(1);
	CU_ASSERT_TRUE(kspace_tlb_flush()); /* both together are just within the limit */
	expect_flushed(1, KSPACE_TLB_PAGES, 1);
	on(0);
	kspace_tlb_stamp(hva(AT), KSPACE_TLB_PAGES + 1);
	CU_ASSERT_TRUE(kspace_tlb_flush());
	expect_flushed(0, KSPACE_TLB_PAGES, 2);
	kspace_tlb_stamp(hva(AT), 0);
	CU_ASSERT_TRUE(kspace_tlb_flush());
	expect_flushed(0, KSPACE_TLB_PAGES, 3);
	end();
}

/* The addresses come out of the log as they went in. */
static void test_which_pages(void)
{
	const uint64_t at[4] = { 0xffff800000000000, 0xffffc00000000000, AT, 0xffffffffffffd000 };

	begin(1);
	for (unsigned i = 0; i < 4; i++) {
		kspace_tlb_stamp(hva(at[i]), 1);
		CU_ASSERT_TRUE(kspace_tlb_flush());
		CU_ASSERT_EQUAL(host_tlb_count().last, at[i]);
		kspace_tlb_stamp(hva(at[i]), 2);
		CU_ASSERT_TRUE(kspace_tlb_flush());
		CU_ASSERT_EQUAL(host_tlb_count().last, at[i] + PAGE_SIZE);
	}
	end();
}

/* Who is too far behind for the log flushes everything. */
static void test_far_behind(void)
{
	begin(2);
	for (unsigned i = 0; i < 64; i++) {
		kspace_tlb_stamp(hva(AT), i == 0 ? 1 : 0);
		kspace_tlb_flush();
	}
	expect_flushed(0, 1, 64);
	kspace_tlb_stamp(hva(AT), 1);
	on(1);
	CU_ASSERT_TRUE(kspace_tlb_flush());
	expect_flushed(1, 0, 2);
	end();
}

static void test_passed(void)
{
	uint64_t first, second;

	begin(3);
	first = kspace_tlb_stamp(hva(AT), 1);
	second = kspace_tlb_stamp(hva(AT), 1);
	CU_ASSERT_EQUAL(second, first + 1);
	kspace_tlb_flush();
	on(1);
	kspace_tlb_flush();
	CU_ASSERT_FALSE(kspace_tlb_passed(first)); /* CPU 2 is missing */
	on(2);
	kspace_tlb_flush();
	CU_ASSERT_TRUE(kspace_tlb_passed(second));
	kspace_tlb_stamp(hva(AT), 1);
	CU_ASSERT_TRUE(kspace_tlb_passed(second));
	end();
}

/* Only who is behind is interrupted, and never the CPU itself. (Scenario: an IPI to oneself while
 * interrupts are off is waited for forever; OSTD #1949 / #1961.) */
static void test_sync(void)
{
	begin(3);
	on(63);
	kspace_tlb_online();
	on(0);
	kspace_tlb_sync();
	CU_ASSERT_EQUAL(kicked, 0);
	kspace_tlb_stamp(hva(AT), 1);
	on(1);
	kspace_tlb_flush();
	on(0);
	kspace_tlb_sync();
	CU_ASSERT_EQUAL(kicked, UINT64_C(1) << 63 | UINT64_C(1) << 2);
	CU_ASSERT_TRUE(kspace_tlb_passed(atomic_load(&domain.generation)));
	CU_ASSERT_EQUAL(atomic_load(&domain.kicks), 2);
	expect_flushed(0, 1, 1);
	end();
}

/* A CPU that waits is asked by another one that waits: it answers while waiting. (OSTD #1158: two
 * CPUs that shoot each other down.) Here CPU 1's whole sync happens inside CPU 0's kick. */
static void kick_syncs(unsigned cpu)
{
	unsigned me = host_cpu;

	kicked |= UINT64_C(1) << cpu;
	on(cpu);
	if (cpu == 1)
		kspace_tlb_sync();
	else
		kspace_tlb_flush();
	on(me);
}

static void test_two_sync(void)
{
	begin(2);
	host_tlb_begin(0, kick_syncs);
	kspace_tlb_stamp(hva(AT), 1);
	kspace_tlb_stamp(hva(AT), 2);
	/* CPU 1 must not find CPU 0 behind: it has served itself before it kicks. */
	kspace_tlb_sync();
	CU_ASSERT_EQUAL(kicked, 2);
	CU_ASSERT_TRUE(kspace_tlb_passed(atomic_load(&domain.generation)));
	end();
}

void suite_kspace_tlb(void);
void suite_kspace_tlb(void)
{
	CU_pSuite s = CU_add_suite("kspace_tlb", NULL, NULL);

	CU_add_test(s, "online", test_online);
	CU_add_test(s, "what is flushed", test_what_is_flushed);
	CU_add_test(s, "which pages", test_which_pages);
	CU_add_test(s, "far behind", test_far_behind);
	CU_add_test(s, "passed", test_passed);
	CU_add_test(s, "sync", test_sync);
	CU_add_test(s, "two sync", test_two_sync);
}
