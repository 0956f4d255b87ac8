/* SPDX-License-Identifier: MPL-2.0 */
#include "hv/paging.h"

#include "base/x86/regs.h"
#include "hv/backend.h"
#include "hv/cpuid.h"
#include "hv/fpu.h"

/* What a CPU that does not say has. (SDM vol. 2, CPUID) */
#define PHYS_BITS_UNSAID 36

uint8_t guest_maxphyaddr(void)
{
	uint8_t bits = (uint8_t)guest_cpuid_extended[8].eax;

	if (bits == 0)
		return PHYS_BITS_UNSAID;
	return bits < 32 ? 32 : bits > 52 ? 52 : bits;
}

void vcpu_gva_mode(struct vcpu *v, const struct vcpu_state_full *s, struct gva_mode *out)
{
	*out = (struct gva_mode){
		.cr0 = s->cr0,
		.cr3 = s->cr3,
		.cr4 = s->cr4,
		.efer = s->efer,
		.pkru = (s->cr4 & CR4_PKE) != 0 ? fpu_pkru(v) : 0,
		.maxphyaddr = guest_maxphyaddr(),
		.rflags_ac = (s->rflags & RFLAGS_AC) != 0,
		.gib_pages = (guest_cpuid_extended[1].edx >> 26 & 1) != 0,
		.amd = hv_backend == &svm_backend,
	};
	for (unsigned i = 0; i < 4; i++)
		out->pdpte[i] = s->pdpte[i];
}
