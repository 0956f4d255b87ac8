/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Walkers that do not lock, and CPUs, in the middle of a change.
 *
 * A walker is stopped between two of its loads: the leaf table that it is about to read is made
 * inaccessible, and the handler of the fault does, as another CPU, what happens meanwhile. Then the
 * walker goes on.
 */
#include <arch/pt_store.h>
#include <arch/this_cpu.h>
#include <signal.h>
#include <sys/mman.h>

#include "base/err.h"
#include "tests/unit/test_scenarios.h"

static void *stopped_at;
static int collapsed;

static void meanwhile(int signal)
{
	struct vm_cursor c;

	(void)signal;
	mprotect(stopped_at, PAGE_SIZE, PROT_READ | PROT_WRITE);
	host_cpu = 1;
	collapsed = vm_cursor_open(&c, &space, gpa(SIZE_1G), gpa(SIZE_1G + SIZE_2M), VM_CHANGE);
	if (collapsed == 0) {
		collapsed = vm_collapse(&c, SIZE_2M);
		vm_cursor_close(&c);
	}
	host_cpu = 0;
}

/* A large page in small ones, whose leaf table is the trap. */
static void set_trap(struct sigaction *before)
{
	struct sigaction action = { .sa_handler = meanwhile, .sa_flags = SA_NODEFER };
	struct pt_step steps[PT_MAX_LEVELS];
	struct pt_leaf old;
	struct vm_cursor c;

	map_fresh(SIZE_1G, FRAME_ORDER_2M, WB_RW);
	open_at(&c, SIZE_1G, SIZE_2M, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_clear_marks_next(&c, PAGE_SIZE, PT_DIRTY, &old), 0);
	vm_cursor_close(&c);
	epoch_enter();
	CU_ASSERT_EQUAL(vm_walk(&space, gpa(SIZE_1G), steps), ops->limits->levels);
	epoch_exit();
	stopped_at = hpa_ptr(steps[ops->limits->levels - 1].table);
	collapsed = -1;
	sigaction(SIGSEGV, &action, before);
	mprotect(stopped_at, PAGE_SIZE, PROT_NONE);
}

static void release_trap(const struct sigaction *before)
{
	sigaction(SIGSEGV, before, NULL);
	host_cpu = 1;
	epoch_drain();
	host_cpu = 0;
	CU_ASSERT_EQUAL(collapsed, 0);
}

/* The page is mapped all the time: a lookup finds it. */
static void test_lookup_during_collapse(void)
{
	struct sigaction before;
	struct pt_hit hit;

	set_trap(&before);
	epoch_enter();
	hit = vm_lookup(&space, gpa(SIZE_1G + 5 * PAGE_SIZE));
	epoch_exit();
	release_trap(&before);
	CU_ASSERT_NOT_EQUAL(hit.level, 0);
}

/* The hypervisor's write is marked, in whatever the page has become. */
static void test_mark_during_collapse(void)
{
	struct sigaction before;
	struct pt_leaf leaf;
	bool marked;

	set_trap(&before);
	epoch_enter();
	marked = vm_mark(&space, gpa(SIZE_1G + 5 * PAGE_SIZE), PT_ACCESSED | PT_DIRTY);
	epoch_exit();
	release_trap(&before);
	CU_ASSERT_TRUE(marked);
	CU_ASSERT_TRUE(look(SIZE_1G + 5 * PAGE_SIZE, &leaf));
	CU_ASSERT_EQUAL(leaf.size, SIZE_2M);
	CU_ASSERT_NOT_EQUAL(leaf.attr & PT_DIRTY, 0);
}

static struct frame *taken;
static unsigned writes;

/* A CPU in the guest writes, just before the entry is cleared. */
static void write_before_store(const volatile void *entry, uint64_t raw)
{
	(void)entry;
	(void)raw;
	writes += guest_access(1, 0x5000, MMU_WRITE) == frame_hpa(taken).hpa;
}

/* The page was written while it was mapped, and what take_next tells of it says so. */
static void test_take_loses_a_mark(void)
{
	struct pt_fragment gone;
	struct vm_cursor c;

	guests_begin();
	taken = frame_at(map_fresh(0x5000, 0, WB_RW));
	guest_enter(1);
	writes = 0;
	open_at(&c, 0x5000, PAGE_SIZE, VM_CHANGE);
	host_pt_store = write_before_store;
	CU_ASSERT_EQUAL(vm_take_next(&c, PAGE_SIZE, &gone), 0);
	host_pt_store = NULL;
	vm_cursor_close(&c);
	CU_ASSERT_EQUAL(writes, 1);
	CU_ASSERT_NOT_EQUAL(gone.attr & PT_DIRTY, 0);
	guests_end();
}

static void each_take(void)
{
	on_each(test_take_loses_a_mark);
}

static void each_lookup(void)
{
	on_each(test_lookup_during_collapse);
}

static void each_mark(void)
{
	on_each(test_mark_during_collapse);
}

void suite_walkers(void);
void suite_walkers(void)
{
	CU_pSuite s = CU_add_suite("walkers", NULL, NULL);

	CU_add_test(s, "lookup during collapse", each_lookup);
	CU_add_test(s, "mark during collapse", each_mark);
	CU_add_test(s, "take loses a mark", each_take);
}
