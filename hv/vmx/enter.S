/* SPDX-License-Identifier: MPL-2.0 */
/*
 * int vmx_enter(uint64_t *gpr, bool launched, volatile uint8_t *kicked): rdi, esi, rdx.
 * 0: the guest ran and left; 1: the CPU refused; 2: a kick came first. gpr is in encoding order; RSP
 * is in the VMCS.
 *
 * A kick is an NMI. One that arrives before vmx_window is seen in *kicked; one that arrives in
 * [vmx_window, vmx_window_end) has its return moved to vmx_abort by the handler; one that arrives
 * later brings the guest out. None of the ways out needs a register but RSP.
 */
	.set HOST_RSP, 0x6c14
	.section .text
	.globl vmx_enter, vmx_exit_point, vmx_window, vmx_window_end, vmx_abort
vmx_enter:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	pushq %rdi
	movl $HOST_RSP, %ecx
	vmwrite %rsp, %rcx
	jbe vmx_refused
vmx_window:
	cmpb $0, (%rdx)
	jne vmx_abort
	testb %sil, %sil
	movq 0(%rdi), %rax
	movq 8(%rdi), %rcx
	movq 16(%rdi), %rdx
	movq 24(%rdi), %rbx
	movq 40(%rdi), %rbp
	movq 48(%rdi), %rsi
	movq 64(%rdi), %r8
	movq 72(%rdi), %r9
	movq 80(%rdi), %r10
	movq 88(%rdi), %r11
	movq 96(%rdi), %r12
	movq 104(%rdi), %r13
	movq 112(%rdi), %r14
	movq 120(%rdi), %r15
	movq 56(%rdi), %rdi
	jz 1f
	vmresume
	jmp vmx_refused
1:	vmlaunch
vmx_window_end:
vmx_refused:
	movl $1, %eax
	jmp vmx_out
vmx_abort:
	movl $2, %eax
	jmp vmx_out
vmx_exit_point:
	pushq %rdi
	movq 8(%rsp), %rdi
	movq %rax, 0(%rdi)
	movq %rcx, 8(%rdi)
	movq %rdx, 16(%rdi)
	movq %rbx, 24(%rdi)
	movq %rbp, 40(%rdi)
	movq %rsi, 48(%rdi)
	movq %r8, 64(%rdi)
	movq %r9, 72(%rdi)
	movq %r10, 80(%rdi)
	movq %r11, 88(%rdi)
	movq %r12, 96(%rdi)
	movq %r13, 104(%rdi)
	movq %r14, 112(%rdi)
	movq %r15, 120(%rdi)
	popq 56(%rdi)
	xorl %eax, %eax
vmx_out:
	popq %rdi
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

	/* After an NMI exit the CPU blocks NMIs until an IRET: here is one. */
	.globl vmx_unblock_nmi
vmx_unblock_nmi:
	movq %rsp, %rax
	pushq $0x10
	pushq %rax
	pushfq
	pushq $0x08
	leaq 1f(%rip), %rcx
	pushq %rcx
	iretq
1:	ret

	.section .note.GNU-stack, "", @progbits
