/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What each physical CPU has for itself: descriptor tables, task state with stacks for NMI, #DF and
 * #MC, its numbers. GS points at its struct per_cpu. Written by its own CPU, after setup by CPU 0.
 */
#ifndef BASE_X86_PERCPU_H
#define BASE_X86_PERCPU_H

#include <arch/this_cpu.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

struct tss {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3, io_map;
} __attribute__((packed));

_Static_assert(sizeof(struct tss) == 104, "SDM vol. 3, 8.7");

enum { IST_NMI = 1, IST_DOUBLE_FAULT, IST_MACHINE_CHECK, IST_COUNT = IST_MACHINE_CHECK };

struct per_cpu {
	uint32_t id; /* first: arch/this_cpu.h reads it at GS:0 */
	uint32_t apic_id;
	_Atomic bool online;
	hva_t stack; /* top */
	uint64_t gdt[5];
	struct tss tss;
};

extern struct per_cpu per_cpu[MAX_CPUS];
extern unsigned cpu_count; /* CPUs that the machine has and we use; online or about to be */

static inline struct per_cpu *this_cpu(void)
{
	return &per_cpu[cpu_id()];
}

/*
 * Makes the calling CPU number `id`: GDT, TSS, GS, IDT; CR0, CR4 and EFER with the protections that
 * the CPU has (WP, NX, SMEP, SMAP, UMIP); the PAT that mm/host_format.h relies on. Interrupts stay
 * off. `ist`: tops of the stacks for NMI, #DF and #MC.
 */
void percpu_setup(unsigned id, const hva_t ist[IST_COUNT]);

#endif
