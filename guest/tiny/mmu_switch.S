/* SPDX-License-Identifier: MPL-2.0 */
/*
 * void mmu_enter(struct job *job)
 *
 *   64 bits, our tables ─▶ 32 bits ─▶ paging off ─▶ the job's registers ─▶ paging on ─▶ (64 bits) ─▶ stub
 *        ▲                                                                                        │
 *        └───────── our registers ◀── paging off ◀── 32 bits ◀── exception, or INT 0x30 ◀──────────┘
 *
 * The stubs are one page that a user has at USER_STUBS; their bytes mean the same with 32 bits and
 * with 64.
 */
#define CR0_PG	  0x80000000
#define CR4_PKE	  0x400000
#define MSR_EFER  0xc0000080
#define EFER_LME  0x100
#define PORT	  0x3ff
#define HC_YIELD  5

/* struct job */
#define J_CR0	 0
#define J_CR3	 8
#define J_CR4	 16
#define J_EFER	 24
#define J_PKRU	 32
#define J_OP	 36
#define J_VA	 40
#define J_FLAGS	 48
#define J_USER	 56
#define J_INSIDE 60
#define J_VALUE	 64
#define J_VECTOR 72
#define J_ERROR	 80
#define J_CR2	 88
#define J_CR4_SEEN 96
#define J_RCX	 104
#define J_RSI	 112
#define J_RDI	 120

#define USER_STUBS     0x3fe000
#define USER_STACK_TOP 0x3ffff0
#define SEL_CODE32 0x08
#define SEL_DATA   0x10
#define SEL_CODE64 0x18
#define SEL_UDATA  0x23
#define SEL_UCODE64 0x2b
#define SEL_TSS64  0x30
#define SEL_UCODE32 0x43
#define SEL_TSS32  0x48

	.text
	.code64
	.globl mmu_enter
mmu_enter:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	pushfq
	cli
	movq %rsp, our_rsp
	movq %rdi, mmu_job
	movl %edi, %ebx
	sidt our_idt
	movq %cr0, %rax
	movl %eax, our_cr0
	movq %cr4, %rax
	movl %eax, our_cr4
	movl $MSR_EFER, %ecx
	rdmsr
	movl %eax, our_efer
	pushq $SEL_CODE32
	leaq 1f(%rip), %rax
	pushq %rax
	lretq

	.code32
1:	lgdtl test_gdt_pointer
	movl $stack_top, %esp
	movl %cr0, %eax
	andl $~CR0_PG, %eax
	movl %eax, %cr0
	movl $MSR_EFER, %ecx
	movl J_EFER(%ebx), %eax
	xorl %edx, %edx
	wrmsr
	lidtl idt32_pointer	/* for what is refused on the way */
	movl J_CR4(%ebx), %eax
	movl %eax, %cr4
	movl J_CR3(%ebx), %eax
	movl %eax, %cr3
	testl $CR4_PKE, J_CR4(%ebx)
	jz 2f
	movl J_PKRU(%ebx), %eax
	xorl %ecx, %ecx
	xorl %edx, %edx
	wrpkru
2:	movl J_CR0(%ebx), %eax
	testl $EFER_LME, J_EFER(%ebx)
	jnz 3f
	movl %eax, %cr0
	jmp in32
3:	lidtl idt64_pointer
	movl %eax, %cr0
	ljmp $SEL_CODE64, $in64

in32:	andb $~2, test_gdt + SEL_TSS32 + 5
	movw $SEL_TSS32, %ax
	ltr %ax
	movl $1, J_INSIDE(%ebx)
	movl J_OP(%ebx), %ebp
	shll $5, %ebp
	movl J_VA(%ebx), %esi
	movl %esi, %edi
	movl $PORT, %edx
	movl J_VALUE(%ebx), %eax
	movl J_VALUE + 4(%ebx), %ecx
	cmpl $0, J_USER(%ebx)
	jne 1f
	addl $stubs, %ebp
	pushl %ebp
	pushl J_FLAGS(%ebx)
	popfl
	ret
1:	addl $USER_STUBS, %ebp
	pushl $SEL_UDATA
	pushl $USER_STACK_TOP
	pushl J_FLAGS(%ebx)
	pushl $SEL_UCODE32
	pushl %ebp
	movw $SEL_UDATA, %bx
	movw %bx, %ds
	movw %bx, %es
	iretl

	.code64
in64:	andb $~2, test_gdt + SEL_TSS64 + 5
	movw $SEL_TSS64, %ax
	ltr %ax
	movl $stack_top, %esp
	movl %ebx, %ebx
	movl $1, J_INSIDE(%rbx)
	movl J_OP(%rbx), %ebp
	shll $5, %ebp
	movq J_VA(%rbx), %rsi
	movq %rsi, %rdi
	movl $PORT, %edx
	movl J_VALUE(%rbx), %eax
	movl J_VALUE + 4(%rbx), %ecx
	cmpl $0, J_USER(%rbx)
	jne 1f
	addl $stubs, %ebp
	pushq %rbp
	pushq J_FLAGS(%rbx)
	popfq
	ret
1:	addl $USER_STUBS, %ebp
	pushq $SEL_UDATA
	pushq $USER_STACK_TOP
	pushq J_FLAGS(%rbx)
	pushq $SEL_UCODE64
	pushq %rbp
	iretq

/* --- what comes back --------------------------------------------------------------------- */

	.macro exceptions bits
	.set number, 0
	.rept 0x31
	.balign 16
	.if number >= 32 || ((0x60227d00 >> number) & 1) == 0
	push $0
	.endif
	push $number
	jmp common\bits
	.set number, number + 1
	.endr
	.endm

	.code32
	.balign 16
	.globl stubs32
