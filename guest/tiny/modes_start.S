/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The start of modes: checks of its own in real mode and in protected mode, without and with
 * paging, before it goes on into long mode as the other guests do. Results are in modes_passed and
 * modes_failed, which are in .data: start32 clears .bss.
 */
#include "guest/boot_page.h"
#include "guest/hypercall.h"

#define UART	  0x3f8
#define UART_SCRATCH 0x3ff
#define CR0_PE	  0x00000001
#define CR0_PG	  0x80000000
#define CR4_PSE	  0x10
#define CR4_PAE	  0x20
#define ALIAS	  0x40000000	/* linear address that paging maps to SCRATCH */
#define SCRATCH	  0x90000
#define ABSENT	  0x50000000
#define PTE_PWU	  7
#define PTE_LARGE 0x80
#define VECTOR_UD 6
#define VECTOR_GP 13
#define VECTOR_PF 14
#define NOTHING	  0xff

/* Count a check: passed when condition \cc holds now. Flags are lost. */
	.macro check16 cc, text
	j\cc check_ok\@
	pushl %esi
	movl $check_text\@, %esi
	call fail16
	popl %esi
	jmp check_end\@
check_text\@:
	.asciz "\text"
check_ok\@:
	incl modes_passed
check_end\@:
	.endm

	.macro check32 cc, text
	j\cc check_ok\@
	pushl %esi
	movl $check_text\@, %esi
	call fail32
	popl %esi
	jmp check_end\@
check_text\@:
	.asciz "\text"
check_ok\@:
	incl modes_passed
check_end\@:
	.endm

/* An interrupt vector of real mode. */
	.macro vector16 number, handler
	movw $\handler, \number * 4
	movw $0, \number * 4 + 2
	.endm

	.section .start, "ax"
	.code16
	.globl modes_start
modes_start:
	movw %cs, %ax
	movw %ax, %ss
	movw $0x7000, %sp
	pushfl
	popl %edi		/* flags as they came */
	cli
	cld
	movw %cs, %ax
	testw %ax, %ax
	pushf
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %es
	popf
	check16 z, "CS is not 0 at an entry below 64 KiB"
	cmpl $2, %edi
	check16 e, "flags are not 2 at the start"
	smsww %ax
	testb $CR0_PE, %al
	check16 z, "CR0.PE is set at the start"
	movl %cr0, %eax
	testl $CR0_PG, %eax
	check16 z, "CR0.PG is set at the start"
	movl %cr3, %eax
	testl %eax, %eax
	check16 z, "CR3 is not 0 at the start"
	cmpl $GUEST_BOOT_MAGIC, GUEST_BOOT_PAGE
	check16 e, "no boot page at 0x500"

	/* Address line 20: 0x600 and 0x100600 are two places. */
	movw $0xffff, %ax
	movw %ax, %fs
	movl $0x12345678, 0x600
	movl $0x9abcdef0, %fs:0x610
	cmpl $0x12345678, 0x600
	check16 e, "address line 20 is off"

	/* One linear address through two segments, and a block move between segments. */
	movw $0x7000, %ax
	movw %ax, %es
	movw $0x7001, %ax
	movw %ax, %gs
	movl $0xcafe0016, %es:0x10
	cmpl $0xcafe0016, %gs:0
	check16 e, "two segments do not meet at one address"
	movw $0x7c00, %si
	movw $0x100, %di
	movl $0x01020304, 0x7c00
	movl $0x05060708, 0x7c04
	movw $8, %cx
	rep movsb
	cmpl $0x05060708, %es:0x104
	check16 e, "a block move to another segment went wrong"

	/* Exceptions and interrupts by the table at 0; %dx says what came. */
	vector16 0, on_divide16
	vector16 VECTOR_UD, on_undefined16
	vector16 0x40, on_int16
	xorl %edx, %edx
	movw $0, %ax
	divb %dl
	cmpw $0x00de, %dx
	check16 e, "a division by 0 did not come as interrupt 0"
	xorl %edx, %edx
	ud2
	cmpw $0x0006, %dx
	check16 e, "UD2 did not come as interrupt 6"
	int $0x40
	cmpw $0x4040, %dx
	check16 e, "INT 0x40 did not arrive"

	/* Exits taken from real mode. */
	movl $0, %eax
	cpuid
	cmpl $1, %eax
	check16 ae, "CPUID knows no leaf"
	movl %ebx, %ebp
	movl $HC_VERSION, %eax
	call hypercall16
	cmpl $HC_MAGIC, %eax
	check16 e, "a hypercall from real mode does not answer"
	movb $0, %al
	inb $DEBUG_PORT, %al
	cmpb $DEBUG_PORT, %al
	check16 e, "port 0xe9 does not answer"
	movl $0x277, %ecx
	rdmsr
	cmpl $0x00070406, %eax
	check16 e, "the PAT is not what it is after reset"

	/* Strings of ports, done by the hypervisor: ES is 0x7000, DS 0. */
	vector16 VECTOR_GP, on_protection16
	movw $UART_SCRATCH, %dx
	movb $0x5a, 0x7c10
	movw $0x7c10, %si
	outsb
	inb %dx, %al
	cmpb $0x5a, %al
	check16 e, "OUTS in real mode sent something else"
	cmpw $0x7c11, %si
	check16 e, "OUTS in real mode left SI elsewhere"
	movw $0xfffe, %di
	movw $2, %cx
	rep insb
	cmpw $0x5a5a, %es:0xfffe
	check16 e, "REP INS in real mode stored something else"
	movl %ecx, %eax
	orw %di, %ax
	check16 z, "REP INS in real mode left CX or DI elsewhere"
	movw $0xffff, %di
	movw $1f, %bp
	insw
