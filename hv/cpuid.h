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

#define CPUID_LEAVES 0x20 /* of each of the two groups, 0 and 0x80000000 */

/* The answers that depend on the leaf alone. */
extern struct cpuid guest_cpuid_basic[CPUID_LEAVES], guest_cpuid_extended[CPUID_LEAVES];

/* Leaves of the first group that depend on more: subleaf, vCPU, CR4. */
#define CPUID_COMPLEX (1u << 1 | 1u << 4 | 1u << 7 | 1u << 0xd)

/* The answer if it depends on the leaf alone, else NULL: ask guest_cpuid. */
static inline const struct cpuid *guest_cpuid_plain(uint32_t leaf)
{
	if (leaf < CPUID_LEAVES && (CPUID_COMPLEX >> leaf & 1) == 0)
		return &guest_cpuid_basic[leaf];
	if (leaf - 0x80000000 < CPUID_LEAVES)
		return &guest_cpuid_extended[leaf - 0x80000000];
	return 0;
}

/* The answer for a vCPU: `id` is its number, `cr4` its CR4 (OSXSAVE shows through). */
struct cpuid guest_cpuid(uint32_t leaf, uint32_t subleaf, unsigned id, uint64_t cr4);

/* XCR0 bits that a guest may set; 0: no XSAVE. */
uint64_t guest_xcr0_mask(void);

#endif
