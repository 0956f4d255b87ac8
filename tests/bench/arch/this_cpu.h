/* SPDX-License-Identifier: MPL-2.0 */
/* The benchmarks' CPUs are threads, each pinned to a CPU of its own, that wait as the hypervisor
 * does. */
#ifndef ARCH_THIS_CPU_H
#define ARCH_THIS_CPU_H

#define MAX_CPUS 64

/* One instruction to read, as in the hypervisor. */
extern __thread unsigned host_cpu __attribute__((tls_model("local-exec")));

static inline unsigned cpu_id(void)
{
	return host_cpu;
}

static inline void cpu_relax(void)
{
	__builtin_ia32_pause();
}

static inline void cpu_barrier(void)
{
	__asm__ volatile("lock orl $0, -4(%%rsp)" ::: "memory", "cc");
}

#endif
