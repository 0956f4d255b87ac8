/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Does what a guest must not be able to do any harm with, and counts what came back. Most probes
 * end in an exception of its own; those that stop the guest are chosen with cmdline "probe=N": 1
 * read, 2 write, 3 execute beyond its memory   4 triple fault   5 write at the highest address 6
 * spin for ever with interrupts off            7 endless exception in delivering an exception 8
 * endless exits
 */
#include "guest/tiny/tiny.h"

static unsigned probes, surprises;

/* Any answer is fine as long as there is one; `never` is one that would mean that it worked. */
static void probe(const char *name, void (*f)(uint64_t), uint64_t arg, bool must_trap)
{
	unsigned vector = try(f, arg);

	probes++;
	if (must_trap && vector == TINY_NO_TRAP) {
		surprises++;
		say("hostile: SURPRISE: %s was let through\n", name);
	}
}

#define INSTRUCTION(name, text)                                                     \
	static void name(uint64_t arg)                                              \
	{                                                                           \
		__asm__ volatile(text ::"a"(arg), "c"(0), "d"(0) : "memory", "cc"); \
	}

INSTRUCTION(do_vmrun, "vmrun %%rax")
INSTRUCTION(do_vmload, "vmload %%rax")
INSTRUCTION(do_vmsave, "vmsave %%rax")
INSTRUCTION(do_stgi, "stgi")
INSTRUCTION(do_clgi, "clgi")
INSTRUCTION(do_skinit, "skinit %%eax")
INSTRUCTION(do_invlpga, "invlpga %%rax, %%ecx")
INSTRUCTION(do_vmxoff, ".byte 0x0f, 0x01, 0xc4")
INSTRUCTION(do_vmlaunch, ".byte 0x0f, 0x01, 0xc2")
INSTRUCTION(do_vmresume, ".byte 0x0f, 0x01, 0xc3")
INSTRUCTION(do_vmread, ".byte 0x0f, 0x78, 0xc0")
INSTRUCTION(do_rsm, ".byte 0x0f, 0xaa")
INSTRUCTION(do_monitor, "monitor")
INSTRUCTION(do_mwait, "mwait")
INSTRUCTION(do_rdpmc, "rdpmc")
INSTRUCTION(do_wbinvd, "wbinvd")
INSTRUCTION(do_invd, "invd")
INSTRUCTION(do_ud2, "ud2")
INSTRUCTION(do_int3, "int3")
INSTRUCTION(do_lmsw, "lmsw %%ax")
INSTRUCTION(do_cr0, "mov %%rax, %%cr0")
INSTRUCTION(do_cr4, "mov %%rax, %%cr4")
INSTRUCTION(do_cr8, "mov %%rax, %%cr8")
INSTRUCTION(do_dr7, "mov %%rax, %%dr7")

