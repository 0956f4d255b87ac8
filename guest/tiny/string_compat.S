/* SPDX-License-Identifier: MPL-2.0 */
/*
 * INS and OUTS of 32-bit code, where segments have bases, limits and types. Each is called from
 * 64-bit code as f(struct compat *), goes to the 32-bit segment, and comes back, or is left by an
 * exception, which try_call in trap.S catches.
 *
 * struct compat: 0 index, 4 count, 8 port, 12 selector for ES or DS or SS
 */
	.macro compat name, load, op
	.text
	.code64
	.globl compat_\name
compat_\name:
	pushq %rbx
	pushq %rdi
	movl %edi, %ebx
	leaq 1f(%rip), %rax
	pushq $0x08
	pushq %rax
	lretq
	.code32
1:	movl 0(%ebx), %edi
	movl %edi, %esi
	movl 4(%ebx), %ecx
	movl 8(%ebx), %edx
	movl 12(%ebx), %eax
	\load
	\op
	movw $0x10, %ax
	movw %ax, %ds
	movw %ax, %es
	ljmp $0x18, $2f
	.code64
2:	popq %rdx
	movl %ecx, 4(%rdx)
	subl 0(%rdx), %edi
	subl 0(%rdx), %esi
	addl %esi, %edi
	addl %edi, 0(%rdx)
	popq %rbx
	ret
	.endm

	compat insb, "movw %ax, %es", "insb"
	compat insw, "movw %ax, %es", "insw"
	compat insl, "movw %ax, %es", "insl"
	compat rep_insb, "movw %ax, %es", "rep insb"
	compat outsb, "movw %ax, %ds", "outsb"
	compat outsl, "movw %ax, %ds", "outsl"
	compat outsb_es, "movw %ax, %es", "outsb %es:(%esi), (%dx)"
	compat outsb_16, "movw %ax, %ds", "outsb (%si), (%dx)"
	.section .note.GNU-stack, "", @progbits
