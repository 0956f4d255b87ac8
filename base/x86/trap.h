/* SPDX-License-Identifier: MPL-2.0 */
/* Exceptions and interrupts that Nestling itself takes. (SDM vol. 3, chapter 6) */
#ifndef BASE_X86_TRAP_H
#define BASE_X86_TRAP_H

#include <stdint.h>

struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rdx, rcx, rbx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

enum {
	VECTOR_DB = 1,
	VECTOR_NMI = 2,
	VECTOR_UD = 6,
	VECTOR_DF = 8,
	VECTOR_SS = 12,
	VECTOR_GP = 13,
	VECTOR_PF = 14,
	VECTOR_AC = 17,
	VECTOR_MC = 18,
	VECTOR_PIC = 0x20, /* the legacy controllers' 16 lines */
	VECTOR_TIMER = 0x40,
	VECTOR_SPURIOUS = 0xff,
};

/* Builds the IDT. Once, before the first percpu_setup. */
void trap_setup(void);

/* Loads it on the calling CPU. */
void trap_load(void);

/* What happens on an interrupt vector (>= 32). It runs with interrupts off and sends the EOI. */
void trap_set_irq(unsigned vector, void (*handler)(void));

/* What happens on an NMI that does not end this CPU (base/x86/stop.h). May change the frame. */
void trap_set_nmi(void (*handler)(struct trap_frame *f));

/* The handler of an interrupt that the CPU acknowledged when a guest left. */
void trap_dispatch_irq(unsigned vector);

#endif
