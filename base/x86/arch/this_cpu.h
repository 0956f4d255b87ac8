/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Which CPU runs this code. The host build of the tests has its own version of this header.
 * Nestling's own code is never moved between CPUs, so the answer stays true within a function.
 */
#ifndef ARCH_THIS_CPU_H
#define ARCH_THIS_CPU_H

#define MAX_CPUS 64

/* 0 for the boot CPU; others in the order in which they were started. GS points at the number. */
static inline unsigned cpu_id(void)
{
	unsigned id;

	__asm__("movl %%gs:0, %0" : "=r"(id));
	return id;
}

static inline void cpu_relax(void)
{
	__asm__ volatile("pause" ::: "memory");
}

/* All earlier stores of this CPU are visible before any of its later loads is done. */
static inline void cpu_barrier(void)
{
	__asm__ volatile("lock orl $0, -4(%%rsp)" ::: "memory", "cc");
}

#endif
