/* SPDX-License-Identifier: MPL-2.0 */
/* The VT-x backend's own parts. */
#ifndef HV_VMX_VMX_H
#define HV_VMX_VMX_H

#include "base/x86/regs.h"
#include "hv/backend.h"

/* MSRs that the hardware does not switch and the host does not use: they stay loaded until another
 * vCPU runs on the CPU. KERNEL_GS_BASE is last: a guest changes it without an exit (SWAPGS). */
enum { LAZY_STAR, LAZY_LSTAR, LAZY_CSTAR, LAZY_SFMASK, LAZY_KERNEL_GS_BASE, LAZY_MSRS };
extern const uint32_t vmx_lazy_msr[LAZY_MSRS];

struct vmx_vcpu {
	struct frame *frame;
	uint64_t vmcs; /* hpa */
	int cpu;       /* whose VMCS cache it is in; -1: none */
	bool launched; /* on that CPU, since the last VMCLEAR */
	bool born;     /* its controls have been written */
	uint64_t cr8;
	uint64_t cr2; /* the VMCS does not have it */
	uint64_t lazy[LAZY_MSRS];
	uint64_t eptp;
};

/* What this CPU's controls may be, and are. */
struct vmx_controls {
	uint32_t pin, proc, proc2, exit, entry;
};

/*
 * Picks the controls from the capability MSRs: `want` must be there, else *missing names the first
 * that is not and -ENODEV is returned; what the CPU insists on is added.
 */
int vmx_choose_controls(uint64_t (*msr)(uint32_t msr), struct vmx_controls *out,
			const char **missing);

/* 0: exit; 1: VMfail; 2: a kick came before the entry. */
int vmx_enter(uint64_t *gpr, bool launched, volatile uint8_t *kicked);

void vmx_decode_exit(struct vcpu *v, struct vm_exit *exit);
void vmx_reset(struct vcpu *v, uint32_t entry);
void vmx_get(struct vcpu *v, struct vcpu_state_full *out);
int vmx_msr_read(struct vcpu *v, uint32_t msr, uint64_t *value);
int vmx_msr_write(struct vcpu *v, uint32_t msr, uint64_t value);
int vmx_cr_access(struct vcpu *v, const struct vm_exit *exit);
void vmx_inject(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error);
void vmx_msr_bitmap(uint8_t *bitmap);

/* Makes the vCPU's VMCS the current one of this CPU. It is in no other CPU. */
void vmx_make_current(struct vcpu *v);
/* Takes it out of this CPU again. */
void vmx_release(struct vcpu *v);

/* CR0 and CR4 as VMX wants them while a guest runs. */
#define CR0_OWNED (CR0_NE | CR0_CD | CR0_NW)
#define CR4_OWNED CR4_VMXE

#endif
