/* SPDX-License-Identifier: MPL-2.0 */
/* How a vCPU translates its addresses: its registers in the words of vmio/gva.h. */
#ifndef HV_PAGING_H
#define HV_PAGING_H

#include "hv/vcpu.h"
#include "vmio/gva.h"

/* Bits of a guest-physical address, by the guest's CPUID: 32 to 52. */
uint8_t guest_maxphyaddr(void);

/*
 * `s` is what hv_backend->get says of `v`. On the vCPU's own CPU, or when it is at rest (hv/hv.h,
 * hv_pause). The result holds until the vCPU runs again.
 */
void vcpu_gva_mode(struct vcpu *v, const struct vcpu_state_full *s, struct gva_mode *out);

#endif
