/* SPDX-License-Identifier: MPL-2.0 */
/* The host build's CPUs are threads: a test gives each of its threads a number. */
#ifndef ARCH_THIS_CPU_H
#define ARCH_THIS_CPU_H

#include <sched.h>
#include <stdatomic.h>

#define MAX_CPUS 64

extern __thread unsigned host_cpu;

static inline unsigned cpu_id(void)
{
	return host_cpu;
}

static inline void cpu_relax(void)
{
	sched_yield();
}

/* An exchange, not a fence: the thread sanitizer knows no fences. */
static inline void cpu_barrier(void)
{
	static _Atomic unsigned dummy;

	atomic_exchange(&dummy, 0);
}

#endif
