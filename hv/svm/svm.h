/* SPDX-License-Identifier: MPL-2.0 */
/* The AMD-V backend's own parts. */
#ifndef HV_SVM_SVM_H
#define HV_SVM_SVM_H

#include "hv/backend.h"
#include "hv/svm/vmcb.h"

struct svm_vcpu {
	struct vmcb *vmcb;
	uint64_t vmcb_hpa;
	struct frame *frame;
};

static inline struct vmcb *svm_vmcb(const struct vcpu *v)
{
	return ((const struct svm_vcpu *)v->backend)->vmcb;
}

void svm_enter(uint64_t guest_vmcb, uint64_t *gpr, uint64_t host_vmcb);

/* Turns what the control block says into our vocabulary. */
void svm_decode_exit(struct vcpu *v, struct vm_exit *exit);

/* Registers that live in the control block: see hv/backend.h. */
int svm_msr_read(struct vcpu *v, uint32_t msr, uint64_t *value);
int svm_msr_write(struct vcpu *v, uint32_t msr, uint64_t value);
void svm_get(struct vcpu *v, struct vcpu_state_full *out);
void svm_reset(struct vcpu *v, uint32_t entry);

/* The MSR bitmap, 8 KiB, filled: what a guest may do without an exit. */
void svm_msr_bitmap(uint8_t *bitmap);

extern bool svm_nrips; /* the CPU tells where the next instruction is */

#endif
