/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The CPU that a guest sees: the real one without what Nestling does not offer (virtualization of
 * its own, a local APIC, MTRRs, performance counters, ...), plus the hypervisor's leaf.
 */
#ifndef HV_CPUID_H
#define HV_CPUID_H

#include "base/x86/cpuid.h"

/* Builds the table from the real CPU's answers. Once, before the first guest. */
void guest_cpuid_setup(struct cpuid (*read)(uint32_t leaf, uint32_t subleaf));

/* The answer for a vCPU: `id` is its number, `cr4` its CR4 (OSXSAVE shows through). */
struct cpuid guest_cpuid(uint32_t leaf, uint32_t subleaf, unsigned id, uint64_t cr4);

/* XCR0 bits that a guest may set; 0: no XSAVE. */
uint64_t guest_xcr0_mask(void);

#endif
