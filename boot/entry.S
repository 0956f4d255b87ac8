/* SPDX-License-Identifier: MPL-2.0 */
/*
 * From GRUB to C. GRUB jumps here in 32-bit protected mode without paging, EAX = magic, EBX = boot
 * information. We build tables that are good enough to run C on, once:
 *
 *   0 .. 4 GiB                 identity, for this file and for starting the other CPUs
 *   LINEAR_BASE .. + 4 GiB     the same memory
 *   META_BASE                  empty; mm/kspace.c fills in 2 MiB pages
 *   IMAGE_BASE .. + 1 GiB      the first GiB of memory, the image in it
 *
 * (Multiboot2 specification 2.0, 3.1 and 3.3)
 */
#define MB2_MAGIC    0xe85250d6
#define MB2_LENGTH   (multiboot_end - multiboot_start)
#define MB2_BOOTED   0x36d76289
#define ENTRY_TABLE  0x003 /* present, writable */
#define ENTRY_LARGE  0x183 /* present, writable, 2 MiB, global */
#define CR4_PAE	     0x20
#define CR0_PG_WP    0x80010000
#define MSR_EFER     0xc0000080
#define EFER_LME_NXE 0x900

	.section .multiboot, "a"
	.balign 8
multiboot_start:
	.long MB2_MAGIC
	.long 0
	.long MB2_LENGTH
	.long -(MB2_MAGIC + MB2_LENGTH)
	/* Information that we cannot do without: memory map. */
	.balign 8
	.short 1, 0
	.long 12
	.long 6
	/* Modules start on page boundaries. */
	.balign 8
	.short 6, 0
	.long 8
	/* No tag follows. */
	.balign 8
	.short 0, 0
	.long 8
multiboot_end:

	.section .boot.text, "ax"
	.code32
	.globl boot_entry
boot_entry:
	cli
	cld
	movl %eax, %ebp
	movl %ebx, %esi
	cmpl $MB2_BOOTED, %ebp
	jne no_loader
	movl $boot_stack_top, %esp
	rdtsc
	movl %eax, boot_tsc
	movl %edx, boot_tsc + 4

	/* Long mode there at all, and pages that are not executable? */
	movl $0x80000000, %eax
	cpuid
	cmpl $0x80000001, %eax
	jb no_long_mode
	movl $0x80000001, %eax
	cpuid
	testl $(1 << 29), %edx
	jz no_long_mode
	testl $(1 << 20), %edx
	jz no_nx

	/* Tables: the loader need not have cleared what is not in the file. */
	movl $boot_tables, %edi
	movl $(boot_tables_end - boot_tables) / 4, %ecx
	xorl %eax, %eax
	rep stosl

	movl $boot_pdpt_low + ENTRY_TABLE, boot_pml4
	movl $boot_pdpt_low + ENTRY_TABLE, boot_pml4 + 256 * 8
	movl $boot_pdpt_meta + ENTRY_TABLE, boot_pml4 + 448 * 8
	movl $boot_pdpt_image + ENTRY_TABLE, boot_pml4 + 511 * 8
	movl $boot_pd + ENTRY_TABLE, boot_pdpt_image + 510 * 8

	movl $4, %ecx
	movl $boot_pd + ENTRY_TABLE, %eax
	movl $boot_pdpt_low, %edi
1:	movl %eax, (%edi)
	addl $4096, %eax
	addl $8, %edi
	loop 1b

	movl $4, %ecx
	movl $boot_meta_pd + ENTRY_TABLE, %eax
	movl $boot_pdpt_meta, %edi
1:	movl %eax, (%edi)
	addl $4096, %eax
	addl $8, %edi
	loop 1b

	movl $2048, %ecx
	movl $ENTRY_LARGE, %eax
	movl $boot_pd, %edi
1:	movl %eax, (%edi)
	addl $0x200000, %eax
	addl $8, %edi
	loop 1b

	call boot_paging_on
	lgdt boot_gdt_pointer
	ljmp $8, $boot_entry64

	/* Paging and long mode (compatibility mode until the far jump). For the other CPUs too. */
	.globl boot_paging_on
boot_paging_on:
	movl $CR4_PAE, %eax
	movl %eax, %cr4
	movl $boot_pml4, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	rdmsr
	orl $EFER_LME_NXE, %eax
	wrmsr
	movl %cr0, %eax
	orl $CR0_PG_WP, %eax
	movl %eax, %cr0
	ret

no_loader:
	movl $no_loader_text, %esi
	jmp complain
no_long_mode:
	movl $no_long_mode_text, %esi
	jmp complain
no_nx:
	movl $no_nx_text, %esi
complain:
	movw $0x3f8, %dx
1:	lodsb
	testb %al, %al
	jz 2f
	outb %al, %dx
	jmp 1b
2:	hlt
	jmp 2b

	.code64
boot_entry64:
	movl $16, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	/* The uninitialized data is ours to clear. */
	movq $image_bss_start, %rdi
	movq $image_end, %rcx
	subq %rdi, %rcx
	shrq $3, %rcx
	rep stosq
	movl %esi, %edi
	movq $main_stack_top, %rsp
	xorl %ebp, %ebp
	pushq $0
	pushq $0
	movq $boot_main, %rax
	call *%rax
1:	hlt
	jmp 1b

	.section .boot.data, "aw"
	.balign 8
	.globl boot_gdt_pointer
boot_gdt:
	.quad 0
	.quad 0x00af9b000000ffff
	.quad 0x00cf93000000ffff
boot_gdt_pointer:
	.short . - boot_gdt - 1
	.long boot_gdt
	.balign 8
	.globl boot_tsc
boot_tsc:
	.quad 0
no_loader_text:
	.asciz "nestling: not started by a multiboot2 loader: use GRUB's multiboot2 command\r\n"
no_long_mode_text:
	.asciz "nestling: this CPU has no 64-bit mode: use a 64-bit machine or CPU model\r\n"
no_nx_text:
	.asciz "nestling: this CPU has no NX: turn on execute-disable in the firmware\r\n"

	.section .boot.bss, "aw", @nobits
	.balign 4096
	.globl boot_pml4, boot_meta_pd
boot_tables:
boot_pml4:	 .skip 4096
boot_pdpt_low:	 .skip 4096
boot_pdpt_image: .skip 4096
boot_pdpt_meta:	 .skip 4096
boot_pd:	 .skip 4 * 4096
boot_meta_pd:	 .skip 4 * 4096
boot_tables_end:
		 .skip 4096
boot_stack_top:

	.section .bss
	.balign 16
main_stack:	.skip 32768
main_stack_top:

	.section .note.GNU-stack, "", @progbits
