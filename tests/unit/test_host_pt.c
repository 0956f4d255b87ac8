/* SPDX-License-Identifier: MPL-2.0 */
/* Host tables that share the kernel's half: two roots, one set of tables. */
#include "mm/host_pt.h"

#include <CUnit/CUnit.h>
#include <stdio.h>

#include "base/err.h"
#include "mm/frame_alloc.h"
#include "tests/host/arena.h"
#include "tests/host/mmu.h"

#define ARENA  (UINT64_C(16) << 20)
#define HERE   UINT64_C(0xffffa00000000000)
#define DEVICE (UINT64_C(64) << 30)
#define RW     (PT_RW | PT_MEM_WB)

static struct pt kernel, other;

static void complain(const char *text)
{
	fprintf(stderr, "audit: %s\n", text);
}

static uint64_t tables(void)
{
	struct frame_account a;

	frame_account(&a);
	return a.by_kind[FRAME_HOST_TABLE] / PAGE_SIZE;
}

static void begin(void)
{
	arena_init(ARENA);
	host_pt_setup(true, 46);
	kernel.ops = &host_pt_ops;
	CU_ASSERT_EQUAL_FATAL(host_pt_ops.init(&kernel), 0);
}

static void end(void)
{
	struct pt_audit audit = { .report = complain };
	struct pt_cursor c;

	CU_ASSERT_EQUAL(host_pt_ops.open(&c, &kernel, host_pt_ops.limits->va_first,
					 host_pt_ops.limits->va_last + 1, false),
			0);
	host_pt_ops.audit(&c, &audit);
	host_pt_ops.close(&c);
	CU_ASSERT_EQUAL(audit.violations, 0);
	host_pt_ops.destroy(&kernel);
	epoch_drain();
	CU_ASSERT_EQUAL(tables(), 0);
	CU_ASSERT_EQUAL(lock_held(), 0);
	CU_ASSERT_EQUAL(frame_audit(complain), 0);
	arena_fini();
}

static void map_through(struct pt *pt, uint64_t va, uint64_t to)
{
	struct flusher flusher;
	struct pt_cursor c;
	uint64_t done;

	flusher_init(&flusher, pt);
	CU_ASSERT_EQUAL_FATAL(host_pt_ops.open(&c, pt, va, va + PAGE_SIZE, true), 0);
	CU_ASSERT_EQUAL(host_pt_ops.map_range(&c, hpa(to), PAGE_SIZE, RW, 1, &flusher, &done), 0);
	host_pt_ops.close(&c);
	flusher_fini(&flusher);
}

static void unmap_through(struct pt *pt, uint64_t va)
{
	struct flusher flusher;
	struct pt_cursor c;
	uint64_t pages = 0;

	flusher_init(&flusher, pt);
	CU_ASSERT_EQUAL_FATAL(host_pt_ops.open(&c, pt, va, va + SIZE_1G, true), 0);
	CU_ASSERT_EQUAL(host_pt_ops.unmap(&c, va + SIZE_1G, &flusher, &pages), 0);
	CU_ASSERT_EQUAL(pages, 1);
	flusher_dispatch(&flusher);
	flusher_sync(&flusher);
	host_pt_ops.close(&c);
	flusher_fini(&flusher);
}

/* By the tables themselves, as a CPU with that root would. */
static bool cpu_finds(const struct pt *pt, uint64_t va, uint64_t to)
{
	struct mmu m = { .format = MMU_HOST, .root = frame_hpa(pt->root).hpa };
	struct mmu_page page;

	return mmu_walk(&m, va, MMU_READ, &page) == MMU_DONE && page.hpa == to;
}