static void do_xsetbv(uint64_t value)
{
	__asm__ volatile("xsetbv" ::"a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(0));
}

static void do_rdmsr(uint64_t msr)
{
	rdmsr((uint32_t)msr);
}

static void do_rewrite_msr(uint64_t msr)
{
	wrmsr((uint32_t)msr, rdmsr((uint32_t)msr));
}

static void do_wrmsr_garbage(uint64_t msr)
{
	wrmsr((uint32_t)msr, UINT64_C(0xdeadbeefcafe1234));
}

static void do_efer(uint64_t value)
{
	wrmsr(0xc0000080, value);
}

static void probe_instructions(void)
{
	probe("vmrun", do_vmrun, 0x1000, true);
	probe("vmload", do_vmload, 0x1000, true);
	probe("vmsave", do_vmsave, 0x1000, true);
	probe("stgi", do_stgi, 0, true);
	probe("clgi", do_clgi, 0, true);
	probe("skinit", do_skinit, 0, true);
	probe("invlpga", do_invlpga, 0, true);
	probe("vmxoff", do_vmxoff, 0, true);
	probe("vmlaunch", do_vmlaunch, 0, true);
	probe("vmresume", do_vmresume, 0, true);
	probe("vmread", do_vmread, 0, true);
	probe("rsm", do_rsm, 0, true);
	probe("monitor", do_monitor, 0x1000, true);
	probe("mwait", do_mwait, 0, true);
	probe("rdpmc", do_rdpmc, 0, true);
	probe("ud2", do_ud2, 0, true);
	probe("int3", do_int3, 0, true);
	probe("wbinvd", do_wbinvd, 0, false);
	probe("invd", do_invd, 0, false);
	probe("lmsw", do_lmsw, 1, false);
}

static void probe_control_registers(void)
{
	uint64_t cr0, cr4;

	__asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	probe("cr0 with PG and without PE", do_cr0, cr0 & ~1ul, true);
	probe("cr0 with NW and without CD", do_cr0, cr0 | 1ul << 29, true);
	probe("cr0 with a high bit", do_cr0, cr0 | 1ul << 40, true);
	probe("cr0 with CD", do_cr0, cr0 | 1ul << 30, false);
	probe("cr0 as it was", do_cr0, cr0, false);
	probe("cr4 without PAE in long mode", do_cr4, cr4 & ~(1ul << 5), true);
	probe("cr4 with a reserved bit", do_cr4, cr4 | 1ul << 30, true);
	probe("cr4 with VMXE", do_cr4, cr4 | 1ul << 13, false);
	probe("cr4 as it was", do_cr4, cr4, false);
	probe("cr8", do_cr8, 15, false);
	probe("dr7 with high bits", do_dr7, 1ul << 40, true);
	probe("efer without LME in long mode", do_efer, 0xd00 & ~0x100, true);
	probe("efer with SVME", do_efer, 0x1d00, true);
	probe("xcr0 without x87", do_xsetbv, 0, true);
	probe("xcr0 with everything", do_xsetbv, ~0ul, true);
}

static bool keeps_running(uint32_t msr)
{
	/* Its own mode, and where its next instruction or data would come from. */
	return msr == 0xc0000080 || msr == 0xc0000100 || msr == 0xc0000101;
}

static void probe_msrs(void)
{
	static const uint32_t ranges[][2] = {
		{ 0, 0x1000 },
		{ 0x40000000, 0x40000200 },
		{ 0xc0000000, 0xc0000200 },
		{ 0xc0010000, 0xc0010200 },
	};

	for (unsigned r = 0; r < 4; r++) {
		for (uint32_t msr = ranges[r][0]; msr < ranges[r][1]; msr++) {
			probe("rdmsr", do_rdmsr, msr, false);
			if (keeps_running(msr))
				continue;
			probe("wrmsr", do_rewrite_msr, msr, false);
			probe("wrmsr garbage", do_wrmsr_garbage, msr, false);
		}
	}
}

static void do_in(uint64_t port)
{
	in8((uint16_t)port);
}

static void do_out(uint64_t port)
{
	out8((uint16_t)port, 0xa5);
}

static bool is_console(uint32_t port)
{
	return (port >= 0x3f8 && port < 0x400) || port == DEBUG_PORT;
}

static void probe_ports(void)
{
	uint64_t step = option("ports", 1);

	for (uint32_t port = 0; port < 0x10000; port += (uint32_t)step)
		probe("in", do_in, port, false);
	for (uint32_t port = 0; port < 0x10000; port += (uint32_t)step)
		if (!is_console(port))
			probe("out", do_out, port, false);
	/* What really ends a machine, were it the real one. */
	probe("out to the exit port", do_out, 0xf4, false);
	probe("out to the reset port", do_out, 0xcf9, false);
	probe("out to the keyboard controller", do_out, 0x64, false);
	probe("out to the debugger port", do_out, 0x8900, false);
}

static void do_hypercall(uint64_t number)
{
	hypercall((uint32_t)number, 0xffffffff, 0xffffffff);
}

static void probe_hypercalls(void)
{
	probe("start of a vCPU that is not there", do_hypercall, HC_CPU_START, false);
	probe("report of a counter that is not there", do_hypercall, HC_REPORT, false);
	probe("yield", do_hypercall, HC_YIELD, false);
	for (uint64_t n = 7; n < 64; n++)
		probe("unknown hypercall", do_hypercall, n, false);
	probe("unknown hypercall", do_hypercall, 0xffffffff, false);
}

static void triple_fault(void)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} none = { 0, 0 };

	__asm__ volatile("lidt %0; ud2" ::"m"(none));
}

/* An exception whose delivery raises an exception whose delivery ...: #AC needs CPL 3, #DB a data
 * breakpoint on the stack that the CPU pushes to. */
static void endless_debug(void)
{
	uint64_t at = 0x6ff0;

	__asm__ volatile("mov %0, %%dr0; mov %1, %%dr7" ::"r"(at), "r"(0x00090402ul | 1ul << 18));
	__asm__ volatile("mov $0x7000, %%rsp; pushfq; orq $0x100, (%%rsp); popfq; nop; nop; int3" ::
				 : "memory");
}

static void run_away(uint64_t which)
{
	volatile uint64_t *beyond = (volatile uint64_t *)((uint64_t)boot_page()->mem_pages << 12);

	say("hostile: probe %u\n", which);
	if (which == 1)
		say("hostile: SURPRISE: read 0x%x\n", *beyond);
	else if (which == 2)
		*beyond = 1;
	else if (which == 3)
		((void (*)(void))beyond)();
	else if (which == 4)
		triple_fault();
	else if (which == 5)
		*(volatile uint64_t *)0x3ffffff8 = 1;
	else if (which == 7)
		endless_debug();
	while (which == 6)
		__asm__ volatile("cli");
	while (which == 8)
		hypercall(HC_VERSION, 0, 0);
}

int guest_main(void)
{
	uint64_t which = option("probe", 0);

	traps_setup();
	if (which != 0) {
		run_away(which);
		return 1;
	}
	probe_instructions();
	probe_control_registers();
	probe_msrs();
	probe_ports();
	probe_hypercalls();
	say("hostile: %s %u probes, %u surprises\n", surprises ? "FAIL" : "contained",
	    (uint64_t)probes, (uint64_t)surprises);
	return surprises != 0;
}
