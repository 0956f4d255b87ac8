/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The world of the tests of kernel virtual areas: an arena, a host table, and several CPUs, as
 * numbers, each with a TLB that forgets nothing by itself (tests/host/host_tlb.h).
 */
#ifndef TESTS_UNIT_KVIRT_WORLD_H
#define TESTS_UNIT_KVIRT_WORLD_H

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/list.h"
#include "mm/frame_alloc.h"
#include "mm/host_pt.h"
#include "mm/kspace_tlb.h"
#include "mm/kvirt.h"
#include "tests/host/arena.h"
#include "tests/host/host_tlb.h"

#define ARENA (32 * SIZE_2M)
#define START KAREA_BASE
#define END   (START + 64 * SIZE_2M)
#define RW    (PT_RW | PT_MEM_WB)
#define CPUS  3

static struct pt pt;
static uint64_t kicked;	 /* mask of CPUs */
static unsigned reports; /* by audits */

static inline void on(unsigned cpu)
{
	host_cpu = cpu;
}

static inline void flush_on(unsigned cpu)
{
	unsigned me = host_cpu;

	on(cpu);
	kspace_tlb_flush();
	on(me);
}

static inline void kick(unsigned cpu)
{
	kicked |= UINT64_C(1) << cpu;
	flush_on(cpu);
}

static inline void report(const char *text)
{
	reports++;
	printf("%s\n", text);
}

static inline void begin_at(uint64_t end)
{
	arena_init(ARENA);
	on(0);
	CU_ASSERT_EQUAL_FATAL(host_pt_ops.init(&pt), 0);
	pt.ops = &host_pt_ops;
	kspace_tlb_init(&pt.tlb);
	CU_ASSERT_EQUAL_FATAL(kvirt_init(&pt, START, end), 0);
	host_tlb_begin(frame_hpa(pt.root).hpa, kick);
	for (unsigned cpu = 0; cpu < CPUS; cpu++) {
		on(cpu);
		kspace_tlb_online();
	}
	on(0);
	kicked = 0;
	reports = 0;
}

static inline void begin(void)
{
	begin_at(END);
}

static inline void audit(void)
{
	struct pt_audit a = { .report = report };
	struct pt_cursor c;

	CU_ASSERT_EQUAL(kvirt_audit(report), 0);
	CU_ASSERT_EQUAL(host_pt_ops.open(&c, &pt, pt.ops->limits->va_first,
					 pt.ops->limits->va_last + 1, false),
			0);
	host_pt_ops.audit(&c, &a);
	CU_ASSERT_EQUAL(a.violations, 0);
	for (struct pt_leaf leaf; host_pt_ops.next(&c, c.end - c.va, &leaf);)
		CU_ASSERT_TRUE(kvirt_owns(&leaf));
	host_pt_ops.close(&c);
}

/* All CPUs catch up, and what was dropped goes. */
static inline void settle(void)
{
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned cpu = 0; cpu < CPUS; cpu++)
			flush_on(cpu);
		kvirt_reap(UINT32_MAX);
	}
	epoch_drain();
	CU_ASSERT_EQUAL(kvirt_quarantined(), 0);
}

static inline uint64_t in_use(enum frame_kind kind)
{
	struct frame_account account;

	frame_account(&account);
	return account.by_kind[kind];
}

static inline void end(void)
{
	settle();
	audit();
	kvirt_fini();
	CU_ASSERT_EQUAL(in_use(FRAME_KERNEL), 0);
	atomic_store(&pt.tlb.inside, 0);
	host_pt_ops.destroy(&pt);
	CU_ASSERT_EQUAL(in_use(FRAME_HOST_TABLE), 0);
	CU_ASSERT_EQUAL(frame_audit(report), 0);
	CU_ASSERT_EQUAL(reports, 0);
	kspace_tlb_init(NULL);
	host_tlb_begin(0, NULL);
	arena_fini();
}

static inline struct frame *new_frame(unsigned order, uint64_t word)
{
	struct frame *f = frame_alloc(order, FRAME_KERNEL, ALLOC_ZERO);

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	*(uint64_t *)hpa_ptr(frame_hpa(f)) = word;
	return f;
}

/* An area of one page with `word` in it. */
static inline struct kvirt_area *new_area(uint64_t word, struct frame **frame)
{
	struct kvirt_area *area;

	*frame = new_frame(FRAME_ORDER_4K, word);
	CU_ASSERT_EQUAL_FATAL(kvirt_map_frames(PAGE_SIZE, 0, frame, 1, RW, &area), 0);
	return area;
}

/* What CPU `cpu` reads at `va`; 0: it faults. */
static inline uint64_t read_on(unsigned cpu, uint64_t va)
{
	unsigned me = host_cpu;
	uint64_t at;
	bool there;

	on(cpu);
	there = host_tlb_access(va, TLB_READ, &at);
	on(me);
	return there ? *(uint64_t *)hpa_ptr(hpa(at)) : 0;
}

#endif
