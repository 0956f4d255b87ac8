/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Who the registers of the FPU, XCR0, PKRU and the debug addresses belong to. Nestling itself uses
 * none of them, so they stay with the vCPU that ran last on a CPU until another one is to run
 * there.
 */
#ifndef HV_FPU_H
#define HV_FPU_H

#include "hv/vcpu.h"

/* Room for the state, as after reset. -ENOMEM. */
int fpu_create(struct vcpu *v);
void fpu_destroy(struct vcpu *v);

/* Before `v` is entered, on its CPU. */
void fpu_load(struct vcpu *v);

/* The vCPU's PKRU; 0 where the CPU has none. As of its last exit; on its CPU, or at rest. */
uint32_t fpu_pkru(const struct vcpu *v);

/* Takes the state back to memory if it is in this CPU. */
void fpu_release(struct vcpu *v);

/* XSETBV of the guest whose state is loaded. False: the guest gets #GP. */
bool fpu_set_xcr0(struct vcpu *v, uint64_t value);

#endif
