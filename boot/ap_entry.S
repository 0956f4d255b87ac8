/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Where another CPU starts: in real mode, at a page below 1 MiB that boot/smp.c copies this to. It
 * goes to 32 bits, takes the boot tables and goes on at ap_main on the stack that waits for it.
 */
	.section .rodata
	.globl ap_trampoline, ap_trampoline_end
	.code16
ap_trampoline:
	cli
	cld
	movw %cs, %ax
	movw %ax, %ds
	/* The page's address into the far pointer and the GDT pointer. */
	xorl %ebx, %ebx
	movw %ax, %bx
	shll $4, %ebx
	lgdtl ap_gdt_pointer - ap_trampoline
	movl %cr0, %eax
	orl $1, %eax
	movl %eax, %cr0
	ljmpl *(ap_jump - ap_trampoline)

	.balign 8
	.globl ap_jump, ap_gdt_pointer, ap_gdt
ap_jump:
	.long ap_start32 - ap_trampoline /* boot/smp.c adds the page's address */
	.short 8
	.balign 8
ap_gdt:
	.quad 0
	.quad 0x00cf9b000000ffff
	.quad 0x00cf93000000ffff
ap_gdt_pointer:
	.short 23
	.long ap_gdt - ap_trampoline /* likewise */

	.code32
ap_start32:
	movl $16, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $ap_low_entry, %eax
	jmp *%eax
ap_trampoline_end:

	.section .boot.text, "ax"
	.code32
ap_low_entry:
	movl $ap_stack_top, %esp
	call boot_paging_on
	lgdt boot_gdt_pointer
	ljmp $8, $ap_entry64
	.code64
ap_entry64:
	movl $16, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	movq $ap_cr3, %rax
	movq (%rax), %rbx
	movq $ap_stack, %rax
	movq (%rax), %rsp
	movq $ap_high_entry, %rax
	jmp *%rax

	.section .boot.bss, "aw", @nobits
	.balign 16
	.skip 64
ap_stack_top:

	/* In the image, mapped alike by the boot tables and by the ones that are loaded here. */
	.section .text
ap_high_entry:
	movq %rbx, %cr3
	xorl %ebp, %ebp
	pushq $0
	pushq $0
	call ap_main
1:	hlt
	jmp 1b

	.section .note.GNU-stack, "", @progbits
