/* SPDX-License-Identifier: MPL-2.0 */
#include "base/x86/trap.h"

#include <stddef.h>

#include "base/err.h"
#include "base/fixup.h"
#include "base/panic.h"
#include "base/x86/apic.h"
#include "base/x86/msr.h"
#include "base/x86/percpu.h"
#include "base/x86/regs.h"
#include "base/x86/stop.h"

struct gate {
	uint16_t offset0, selector;
	uint8_t ist, type;
	uint16_t offset1;
	uint32_t offset2, reserved;
};

_Static_assert(sizeof(struct gate) == 16, "SDM vol. 3, 6.14.1");

extern const char trap_stubs[];

#define STUB_SIZE 16

_Static_assert(offsetof(struct trap_frame, rbp) == 80, "base/x86/trap_entry.S");
_Static_assert(offsetof(struct trap_frame, rip) == 136, "base/x86/trap_entry.S");

static struct gate idt[256] __attribute__((aligned(16)));
static void (*irq_handlers[256])(void);
static void (*nmi_handler)(struct trap_frame *f);

void trap_frame_dispatch(struct trap_frame *f);

void trap_setup(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint64_t at = (uint64_t)(uintptr_t)trap_stubs + i * STUB_SIZE;

		idt[i] = (struct gate){
			.offset0 = (uint16_t)at,
			.selector = SEL_CODE,
			.type = 0x8e,
			.offset1 = (uint16_t)(at >> 16),
			.offset2 = (uint32_t)(at >> 32),
		};
	}
	idt[VECTOR_NMI].ist = IST_NMI;
	idt[VECTOR_DF].ist = IST_DOUBLE_FAULT;
	idt[VECTOR_MC].ist = IST_MACHINE_CHECK;
}

void trap_load(void)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} idtr = { sizeof(idt) - 1, (uint64_t)(uintptr_t)idt };

	__asm__ volatile("lidt %0" ::"m"(idtr));
}

void trap_set_irq(unsigned vector, void (*handler)(void))
{
	irq_handlers[vector] = handler;
}

void trap_set_nmi(void (*handler)(struct trap_frame *f))
{
	nmi_handler = handler;
}

void trap_dispatch_irq(unsigned vector)
{
	if (irq_handlers[vector] != NULL)
		irq_handlers[vector]();
	else if (vector != VECTOR_SPURIOUS)
		apic_eoi(); /* or it would keep all that rank below it out for ever */
}

/* Sends a faulting instruction that was marked as such to its way out. */
static bool fixup_apply(struct trap_frame *f)
{
	/* What strikes there by chance, as a machine check may, is not the instruction's fault. */
	if (f->vector != VECTOR_UD && f->vector != VECTOR_SS && f->vector != VECTOR_GP &&
	    f->vector != VECTOR_PF)
		return false;
	return fixup_find(f->rip, &f->rip);
}

static const char *exception_name(uint64_t vector)
{
	static const char *const names[] = {
		"divide error",
		"debug",
		"NMI",
		"breakpoint",
		"overflow",
		"bound",
		"invalid opcode",
		"no FPU",
		"double fault",
		"9",
		"invalid TSS",
		"segment not present",
		"stack fault",
		"general protection",
		"page fault",
		"15",
		"FPU error",
		"alignment check",
		"machine check",
		"SIMD error",
	};

	return vector < sizeof(names) / sizeof(names[0]) ? names[vector] : "exception";
}

void trap_frame_dispatch(struct trap_frame *f)
{
	if (f->vector == VECTOR_NMI) {
		stop_if_asked();
		if (nmi_handler != NULL)
			nmi_handler(f);
	} else if (f->vector >= 32) {
		trap_dispatch_irq((unsigned)f->vector);
	} else if (!fixup_apply(f)) {
		panic("%s (vector %llu, error 0x%llx) at rip %016llx, address %016llx\n"
		      "  rax %016llx rbx %016llx rcx %016llx rdx %016llx\n"
		      "  rsi %016llx rdi %016llx rbp %016llx rsp %016llx rflags %llx",
		      exception_name(f->vector), (unsigned long long)f->vector,
		      (unsigned long long)f->error, (unsigned long long)f->rip,
		      (unsigned long long)cr2_read(), (unsigned long long)f->rax,
		      (unsigned long long)f->rbx, (unsigned long long)f->rcx,
		      (unsigned long long)f->rdx, (unsigned long long)f->rsi,
		      (unsigned long long)f->rdi, (unsigned long long)f->rbp,
		      (unsigned long long)f->rsp, (unsigned long long)f->rflags);
	}
}

int msr_read_safe(uint32_t msr, uint64_t *v)
{
	uint32_t lo = 0, hi = 0, fault = 1;

	__asm__ volatile("1:\trdmsr\n\t"
			 "xorl %2, %2\n"
			 "2:\n\t" FIXUP("1b", "2b")
			 : "+a"(lo), "+d"(hi), "+r"(fault)
			 : "c"(msr)
			 : "memory");
	*v = fault ? 0 : (uint64_t)hi << 32 | lo;
	return fault ? -EIO : 0;
}
