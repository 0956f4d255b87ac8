/* SPDX-License-Identifier: MPL-2.0 */
#include "base/x86/percpu.h"

#include "base/x86/cpuid.h"
#include "base/x86/msr.h"
#include "base/x86/regs.h"
#include "base/x86/trap.h"

#define GDT_CODE UINT64_C(0x00af9b000000ffff)
#define GDT_DATA UINT64_C(0x00cf93000000ffff)

/* Types 0..3 are what PWT and PCD choose: WB, WT, WC, UC; 4..7 repeat them. */
#define PAT_VALUE UINT64_C(0x0001040600010406)

struct per_cpu per_cpu[MAX_CPUS];
unsigned cpu_count = 1;

struct __attribute__((packed)) table_pointer {
	uint16_t limit;
	uint64_t base;
};

static void gdt_setup(struct per_cpu *c)
{
	uint64_t tss = (uint64_t)(uintptr_t)&c->tss;
	struct table_pointer gdtr = { sizeof(c->gdt) - 1, (uint64_t)(uintptr_t)c->gdt };

	c->gdt[0] = 0;
	c->gdt[SEL_CODE / 8] = GDT_CODE;
	c->gdt[SEL_DATA / 8] = GDT_DATA;
	c->gdt[SEL_TSS / 8] = (sizeof(struct tss) - 1) | (tss & 0xffffff) << 16 |
			      UINT64_C(0x89) << 40 | (tss >> 24 & 0xff) << 56;
	c->gdt[SEL_TSS / 8 + 1] = tss >> 32;
	__asm__ volatile("lgdt %0\n\t"
			 "pushq %1\n\t"
			 "leaq 1f(%%rip), %%rax\n\t"
			 "pushq %%rax\n\t"
			 "lretq\n"
			 "1:\tmovl %2, %%eax\n\t"
			 "movl %%eax, %%ds\n\t"
			 "movl %%eax, %%es\n\t"
			 "movl %%eax, %%ss\n\t"
			 "xorl %%eax, %%eax\n\t"
			 "movl %%eax, %%fs\n\t"
			 "movl %%eax, %%gs\n\t"
			 "ltr %w3"
			 :
			 : "m"(gdtr), "i"(SEL_CODE), "i"(SEL_DATA), "r"(SEL_TSS)
			 : "rax", "memory");
}

static void protections_setup(void)
{
	struct cpuid seven = cpuid_leaf(7, 0);
	uint64_t cr4 = cr4_read() | CR4_PAE | CR4_PGE | CR4_MCE;

	if (seven.ebx >> 7 & 1)
		cr4 |= CR4_SMEP;
	if (seven.ebx >> 20 & 1)
		cr4 |= CR4_SMAP;
	if (seven.ecx >> 2 & 1)
		cr4 |= CR4_UMIP;
	/* The guests' FPU state is saved and loaded with FXSAVE and XSAVE. */
	cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
	if (cpuid_leaf(1, 0).ecx >> 26 & 1)
		cr4 |= CR4_OSXSAVE;
	/* Turned off and on, PGE drops the translations that the boot tables had made global. */
	cr4_write(cr4 & ~CR4_PGE);
	cr4_write(cr4);
	cr0_write((cr0_read() | CR0_WP | CR0_NE | CR0_MP) & ~(CR0_CD | CR0_NW | CR0_EM | CR0_TS));
	msr_write(MSR_EFER, msr_read(MSR_EFER) | EFER_NXE);
	msr_write(MSR_PAT, PAT_VALUE);
}

void percpu_setup(unsigned id, const hva_t ist[IST_COUNT])
{
	struct per_cpu *c = &per_cpu[id];

	c->id = id;
	for (unsigned i = 0; i < IST_COUNT; i++)
		c->tss.ist[i] = ist[i].hva;
	c->tss.io_map = sizeof(struct tss);
	gdt_setup(c);
	msr_write(MSR_GS_BASE, (uint64_t)(uintptr_t)c);
	msr_write(MSR_KERNEL_GS_BASE, 0);
	trap_load();
	protections_setup();
}
