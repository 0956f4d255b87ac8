/* SPDX-License-Identifier: MPL-2.0 */
/* Goes through the CPU's modes (guest/tiny/start.S) and checks what it finds there. */
#include "guest/tiny/tiny.h"

static unsigned passed, failed;

static void check(const char *what, bool ok)
{
	if (ok) {
		passed++;
	} else {
		failed++;
		say("modes: FAIL %s\n", what);
	}
}

static void write_at(uint64_t at)
{
	*(volatile uint64_t *)at = 1;
}

static void call_at(uint64_t at)
{
	((void (*)(void))at)();
}

static void undefined(uint64_t arg)
{
	(void)arg;
	__asm__ volatile("ud2");
}

/* A page of our own tables, not present, read-only, not executable: each faults as it must. */
static void check_paging(void)
{
	const uint64_t at = 400 * 0x200000ul;

	pd[400] = 0;
	__asm__ volatile("invlpg (%0)" ::"r"(at) : "memory");
	check("write to a page that is not present",
	      try(write_at, at) == 14 && trap_cr2 == at && (trap_error & 3) == 2);
	pd[400] = 0x800000 | 0x81;
	__asm__ volatile("invlpg (%0)" ::"r"(at) : "memory");
	check("write to a read-only page", try(write_at, at) == 14 && (trap_error & 3) == 3);
	pd[400] = 0x800000 | 0x83 | 1ul << 63;
	__asm__ volatile("invlpg (%0)" ::"r"(at) : "memory");
	check("execution of a no-execute page", try(call_at, at) == 14 && (trap_error & 0x10) != 0);
	check("write to a page that allows it",
	      try(write_at, at) == TINY_NO_TRAP && *(volatile uint64_t *)0x800000 == 1);
}

static void check_cpuid(void)
{
	uint32_t r[4];

	cpuid(1, r);
	check("cpuid shows a hypervisor", (r[2] >> 31 & 1) != 0);
	check("cpuid shows no VT-x", (r[2] >> 5 & 1) == 0);
	cpuid(0x80000001, r);
	check("cpuid shows long mode", (r[3] >> 29 & 1) != 0);
	check("cpuid shows no AMD-V", (r[2] >> 2 & 1) == 0);
	cpuid(0x40000000, r);
	check("cpuid has the hypervisor's name", r[1] == 0x7473654e);
}

int guest_main(void)
{
	say("modes: real mode %s, protected mode %s, long mode %s\n", stages & 1 ? "ok" : "FAIL",
	    stages & 2 ? "ok" : "FAIL", stages & 4 ? "ok" : "FAIL");
	check("real mode", (stages & 1) != 0);
	check("protected mode", (stages & 2) != 0);
	check("long mode", (stages & 4) != 0);
	traps_setup();
	check("long mode is active", (rdmsr(0xc0000080) & 0x500) == 0x500);
	check("undefined instruction", try(undefined, 0) == 6);
	check("boot page", boot_page()->magic == GUEST_BOOT_MAGIC);
	check("hypercall", hypercall(HC_VERSION, 0, 0) == HC_MAGIC);
	check("unknown hypercall", hypercall(12345, 0, 0) == HC_UNKNOWN);
	check("memory size", hypercall(HC_MEM_SIZE, 0, 0) == boot_page()->mem_pages);
	check_paging();
	check_cpuid();
	say("modes: %s %u checks\n", failed ? "FAIL" : "pass", (uint64_t)(passed + failed));
	return failed != 0;
}
