/* SPDX-License-Identifier: MPL-2.0 */
/*
 * No byte of a guest is looked at twice. Every access to the page is caught, and before it goes on
 * all of the page changes, as if another vCPU wrote between any two instructions:
 *
 *      access ──▶ SIGSEGV: page := counter everywhere, counter + 1; open; single-step ──▶ access
 * done SIGTRAP: closed again ◀─────────┘
 *
 * A value that is whole comes from one access; bytes that were loaded once, from low to high, never
 * become older; and the accesses are counted.
 */
#define _GNU_SOURCE
#include <CUnit/CUnit.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "base/x86/msr.h"
#include "base/x86/regs.h"
#include "mm/frame_alloc.h"
#include "tests/unit/vmio_world.h"
#include "vmio/virtual.h"

#define TRAP_FLAG 0x100
#define MAX_TRACE 8192

static uint8_t *page;
static struct sigaction old_segv, old_trap;
static uint8_t counter;
static bool changes;	     /* the page, at each access */
static unsigned most;	     /* but at no more than these */
static void (*during)(void); /* at each access, or NULL */
static unsigned accesses;
static uint16_t trace[MAX_TRACE]; /* where in the page, in order */

static void on_access(int number, siginfo_t *info, void *context)
{
	uintptr_t offset = (uintptr_t)info->si_addr - (uintptr_t)page;

	(void)number;
	if (offset >= PAGE_SIZE) {
		sigaction(SIGSEGV, &old_segv, NULL);
		return;
	}
	mprotect(page, PAGE_SIZE, PROT_READ | PROT_WRITE);
	if (during != NULL)
		during();
	if (changes && accesses < most)
		memset(page, ++counter, PAGE_SIZE);
	if (accesses < MAX_TRACE)
		trace[accesses] = (uint16_t)offset;
	accesses++;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void on_step(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	mprotect(page, PAGE_SIZE, PROT_NONE);
	((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
}

static void begin(void)
{
	struct sigaction segv = { .sa_sigaction = on_access, .sa_flags = SA_SIGINFO };
	struct sigaction trap = { .sa_sigaction = on_step, .sa_flags = SA_SIGINFO };

	vmio_begin();
	page = vmio_map(0x2000, 0, PT_RW);
	sigaction(SIGSEGV, &segv, &old_segv);
	sigaction(SIGTRAP, &trap, &old_trap);
}

static void end(void)
{
	sigaction(SIGSEGV, &old_segv, NULL);
	sigaction(SIGTRAP, &old_trap, NULL);
	vmio_end();
}

/* From here on accesses to the page are caught, until `caught`. */
static void catch (bool and_change)
{
	counter = 0;
	accesses = 0;
	changes = and_change;
	most = MAX_TRACE;
	mprotect(page, PAGE_SIZE, PROT_NONE);
}

static unsigned caught(void)
{
	mprotect(page, PAGE_SIZE, PROT_READ | PROT_WRITE);
	return accesses;
}

static bool ascending(void)
{
	for (unsigned i = 1; i < accesses && i < MAX_TRACE; i++)
		if (trace[i] <= trace[i - 1])
			return false;
	return true;
}

static void test_words(void)
{
	begin();
	for (size_t size = 1; size <= 8; size *= 2) {
		struct vm_reader r = vmio_reader(0x2040, 64);
		uint64_t value = 0, want = UINT64_C(0x0101010101010101) >> (64 - 8 * size);

		catch (true);
		CU_ASSERT_EQUAL(vm_read_once(&r, size, &value), 0);
		CU_ASSERT_EQUAL(caught(), 1);
		CU_ASSERT_EQUAL(value, want);
		catch (true);
		CU_ASSERT_EQUAL(vm_atomic_load(&r.io, size, &value), 0);
		CU_ASSERT_EQUAL(caught(), 1);
		CU_ASSERT_EQUAL(value, want);
		value = 0;
		catch (true);
		CU_ASSERT_EQUAL(vm_read_bytes(&r, &value, size), 0);
		CU_ASSERT_EQUAL(caught(), 1);
		CU_ASSERT_EQUAL(value, want);
		vmio_gone(&r.io);
	}
	end();
}

static void test_exchange(void)
{
	struct vm_writer w;
	uint64_t old = 0;

	begin();
	w = vmio_writer(0x2040, 64);
	/* What is there is 2 by the time of the exchange, and comes back as what was found. */
	catch (true);
	counter = 1;
	CU_ASSERT_EQUAL(vm_compare_exchange(&w, 1, &old, 9), -EAGAIN);
	CU_ASSERT_EQUAL(caught(), 1);
	CU_ASSERT_EQUAL(old, 2);
	CU_ASSERT_EQUAL(page[0x40], 2);
	/* One look, and one exchange with the very value that it saw. */
	catch (false);
	CU_ASSERT_EQUAL(vm_fetch_or(&w, 1, 4, &old), 0);
	CU_ASSERT_EQUAL(caught(), 2);
	CU_ASSERT_EQUAL(page[0x40], 6);
	/* It changes between the two: the exchange is tried again, and nothing is lost. */
	catch (true);
	most = 2;
	CU_ASSERT_EQUAL(vm_fetch_or(&w, 1, 4, &old), 0);
	CU_ASSERT_EQUAL(caught(), 3);
	CU_ASSERT_EQUAL(old, 2);
	CU_ASSERT_EQUAL(page[0x40], 6);
	catch (true);
	CU_ASSERT_EQUAL(vm_write_once(&w, 8, 7), 0);
	CU_ASSERT_EQUAL(caught(), 1);
	CU_ASSERT_EQUAL(*(uint64_t *)(page + 0x40), 7);
	vmio_gone(&w.io);
	end();
}

static void test_copies(void)
{
	static uint8_t out[1024];

	begin();
	for (size_t len = 3; len < 200; len += len < 70 ? 1 : 31) {
		memset(out, 0, sizeof(out));
		catch (true);
		CU_ASSERT_EQUAL(vmio_get(0x2081, out, len), 0);
		CU_ASSERT(caught() <= len);
		CU_ASSERT_TRUE(ascending());
		/* The last access is in the last byte: what came later is no older. */
		CU_ASSERT_EQUAL(out[0], 1);
		CU_ASSERT_EQUAL(out[len - 1], accesses);
		for (size_t i = 1; i < len; i++)
			CU_ASSERT(out[i] >= out[i - 1]);
	}
	catch (false);
	CU_ASSERT_EQUAL(vmio_get(0x2003, out, sizeof(out)), 0);
	CU_ASSERT_EQUAL(caught(), sizeof(out));
	CU_ASSERT_TRUE(ascending());
	catch (false);
	CU_ASSERT_EQUAL(vmio_put(0x2003, out, sizeof(out)), 0);
	CU_ASSERT_EQUAL(caught(), sizeof(out));
	CU_ASSERT_TRUE(ascending());
	end();
}

/*
 * A walk through tables of the guest that are all in the page: each entry is loaded once, and where
 * marks are missing exchanged once, with what was loaded.
 */
static void test_walk(void)
{
	static const unsigned index[] = { 0, 1, 2, 3, 4 }; /* of each level, from 1 */
	struct gva_access read = { .kind = GVA_READ };
	struct gva_mode mode = {
		.cr0 = CR0_PG | CR0_PE,
		.cr3 = 0x2000,
		.cr4 = CR4_PAE,
		.efer = EFER_LMA | EFER_LME,
		.maxphyaddr = 46,
	};
	uint64_t va = 0, *entries;
	struct guest_pages pages = { 0 };
	struct gva_result result;

	begin();
	entries = (uint64_t *)page;
	for (unsigned level = 1; level <= 4; level++) {
		entries[index[level]] = 0x2000 | 7;
		va |= (uint64_t)index[level] << (12 + 9 * (level - 1));
	}
	for (unsigned round = 0; round < 3; round++) {
		catch (false);
		if (round == 0)
			gva_translate(&vmio_space, &mode, gva(va), read, &result, NULL);
		else
			gva_translate_again(&vmio_space, &mode, gva(va), read, &result, &pages);
		CU_ASSERT_EQUAL(caught(), round == 0 ? 8 : 4);
		CU_ASSERT_EQUAL(result.outcome, GVA_OK);
		CU_ASSERT_EQUAL(result.gpa.gpa, 0x2000);
		for (unsigned i = 0; i < accesses; i++)
			CU_ASSERT_EQUAL(trace[i], 8 * index[4 - i % 4]);
	}
	end();
}

/* Who else could be at the bytes that are copied just now. */
static unsigned readers_let_in, writers_let_in;

static void try_others(void)
{
	struct vm_reader r;
	struct vm_writer w;

	CU_ASSERT_EQUAL(vm_reader_guest(&r, &vmio_space, gpa(0x2040), 8, &vmio_use), 0);
	CU_ASSERT_EQUAL(vm_writer_guest(&w, &vmio_space, gpa(0x2040), 8, &vmio_use), 0);
	if (vm_io_activate(&r.io) == 0) {
		readers_let_in++;
		vm_io_dispose(&r.io);
	}
	if (vm_io_activate(&w.io) == 0) {
		writers_let_in++;
		vm_io_dispose(&w.io);
	}
}

/* A piece of virtual memory is claimed until its last byte has been copied. */
static void test_claimed_meanwhile(void)
{
	struct gva_mode mode = { .maxphyaddr = 46 };
	struct gva_result fault;
	struct vm_virtual virt = { .mode = &mode, .fault = &fault };
	uint64_t value = 5;
	struct vm_reader r;
	struct vm_writer w;

	begin();
	vm_reader_virtual(&r, &vmio_space, gva(0x2040), 8, &virt, &vmio_use);
	vm_writer_virtual(&w, &vmio_space, gva(0x2040), 8, &virt, &vmio_use);
	CU_ASSERT_EQUAL(vm_io_activate(&r.io), 0);
	CU_ASSERT_EQUAL(vm_io_activate(&w.io), 0);
	during = try_others;
	readers_let_in = writers_let_in = 0;
	catch (false);
	CU_ASSERT_EQUAL(vm_read_val(&r, &value), 0);
	CU_ASSERT_EQUAL(caught(), 1);
	CU_ASSERT_EQUAL(readers_let_in, 1);
	CU_ASSERT_EQUAL(writers_let_in, 0);
	catch (false);
	CU_ASSERT_EQUAL(vm_fetch_or(&w, 4, 1, NULL), 0);
	CU_ASSERT_EQUAL(vm_write_val(&w, &value), 0);
	CU_ASSERT_EQUAL(caught(), 3);
	CU_ASSERT_EQUAL(readers_let_in, 1);
	CU_ASSERT_EQUAL(writers_let_in, 0);
	during = NULL;
	vmio_gone(&r.io);
	vmio_gone(&w.io);
	end();
}

void suite_vmio_fetch(void);
void suite_vmio_fetch(void)
{
	CU_pSuite s = CU_add_suite("vmio fetches", NULL, NULL);

	CU_add_test(s, "words", test_words);
	CU_add_test(s, "exchange", test_exchange);
	CU_add_test(s, "copies", test_copies);
	CU_add_test(s, "walk", test_walk);
	CU_add_test(s, "claimed meanwhile", test_claimed_meanwhile);
}