static void test_share(void)
{
	struct pt_leaf leaf;

	begin();
	map_through(&kernel, HERE, DEVICE);
	CU_ASSERT_EQUAL_FATAL(host_pt_share(&other, &kernel), 0);
	CU_ASSERT_TRUE(cpu_finds(&other, HERE, DEVICE));
	/* Later, in a slot of the root that was absent then; through either. */
	map_through(&kernel, HERE + 512 * SIZE_1G, DEVICE + 0x1000);
	map_through(&other, HERE + 1024 * SIZE_1G, DEVICE + 0x2000);
	for (unsigned i = 0; i < 2; i++) {
		const struct pt *pt = i == 0 ? &kernel : &other;

		CU_ASSERT_TRUE(cpu_finds(pt, HERE + 512 * SIZE_1G, DEVICE + 0x1000));
		CU_ASSERT_TRUE(cpu_finds(pt, HERE + 1024 * SIZE_1G, DEVICE + 0x2000));
		epoch_enter();
		CU_ASSERT_TRUE(pt_translate(pt, HERE + 512 * SIZE_1G, &leaf));
		epoch_exit();
	}
	unmap_through(&kernel, HERE + 1024 * SIZE_1G);
	unmap_through(&other, HERE);
	CU_ASSERT_FALSE(cpu_finds(&other, HERE + 1024 * SIZE_1G, DEVICE + 0x2000));
	CU_ASSERT_FALSE(cpu_finds(&kernel, HERE, DEVICE));
	host_pt_unshare(&other);
	CU_ASSERT_TRUE(cpu_finds(&kernel, HERE + 512 * SIZE_1G, DEVICE + 0x1000));
	end();
}

/* No entry of the root is ever taken out: the other root has a copy of it. */
static void test_root_entries_stay(void)
{
	struct flusher flusher;
	struct pt_cursor c;
	uint64_t before, pages = 0;

	begin();
	CU_ASSERT_EQUAL_FATAL(host_pt_share(&other, &kernel), 0);
	map_through(&kernel, HERE, DEVICE);
	before = tables();
	flusher_init(&flusher, &kernel);
	CU_ASSERT_EQUAL_FATAL(host_pt_ops.open(&c, &kernel, HERE, HERE + 1024 * SIZE_1G, true), 0);
	CU_ASSERT_EQUAL(host_pt_ops.unmap(&c, HERE + 1024 * SIZE_1G, &flusher, &pages), 0);
	CU_ASSERT_EQUAL(pages, 1);
	flusher_dispatch(&flusher);
	flusher_sync(&flusher);
	host_pt_ops.close(&c);
	epoch_drain();
	CU_ASSERT_EQUAL(tables(), before - 2);
	map_through(&kernel, HERE, DEVICE + 0x3000);
	CU_ASSERT_TRUE(cpu_finds(&other, HERE, DEVICE + 0x3000));
	host_pt_unshare(&other);
	end();
}

/* Without memory for the tables nothing is shared, and nothing lost. */
static void test_no_memory(void)
{
	begin();
	for (unsigned skip = 0; skip <= 256; skip += 32) {
		/* What a failed attempt has added to the kernel's root stays there. */
		uint64_t missing = 257 - tables();

		frame_alloc_fail_after(skip);
		CU_ASSERT_EQUAL(host_pt_share(&other, &kernel), skip <= missing ? -ENOMEM : 0);
		frame_alloc_fail_after(-1);
		CU_ASSERT_EQUAL(atomic_load(&kernel.sharers), skip > missing);
		if (skip > missing)
			host_pt_unshare(&other);
	}
	end();
}

static void destroy_shared(void *context)
{
	(void)context;
	host_pt_ops.destroy(&kernel);
}

static void share_sharer(void *context)
{
	static struct pt third;

	(void)context;
	host_pt_share(&third, &other);
}

static void unshare_kernel(void *context)
{
	(void)context;
	host_pt_unshare(&kernel);
}

static void test_misuse(void)
{
	begin();
	CU_ASSERT_EQUAL_FATAL(host_pt_share(&other, &kernel), 0);
	CU_ASSERT_TRUE(panics(destroy_shared, NULL, "sharers"));
	CU_ASSERT_TRUE(panics(share_sharer, NULL, "kernel->kernel == NULL"));
	CU_ASSERT_TRUE(panics(unshare_kernel, NULL, "kernel != NULL"));
	host_pt_unshare(&other);
	end();
}

void suite_host_pt(void);

void suite_host_pt(void)
{
	CU_pSuite s = CU_add_suite("host_pt", NULL, NULL);

	CU_add_test(s, "two roots, one half", test_share);
	CU_add_test(s, "entries of the root stay", test_root_entries_stay);
	CU_add_test(s, "no memory", test_no_memory);
	CU_add_test(s, "misuse", test_misuse);
}
