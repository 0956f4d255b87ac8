/* SPDX-License-Identifier: MPL-2.0 */
/* Code that changes under its own feet, stacks in odd places, and CPL 3. */
#include "guest/tiny/hostile.h"

#define RUNS 2000

static uint8_t code[2 * 4096] __attribute__((aligned(4096)));

/* Writes "mov $value, %eax; ret", with an exit in it every other time, and runs it. */
static uint32_t run_fresh(uint8_t *at, uint32_t value, bool exits)
{
	volatile uint8_t *p = at;
	uint32_t result;

	if (exits) { /* push %rbx; cpuid; pop %rbx */
		*p++ = 0x53;
		*p++ = 0x0f;
		*p++ = 0xa2;
		*p++ = 0x5b;
	}
	*p++ = 0xb8;
	for (unsigned i = 0; i < 4; i++)
		*p++ = (uint8_t)(value >> (8 * i));
	*p = 0xc3;
	__asm__ volatile("call *%1" : "=a"(result) : "r"(at) : "rcx", "rdx", "memory");
	return result;
}

static void self_modifying(void)
{
	bool right = true;

	for (uint32_t i = 0; i < RUNS; i++) {
		/* Over the page's end, one byte further each time. */
		uint8_t *at = code + 4096 - i % 12;

		right = right && run_fresh(at, i * 0x01010101, i % 2) == i * 0x01010101;
	}
	judge("code that changes", right);
	say("hostile: code that changes: %u runs\n", RUNS);
}

/* --- stacks ------------------------------------------------------------------------------ */

static void undefined_on(void *rsp)
{
	__asm__ volatile("movq %0, %%rsp; ud2" ::"r"(rsp) : "memory");
}

static void cpuid_on(void *rsp)
{
	__asm__ volatile("movq %%rsp, %%rsi; movq %0, %%rsp; cpuid; movq %%rsi, %%rsp" ::"r"(rsp)
			 : "rax", "rbx", "rcx", "rdx", "rsi", "memory");
}

static void single_step(void *arg)
{
	(void)arg;
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq; cpuid; nop; nop" ::
				 : "rax", "rbx", "rcx", "rdx", "cc", "memory");
}

static void stacks(void)
{
	uint64_t odd = (uint64_t)code + 4096 - 3;

	probe("exception on an odd stack", FAULTS, undefined_on, ARG(odd));
	probe("exception at the bottom of memory", FAULTS, undefined_on, ARG(8));
	probe("exception at an address in the hole", FAULTS, undefined_on, ARG(1ul << 63));
	probe("exit on a stack in the hole", EITHER, cpuid_on, ARG(1ul << 63));
	probe("single step over an exit", EITHER, single_step, NULL);
}

void hostile_code(void)
{
	self_modifying();
	stacks();
}

/* --- CPL 3 ------------------------------------------------------------------------------- */

#define USER(name, text)                                                                         \
	static void user_##name(void)                                                            \
	{                                                                                        \
		__asm__ volatile(text ::"a"(0), "c"(0x277), "d"(0x80), "b"(0) : "memory", "cc"); \
	}

USER(hypercall, "vmmcall")
USER(hypercall_intel, "vmcall")
USER(cli, "cli")
USER(hlt, "hlt")
USER(in, "inb %%dx, %%al")
USER(out, "outb %%al, %%dx")
USER(rdmsr, "rdmsr")
USER(wrmsr, "wrmsr")
USER(cr0, "movq %%cr0, %%rax")
USER(cr3, "movq %%rax, %%cr3")
USER(invlpg, "invlpg (%%rax)")
USER(invd, "invd")
USER(lidt, "lidt (%%rsp)")
USER(ltr, "ltr %%ax")
USER(swapgs, "swapgs")
USER(int_gp, "int $13")
USER(int_2, "int $2")
USER(xsetbv, "xorl %%ecx, %%ecx; xsetbv")

void hostile_user(void)
{
	static const struct {
		const char *name;
		void (*f)(void);
	} tries[] = {
		{ "VMMCALL", user_hypercall },
		{ "VMCALL", user_hypercall_intel },
		{ "CLI", user_cli },
		{ "HLT", user_hlt },
		{ "IN", user_in },
		{ "OUT", user_out },
		{ "RDMSR", user_rdmsr },
		{ "WRMSR", user_wrmsr },
		{ "MOV CR0", user_cr0 },
		{ "MOV to CR3", user_cr3 },
		{ "INVLPG", user_invlpg },
		{ "INVD", user_invd },
		{ "LIDT", user_lidt },
		{ "LTR", user_ltr },
		{ "SWAPGS", user_swapgs },
		{ "INT 13", user_int_gp },
		{ "INT 2", user_int_2 },
		{ "XSETBV", user_xsetbv },
	};
	unsigned count = sizeof(tries) / sizeof(tries[0]), faults = 0;

	for (unsigned i = 0; i < count; i++) {
		bool faulted = try_user(tries[i].f) != TRY_DONE;

		judge(tries[i].name, faulted);
		faults += faulted;
	}
	say("hostile: at CPL 3: %u of %u fault\n", faults, count);
}