1:	cmpw $VECTOR_GP, %dx
	check16 e, "INSW over the segment's end did not come as interrupt 13"
	xorl %edx, %edx
	movl $0xc0001234, %ecx
	movw $1f, %bp
	rdmsr
1:	cmpw $VECTOR_GP, %dx
	check16 e, "an MSR that there is not did not come as interrupt 13"
	cmpw $0x7000, %sp
	check16 e, "interrupt 13 left something on the stack"
	movl $stage16, %esi
	call puts16

	cli
	lgdtl gdt_pointer
	movl %cr0, %eax
	orb $CR0_PE, %al
	movl %eax, %cr0
	ljmpl $0x08, $modes32

on_divide16:
	movw $0x00de, %dx
	movw %sp, %bx
	addw $2, %ss:(%bx)	/* DIV and UD2 have two bytes */
	iretw
on_undefined16:
	movw $6, %dx
	movw %sp, %bx
	addw $2, %ss:(%bx)
	iretw
on_protection16:
	movw $VECTOR_GP, %dx
	movw %sp, %bx
	movw %bp, %ss:(%bx)
	iretw
on_int16:
	movw $0x4040, %dx
	iretw

/* eax -> eax; ebp: the vendor, from CPUID. */
hypercall16:
	cmpl $0x756e6547, %ebp	/* "Genu" */
	je 1f
	vmmcall
	ret
1:	vmcall
	ret

fail16:
	pushal
	incl modes_failed
	pushl %esi
	movl $text_fail, %esi
	call puts16
	popl %esi
	call puts16
	movl $text_end, %esi
	call puts16
	popal
	ret

puts16:
	movw $UART, %dx
1:	lodsb
	testb %al, %al
	jz 2f
	outb %al, %dx
	jmp 1b
2:	ret

/* --- protected mode ---------------------------------------------------------------------- */

	.code32
