/* SPDX-License-Identifier: MPL-2.0 */
#include "base/host_tlb.h"

#include "base/x86/apic.h"
#include "base/x86/cpuid.h"
#include "base/x86/percpu.h"
#include "base/x86/regs.h"

#define CPUID_7_EBX_INVPCID 10
#define INVPCID_EVERYTHING  2ul /* all contexts, global pages too */

void host_tlb_flush_page(hva_t at)
{
	__asm__ volatile("invlpg (%0)" ::"r"(at.hva) : "memory");
}

static void invpcid_everything(void)
{
	const struct {
		uint64_t pcid, address;
	} ignored = { 0, 0 };

	__asm__ volatile("invpcid %0, %1" ::"m"(ignored), "r"(INVPCID_EVERYTHING) : "memory");
}

/*
 * A write that changes PGE, either way, forgets everything. (SDM vol. 3, 5.10.4.1) Turned over, not
 * off and on: an NMI between the two that flushes as well then changes it, too.
 */
static void turn_global_pages_over(void)
{
	uint64_t cr4 = cr4_read();

	cr4_write(cr4 ^ CR4_PGE);
	cr4_write(cr4);
}

void host_tlb_flush_all(void)
{
	/* CPUID brings a guest hypervisor out to its host each time: ask once. */
	static _Atomic int has_invpcid = -1;

	if (has_invpcid < 0)
		has_invpcid = cpuid_leaf(7, 0).ebx >> CPUID_7_EBX_INVPCID & 1;
	if (has_invpcid > 0)
		invpcid_everything();
	else
		turn_global_pages_over();
}

void host_tlb_kick(unsigned cpu)
{
	apic_send_nmi(per_cpu[cpu].apic_id);
}
