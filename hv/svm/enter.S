/* SPDX-License-Identifier: MPL-2.0 */
/*
 * void svm_enter(uint64_t guest_vmcb, uint64_t *gpr, uint64_t host_vmcb): rdi, rsi, rdx.
 * Physical addresses of the two control blocks; gpr in encoding order (rax, rcx, rdx, rbx, rsp, ...).
 * RAX and RSP travel in the control block. GIF is 0 from before to after.
 */
	.section .text
	.globl svm_enter
svm_enter:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	pushq %rdx
	pushq %rsi
	movq %rdi, %rax
	movq 8(%rsi), %rcx
	movq 16(%rsi), %rdx
	movq 24(%rsi), %rbx
	movq 40(%rsi), %rbp
	movq 56(%rsi), %rdi
	movq 64(%rsi), %r8
	movq 72(%rsi), %r9
	movq 80(%rsi), %r10
	movq 88(%rsi), %r11
	movq 96(%rsi), %r12
	movq 104(%rsi), %r13
	movq 112(%rsi), %r14
	movq 120(%rsi), %r15
	movq 48(%rsi), %rsi
	vmload %rax
	vmrun %rax
	vmsave %rax
	pushq %rsi
	movq 8(%rsp), %rsi
	movq %rcx, 8(%rsi)
	movq %rdx, 16(%rsi)
	movq %rbx, 24(%rsi)
	movq %rbp, 40(%rsi)
	movq %rdi, 56(%rsi)
	movq %r8, 64(%rsi)
	movq %r9, 72(%rsi)
	movq %r10, 80(%rsi)
	movq %r11, 88(%rsi)
	movq %r12, 96(%rsi)
	movq %r13, 104(%rsi)
	movq %r14, 112(%rsi)
	movq %r15, 120(%rsi)
	popq 48(%rsi)
	movq 8(%rsp), %rax
	vmload %rax
	addq $16, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

	.section .note.GNU-stack, "", @progbits