modes32:
	movw $0x10, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw %ax, %fs
	movw %ax, %gs
	movl $0x7000, %esp
	movl %cr0, %eax
	testb $CR0_PE, %al
	check32 nz, "CR0.PE is not set in protected mode"
	movw %cs, %ax
	cmpw $0x08, %ax
	check32 e, "CS is not the selector of the jump"
	movw $0x08, %ax
	lsll %eax, %ecx
	cmpl $0xffffffff, %ecx
	check32 e, "the limit of a flat segment is not 4 GiB"
	movw $0x40, %ax
	lsll %eax, %ecx
	cmpl $0xfff, %ecx
	check32 e, "the limit of a 4 KiB segment is not 0xfff"
	larl %eax, %ecx
	andl $0xfe00, %ecx
	cmpl $0x9200, %ecx
	check32 e, "the rights of a data segment are not those of its descriptor"
	xorl %eax, %eax
	lsll %eax, %ecx
	check32 nz, "the null selector has a limit"

	/* The table of interrupts, and three exceptions. */
	movl $UINT_GATES, %ecx
	xorl %ebx, %ebx
1:	movl gates32(,%ebx,8), %edi
	movl gates32 + 4(,%ebx,8), %eax
	movw %ax, idt32(,%edi,8)
	movw $0x08, idt32 + 2(,%edi,8)
	movw $0x8e00, idt32 + 4(,%edi,8)
	shrl $16, %eax
	movw %ax, idt32 + 6(,%edi,8)
	incl %ebx
	loop 1b
	lidtl idt32_pointer
	movl $2f, resume32
	ud2
2:	cmpl $VECTOR_UD, seen_vector
	check32 e, "UD2 is not exception 6"
	movl $NOTHING, seen_vector
	movl $2f, resume32
	movw $0xf8, %ax
	movw %ax, %fs
2:	cmpl $VECTOR_GP, seen_vector
	check32 e, "a selector beyond the table is not exception 13"
	cmpl $0xf8, seen_error
	check32 e, "exception 13 does not name the selector"
	movl $NOTHING, seen_vector
	movl $2f, resume32
	xorl %edx, %edx
	xorl %ecx, %ecx
	divl %ecx
2:	cmpl $0, seen_vector
	check32 e, "a division by 0 is not exception 0"
	movl $NOTHING, seen_vector
	movl $2f, resume32
	int $0x40
2:	cmpl $0x40, seen_vector
	check32 e, "INT 0x40 did not arrive"

	/* Memory above 1 MiB, where real mode does not reach. */
	movl $0x5a5a1234, 0x200000
	movl $0, 0x600
	cmpl $0x5a5a1234, 0x200000
	check32 e, "memory above 1 MiB does not keep what is written"

	/* What long mode needs, before it is tried. */
	movl $0x80000000, %eax
	cpuid
	cmpl $0x80000001, %eax
	check32 ae, "CPUID has no extended leaves"
	movl $0x80000001, %eax
	cpuid
	btl $29, %edx
	check32 c, "CPUID shows no long mode"
	movl $0x80000001, %eax
	cpuid
	btl $20, %edx
	check32 c, "CPUID shows no NX"
	movl $1, %eax
	cpuid
	btl $6, %edx
	check32 c, "CPUID shows no PAE"
	xorl %eax, %eax
	cpuid
	movl $HC_VERSION, %eax
	call hypercall32
	cmpl $HC_MAGIC, %eax
	check32 e, "a hypercall from protected mode does not answer"

	/* Two levels: the first 4 MiB as one page, ALIAS by a table. */
	movl $PTE_PWU + PTE_LARGE, tables32
	movl $tables32 + 4096 + PTE_PWU, tables32 + (ALIAS >> 22) * 4
	movl $SCRATCH + PTE_PWU, tables32 + 4096
	movl %cr4, %eax
	orl $CR4_PSE, %eax
	movl %eax, %cr4
	call paging_on
	call check_alias
	check32 e, "two-level paging maps to the wrong place"
	call touch_absent
	check32 e, "a page that is not there is not exception 14"
	cmpl $ABSENT, seen_cr2
	check32 e, "CR2 is not the address that faulted"
	cmpl $2, seen_error
	check32 e, "exception 14 of a write is not error code 2"
	testl $0x20, tables32 + 4096
	check32 nz, "the accessed bit of a two-level table was not set"
	call paging_off

	/* Three levels: PAE. */
	movl $0, %eax
	movl $tables32, %edi
	movl $3 * 1024, %ecx
	rep stosl
	movl $tables32 + 4096 + 1, tables32
	movl $tables32 + 8192 + 1, tables32 + (ALIAS >> 30) * 8
	movl $PTE_PWU + PTE_LARGE, tables32 + 4096
	movl $0x200000 + PTE_PWU + PTE_LARGE, tables32 + 4096 + 8
	movl $tables32 + 12288 + PTE_PWU, tables32 + 8192
	movl $SCRATCH + PTE_PWU, tables32 + 12288
	movl %cr4, %eax
	andl $~CR4_PSE, %eax
	orl $CR4_PAE, %eax
	movl %eax, %cr4
	call paging_on
	call check_alias
	check32 e, "three-level paging maps to the wrong place"
	call touch_absent
	check32 e, "a page that is not there is not exception 14 (PAE)"
	testl $0x40, tables32 + 12288
	check32 nz, "the dirty bit of a three-level table was not set"
	call paging_off

	movl $stage32, %esi
	call puts32
	movw $0x10, %ax
	movw %ax, %fs
	xorl %ebp, %ebp
	jmp start32