stubs32:
	exceptions 32
common32:
	cld
	pushl %eax
	movw $SEL_DATA, %ax
	movw %ax, %ds
	movw %ax, %es
	movl mmu_job, %ebx
	popl J_VALUE(%ebx)
	popl J_VECTOR(%ebx)
	popl J_ERROR(%ebx)
	movl %ecx, J_RCX(%ebx)
	movl %esi, J_RSI(%ebx)
	movl %edi, J_RDI(%ebx)
	movl %cr2, %eax
	movl %eax, J_CR2(%ebx)
leave32:
	movl $stack_top, %esp
	movl %cr4, %eax
	movl %eax, J_CR4_SEEN(%ebx)
	movl %cr0, %eax
	andl $~CR0_PG, %eax
	movl %eax, %cr0
	movl our_cr4, %eax
	movl %eax, %cr4
	movl $pml4, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	movl our_efer, %eax
	xorl %edx, %edx
	wrmsr
	movl our_cr0, %eax
	movl %eax, %cr0
	lgdtl gdt_pointer
	ljmp $SEL_CODE64, $back

	.code64
	.balign 16
	.globl stubs64
stubs64:
	exceptions 64
common64:
	cld
	movq mmu_job, %rbx
	movq %rax, J_VALUE(%rbx)
	popq J_VECTOR(%rbx)
	popq J_ERROR(%rbx)
	movq %rcx, J_RCX(%rbx)
	movq %rsi, J_RSI(%rbx)
	movq %rdi, J_RDI(%rbx)
	movq %cr2, %rax
	movq %rax, J_CR2(%rbx)
	movl $stack_top, %esp
	movw $SEL_DATA, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	pushq $SEL_CODE32
	leaq leave32(%rip), %rax
	pushq %rax
	lretq

back:	movw $SEL_DATA, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movq our_rsp, %rsp
	lidt our_idt
	andb $~2, gdt + SEL_TSS64 + 5
	movw $SEL_TSS64, %ax
	ltr %ax
	popfq
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

/* --- the page of stubs: enum op, 32 bytes each ------------------------------------------- */

	.macro stub code:vararg
	.balign 32
	\code
	int $0x30
	.endm

	.balign 4096
	.globl stubs
stubs:
	stub movzbl (%rsi), %eax
	stub movzwl (%rsi), %eax
	stub movl (%rsi), %eax
	stub movb %al, (%rdi)
	stub movw %ax, (%rdi)
	stub movl %eax, (%rdi)
	stub outsb
	stub outsw
	stub outsl
	stub insb
	stub insw
	stub insl
	stub call *%rsi
	stub nop
	.balign 32
1:	movl $HC_YIELD, %eax
	vmmcall
	cmpl $0, (%rdi)
	je 1b
	int $0x30
	.balign 32
1:	movl $HC_YIELD, %eax
	vmcall
	cmpl $0, (%rdi)
	je 1b
	int $0x30
	.balign 32
	movl %eax, (%rdi)
	movl %ecx, 4(%rdi)
	movq %cr3, %rax
	movq %rax, %cr3
	int $0x30
	.balign 32
	movl %eax, (%rdi)
	movl %ecx, 4(%rdi)
	movq %cr0, %rax
	xorl $0x40000000, %eax
	movq %rax, %cr0
	int $0x30
	/* The same two, and then a read of the first byte that the second PDPTE translates. */
	.balign 32
	movl %eax, (%rdi)
	movl %ecx, 4(%rdi)
	movq %cr3, %rax
	movq %rax, %cr3
	movl $0x40000000, %esi
	movzbl (%rsi), %eax
	int $0x30
	.balign 32
	movl %eax, (%rdi)
	movl %ecx, 4(%rdi)
	movq %cr0, %rax
	xorl $0x40000000, %eax
	movq %rax, %cr0
	movl $0x40000000, %esi
	movzbl (%rsi), %eax
	int $0x30
	stub rep lodsb
	stub rep stosb
	stub rep outsb
	stub rep insb
	.balign 4096

	.data
	.balign 16
test_gdt:
	.quad 0
	.quad 0x00cf9b000000ffff	/* 0x08 code, 32 bits */
	.quad 0x00cf93000000ffff	/* 0x10 data */
	.quad 0x00af9b000000ffff	/* 0x18 code, 64 bits */
	.quad 0x00cff3000000ffff	/* 0x20 data, CPL 3 */
	.quad 0x00affb000000ffff	/* 0x28 code, 64 bits, CPL 3 */
	.globl test_tss64, test_tss32
test_tss64:
	.quad 0, 0			/* 0x30, filled in by mmu.c */
	.quad 0x00cffb000000ffff	/* 0x40 code, 32 bits, CPL 3 */
test_tss32:
	.quad 0				/* 0x48 */
test_gdt_end:
test_gdt_pointer:
	.word test_gdt_end - test_gdt - 1
	.long test_gdt
idt32_pointer:
	.word 0x31 * 8 - 1
	.long idt32
idt64_pointer:
	.word 0x31 * 16 - 1
	.long idt64

	.bss
	.balign 16
	.globl mmu_job, idt32, idt64, trap_stack_top
mmu_job:
	.skip 8
our_rsp:
	.skip 8
our_cr0:
	.skip 4
our_cr4:
	.skip 4
our_efer:
	.skip 4
	.balign 16
our_idt:
	.skip 16
idt32:	.skip 0x31 * 8
	.balign 16
idt64:	.skip 0x31 * 16
	.skip 4096
stack_top:
	.skip 4096
trap_stack_top:
	.section .note.GNU-stack, "", @progbits
