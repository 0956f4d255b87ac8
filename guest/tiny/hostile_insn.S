/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Instructions that a guest has no business with, or that are odd: a table of functions, each one
 * instruction, with a name and what must come of it. They get rax = 0x1000, rcx = rdx = 0, rdi: a
 * page of memory.
 */
	.section .rodata
	.globl insns, insns_end
insns:
	.text

/* EITHER: an exception or not. FAULTS: an exception. */
#define EITHER 0
#define FAULTS 1

	.macro insn name, outcome, a, b, c, d, e, f
	.balign 16
insn_\name:
	movl $0x1000, %eax
	xorl %ecx, %ecx
	xorl %edx, %edx
	\a
	\b
	\c
	\d
	\e
	\f
	ret
	.pushsection .rodata.str
text_\name:
	.asciz "\name"
	.popsection
	.pushsection .rodata
	.quad text_\name, insn_\name, \outcome
	.popsection
	.endm

	/* AMD-V */
	insn vmrun, FAULTS, "vmrun %rax"
	insn vmload, FAULTS, "vmload %rax"
	insn vmsave, FAULTS, "vmsave %rax"
	insn stgi, FAULTS, "stgi"
	insn clgi, FAULTS, "clgi"
	insn skinit, FAULTS, "skinit %eax"
	insn invlpga, FAULTS, "invlpga %rax, %ecx"
	/* VT-x */
	insn vmxon, FAULTS, "vmxon (%rdi)"
	insn vmxoff, FAULTS, "vmxoff"
	insn vmclear, FAULTS, "vmclear (%rdi)"
	insn vmptrld, FAULTS, "vmptrld (%rdi)"
	insn vmptrst, FAULTS, "vmptrst (%rdi)"
	insn vmread, FAULTS, "vmread %rax, %rcx"
	insn vmwrite, FAULTS, "vmwrite %rcx, %rax"
	insn vmlaunch, FAULTS, "vmlaunch"
	insn vmresume, FAULTS, "vmresume"
	insn invept, FAULTS, "invept (%rdi), %rax"
	insn invvpid, FAULTS, "invvpid (%rdi), %rax"
	insn vmfunc, FAULTS, "vmfunc"
	/* System management, secure modes */
	insn rsm, FAULTS, "rsm"
	insn getsec, EITHER, ".byte 0x0f, 0x37"
	insn encls, FAULTS, ".byte 0x0f, 0x01, 0xcf"
	insn enclu, FAULTS, ".byte 0x0f, 0x01, 0xd7"
	insn pconfig, FAULTS, ".byte 0x0f, 0x01, 0xc5"
	insn seamcall, FAULTS, ".byte 0x66, 0x0f, 0x01, 0xcf"
	/* Waiting and measuring */
	insn monitor, FAULTS, "monitor"
	insn mwait, FAULTS, "mwait"
	insn monitorx, FAULTS, ".byte 0x0f, 0x01, 0xfa"
	insn mwaitx, FAULTS, ".byte 0x0f, 0x01, 0xfb"
	insn umonitor, EITHER, ".byte 0xf3, 0x0f, 0xae, 0xf0"
	insn tpause, EITHER, ".byte 0x66, 0x0f, 0xae, 0xf0"
	insn pause, EITHER, "pause"
	insn rdpmc, FAULTS, "rdpmc"
	insn rdtsc, EITHER, "rdtsc"
	insn rdtscp, EITHER, "rdtscp"
	insn rdpid, EITHER, ".byte 0xf3, 0x0f, 0xc7, 0xf8"
	insn rdrand, EITHER, "rdrand %eax"
	insn rdseed, EITHER, "rdseed %eax"
	/* Caches and translations */
	insn wbinvd, EITHER, "wbinvd"
	insn wbnoinvd, EITHER, ".byte 0xf3, 0x0f, 0x09"
	insn invd, EITHER, "invd"
	insn clflush, EITHER, "clflush (%rdi)"
	insn invlpg_hole, EITHER, "movq $0x4000000000000000, %rax", "invlpg (%rax)"
	insn invpcid, EITHER, ".byte 0x66, 0x0f, 0x38, 0x82, 0x07"
	insn invlpgb, EITHER, ".byte 0x0f, 0x01, 0xfe"
	insn tlbsync, EITHER, ".byte 0x0f, 0x01, 0xff"
	/* Exceptions on purpose */
	insn ud2, FAULTS, "ud2"
	insn ud0, FAULTS, ".byte 0x0f, 0xff, 0xc0"
	insn icebp, EITHER, ".byte 0xf1"
	insn int3, FAULTS, "int3"
	insn int_80, FAULTS, "int $0x80"
	insn into, FAULTS, ".byte 0xce"
	insn lock_ud, FAULTS, ".byte 0xf0, 0x0f, 0x0b"
	insn lock_nop, FAULTS, ".byte 0xf0, 0x90"
	insn too_long, FAULTS, ".byte 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90"
	insn mov_cs, FAULTS, ".byte 0x8e, 0xc8"
	insn loadall, EITHER, ".byte 0x0f, 0x07"
	/* Descriptor tables and selectors */
	insn lmsw, EITHER, "smsw %ax", "lmsw %ax"
	insn smsw, EITHER, "smsw %rax"
	insn clts, EITHER, "clts"
	insn sgdt, EITHER, "sgdt (%rdi)"
	insn sidt, EITHER, "sidt (%rdi)"
	insn sldt, EITHER, "sldt %eax"
	insn str, EITHER, "str %eax"
	insn lldt_bad, FAULTS, "movw $0x18, %ax", "lldt %ax"
	insn ltr_busy, FAULTS, "movw $0x30, %ax", "ltr %ax"
	insn mov_ss_null, EITHER, "xorl %eax, %eax", "movw %ax, %ss", "nop"
	insn mov_ds_far, FAULTS, "movw $0xfff8, %ax", "movw %ax, %ds"
	insn iretq_bad, FAULTS, "pushq $0", "pushq $0", "pushq $0", "pushq $0", "pushq $0", "iretq"
	insn far_return_bad, FAULTS, "pushq $0x30", "pushq $0", "lretq"
	insn swapgs, EITHER, "swapgs", "swapgs"
	insn sysenter, FAULTS, "sysenter"
	insn sysexit, FAULTS, "sysexitl"
	insn syscall, FAULTS, "syscall"
	insn sysretq, FAULTS, "sysretq"
	insn rdfsbase, EITHER, "rdfsbase %rax"
	/* Registers that can be too full */
	insn mov_cr1, FAULTS, ".byte 0x0f, 0x20, 0xc8"
	insn mov_cr2, EITHER, "mov %rax, %cr2"
	insn mov_cr8, EITHER, "movl $15, %eax", "mov %rax, %cr8", "xorl %eax, %eax", "mov %rax, %cr8"
	insn mov_cr8_big, EITHER, "movl $16, %eax", "mov %rax, %cr8"
	insn mov_dr4, EITHER, "mov %dr4, %rax"
	insn mov_dr6_big, EITHER, "movq $0x100000000, %rax", "mov %rax, %dr6"
	insn mov_dr7_big, EITHER, "movq $0x100000000, %rax", "mov %rax, %dr7"
	insn mov_cr15, FAULTS, ".byte 0x44, 0x0f, 0x20, 0xf8"
	insn xgetbv, EITHER, "xgetbv"
	insn xsetbv_none, FAULTS, "xorl %eax, %eax", "xsetbv"
	insn xsetbv_all, FAULTS, "movl $-1, %eax", "movl %eax, %edx", "xsetbv"
	insn xsetbv_index, FAULTS, "movl $7, %ecx", "movl $1, %eax", "xsetbv"
	insn xsave_odd, FAULTS, "xsave 1(%rdi)"
	insn xrstor_bad, EITHER, "xrstor (%rdi)"
	insn fxsave_odd, FAULTS, "fxsave 1(%rdi)"
	insn stac, EITHER, "stac"
	insn clac, EITHER, "clac"
	insn cmpxchg16_odd, FAULTS, "lock cmpxchg16b 8(%rdi)"
	/* Exits with odd prefixes */
	insn cpuid_rep, EITHER, "pushq %rbx", ".byte 0xf3, 0x0f, 0xa2, 0x90, 0x5b"
	insn out_far, EITHER, "movw $0xffff, %dx", "outl %eax, %dx"

	.section .rodata
insns_end:
	.section .note.GNU-stack, "", @progbits