paging_on:
	movl $tables32, %eax
	movl %eax, %cr3
	movl %cr0, %eax
	orl $CR0_PG, %eax
	movl %eax, %cr0
	ret

paging_off:
	movl %cr0, %eax
	andl $~CR0_PG, %eax
	movl %eax, %cr0
	xorl %eax, %eax
	movl %eax, %cr3
	ret

/* A write through ALIAS is seen at SCRATCH? Answers in ZF. */
check_alias:
	movl $0, SCRATCH + 0x34
	movl $0xa11a5ed0, ALIAS + 0x34
	cmpl $0xa11a5ed0, SCRATCH + 0x34
	ret

touch_absent:
	movl $NOTHING, seen_vector
	movl $1f, resume32
	movl $1, ABSENT
1:	cmpl $VECTOR_PF, seen_vector
	ret

/* ebx: from CPUID leaf 0. */
hypercall32:
	cmpl $0x756e6547, %ebx	/* "Genu" */
	je 1f
	vmmcall
	ret
1:	vmcall
	ret

fail32:
	pushal
	incl modes_failed
	pushl %esi
	movl $text_fail, %esi
	call puts32
	popl %esi
	call puts32
	movl $text_end, %esi
	call puts32
	popal
	ret

puts32:
	movw $UART, %dx
1:	lodsb
	testb %al, %al
	jz 2f
	outb %al, %dx
	jmp 1b
2:	ret

/* Notes vector and error code, and goes on at resume32. */
trap32_de:
	pushl $0
	pushl $0
	jmp trap32
trap32_ud:
	pushl $0
	pushl $VECTOR_UD
	jmp trap32
trap32_gp:
	pushl $VECTOR_GP
	jmp trap32
trap32_pf:
	pushl $VECTOR_PF
	jmp trap32
trap32_int:
	pushl $0
	pushl $0x40
trap32:
	popl seen_vector
	popl seen_error
	pushl %eax
	movl %cr2, %eax
	movl %eax, seen_cr2
	movl resume32, %eax
	movl %eax, 4(%esp)
	popl %eax
	iretl

	.set UINT_GATES, 5
	.balign 8
gates32:
	.long 0, trap32_de
	.long VECTOR_UD, trap32_ud
	.long VECTOR_GP, trap32_gp
	.long VECTOR_PF, trap32_pf
	.long 0x40, trap32_int
idt32_pointer:
	.word 0x41 * 8 - 1
	.long idt32

text_fail:
	.asciz "modes: FAIL: "
text_end:
	.asciz "\n"
stage16:
	.asciz "modes: real mode done\n"
stage32:
	.asciz "modes: protected mode done\n"

	.data
	.balign 4
	.globl modes_passed, modes_failed
modes_passed:
	.long 0
modes_failed:
	.long 0
resume32:
	.long 0
seen_vector:
	.long NOTHING
seen_error:
	.long 0
seen_cr2:
	.long 0

	.bss
	.balign 4096
tables32:
	.skip 4 * 4096
idt32:
	.skip 0x41 * 8
	.section .note.GNU-stack, "", @progbits
