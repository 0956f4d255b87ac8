/* SPDX-License-Identifier: MPL-2.0 */
/* Exceptions in long mode, and calls that end at an exception: see tiny.h. */

	.text
	.code64

/* 32 stubs of 16 bytes each: a vector whose exception has no error code gets 0 for one. */
	.balign 16
	.globl trap_stubs
trap_stubs:
	.set number, 0
	.rept 32
	.balign 16
	.if ((0x60227d00 >> number) & 1) == 0
	pushq $0
	.endif
	pushq $number
	jmp trap_common
	.set number, number + 1
	.endr

trap_common:
	cld
	pushq %rax
	pushq %rcx
	pushq %rdx
	pushq %rbx
	pushq %rbp
	pushq %rsi
	pushq %rdi
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, %rdi
	movq %cr2, %rsi
	call tiny_trap
	/* Only a caught exception comes back: with its vector, to the end of try_call. */
	movq catch_rsp, %rsp
	movw $0x10, %cx
	movw %cx, %ss
	movw %cx, %ds
	movw %cx, %es
	jmp try_out

/* int try_call(void (*f)(void *), void *arg) */
	.globl try_call
try_call:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	pushfq
	movq %rsp, catch_rsp
	movl $1, catch_armed
	movq %rdi, %rax
	movq %rsi, %rdi
	call *%rax
	movl $0, catch_armed
	movl $-1, %eax
try_out:
	popfq
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

/*
 * void user_call(void (*f)(void)): runs f at CPL 3 with the flags that are set now. It leaves by an
 * exception only, at user_done if f returns, so it is used inside try_call.
 */
	.globl user_call, user_done
user_call:
	leaq user_stack_top(%rip), %rax
	leaq user_done(%rip), %rcx
	movq %rcx, (%rax)
	pushq $0x23
	pushq %rax
	pushfq
	pushq $0x2b
	pushq %rdi
	iretq
user_done:
	hlt

	.bss
	.balign 16
	.globl catch_armed
catch_armed:
	.skip 8
catch_rsp:
	.skip 8
	.skip 2048
user_stack_top:
	.skip 8
	.section .note.GNU-stack, "", @progbits
