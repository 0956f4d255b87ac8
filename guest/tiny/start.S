/* SPDX-License-Identifier: MPL-2.0 */
/*
 * From real mode to long mode, the same way for each vCPU:
 *
 *   _start, ap_start  16 bits, CS = 0      (modes has a start of its own that does more)
 *   start32           32 bits, flat        the first vCPU clears .bss and builds the tables
 *   start64           64 bits              tiny_main, or ap_main on the others
 *
 * Linear addresses 0 .. 4 GiB are the physical ones, in pages of 2 MiB, for CPL 3 too.
 */
#define CR0_PE	  0x00000001
#define CR0_NE_MP 0x00000022
#define CR0_PG	  0x80000000
#define CR4_PAE	  0x20
#define MSR_EFER  0xc0000080
#define EFER_LME  0x100
#define EFER_NXE  0x800
#define PTE_PWU	  0x7
#define PTE_LARGE 0x80

	.section .start, "ax"
	.code16
	.globl _start
_start:
	xorl %ebp, %ebp
	jmp 1f

	.balign 4096
	.globl ap_start
ap_start:
	movl $1, %ebp
1:	cli
	cld
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	lgdtl gdt_pointer
	movl %cr0, %eax
	orb $CR0_PE, %al
	movl %eax, %cr0
	ljmpl $0x08, $start32

	.balign 8
	.globl gdt_pointer
gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt

/* Flat protected mode; ebp: 0 for the first vCPU, which has nothing in .bss that it needs. */
	.code32
	.globl start32
start32:
	movw $0x10, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	testl %ebp, %ebp
	jnz 3f
	xorl %eax, %eax
	movl $bss_start, %edi
	movl $bss_end, %ecx
	subl %edi, %ecx
	shrl $2, %ecx
	rep stosl

	/* pml4[0] -> pdpt[0..3] -> four directories of 2 MiB pages, one after the other. */
	movl $pdpt + PTE_PWU, pml4
	movl $pd + PTE_PWU, %eax
	xorl %edi, %edi
1:	movl %eax, pdpt(,%edi,8)
	addl $4096, %eax
	incl %edi
	cmpl $4, %edi
	jne 1b
	movl $PTE_PWU + PTE_LARGE, %eax
	xorl %edi, %edi
2:	movl %eax, pd(,%edi,8)
	addl $0x200000, %eax
	incl %edi
	cmpl $2048, %edi
	jne 2b

3:	movl %cr4, %eax
	orl $CR4_PAE, %eax
	movl %eax, %cr4
	movl $pml4, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	rdmsr
	orl $EFER_LME + EFER_NXE, %eax
	wrmsr
	movl %cr0, %eax
	orl $CR0_PG + CR0_NE_MP, %eax
	movl %eax, %cr0
	ljmpl $0x18, $start64

	.code64
start64:
	movw $0x10, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	xorl %eax, %eax
	movw %ax, %fs
	movw %ax, %gs
	testl %ebp, %ebp
	jnz 1f
	movl $stack_top, %esp
	call tiny_main
	/* Each of the others takes the next stack. */
1:	movl $1024, %eax
	lock xaddl %eax, ap_stack_next
	leal ap_stacks + 1024(%rax), %esp
	call tiny_ap_main
	ud2

	.data
	.balign 16
	.globl gdt
gdt:	.quad 0
	.quad 0x00cf9b000000ffff	/* 0x08 code, 32 bits */
	.quad 0x00cf93000000ffff	/* 0x10 data */
	.quad 0x00af9b000000ffff	/* 0x18 code, 64 bits */
	.quad 0x00cff3000000ffff	/* 0x20 data, CPL 3 */
	.quad 0x00affb000000ffff	/* 0x28 code, 64 bits, CPL 3 */
	.globl gdt_tss
gdt_tss:
	.quad 0, 0			/* 0x30 task state, filled in by tiny_main */
	.quad 0x0000920000000fff	/* 0x40 data, 4 KiB long */
gdt_end:

	.bss
	.balign 4096
	.globl pml4, pdpt, pd
pml4:	.skip 4096
pdpt:	.skip 4096
pd:	.skip 4 * 4096
	.skip 8192
stack_top:
ap_stacks:
	.skip 8 * 1024
ap_stack_next:
	.skip 8
	.section .note.GNU-stack, "", @progbits
