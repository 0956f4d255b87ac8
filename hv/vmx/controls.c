/* SPDX-License-Identifier: MPL-2.0 */
/* Which controls to run with: what we want, if the CPU has it, and what it insists on. */
#include "base/err.h"
#include "base/x86/msr.h"
#include "hv/vmx/vmcs.h"
#include "hv/vmx/vmx.h"

struct wish {
	uint32_t bit;
	const char *name;
};

static const struct wish pin_wishes[] = {
	{ PIN_EXTERNAL, "external-interrupt exiting" },
	{ PIN_NMI, "NMI exiting" },
	{ PIN_TIMER, "the preemption timer" },
	{ 0, 0 },
};

static const struct wish proc_wishes[] = {
	{ PROC_HLT, "HLT exiting" },
	{ PROC_MWAIT, "MWAIT exiting" },
	{ PROC_RDPMC, "RDPMC exiting" },
	{ PROC_CR8_LOAD, "CR8-load exiting" },
	{ PROC_CR8_STORE, "CR8-store exiting" },
	{ PROC_IO, "unconditional I/O exiting" },
	{ PROC_MSR_MAPS, "MSR bitmaps" },
	{ PROC_MONITOR, "MONITOR exiting" },
	{ PROC_SECOND, "secondary controls" },
	{ 0, 0 },
};

static const struct wish proc2_wishes[] = {
	{ PROC2_EPT, "EPT" },
	{ PROC2_UNRESTRICTED, "unrestricted guest" },
	{ PROC2_WBINVD, "WBINVD exiting" },
	{ 0, 0 },
};

static const struct wish exit_wishes[] = {
	{ EXIT_SAVE_DEBUG, "saving debug controls" },
	{ EXIT_HOST_64, "a 64-bit host" },
	{ EXIT_ACK, "acknowledging interrupts on exit" },
	{ EXIT_SAVE_PAT, "saving PAT" },
	{ EXIT_LOAD_PAT, "loading PAT" },
	{ EXIT_SAVE_EFER, "saving EFER" },
	{ EXIT_LOAD_EFER, "loading EFER" },
	{ 0, 0 },
};

static const struct wish entry_wishes[] = {
	{ ENTRY_LOAD_DEBUG, "loading debug controls" },
	{ ENTRY_LOAD_PAT, "loading PAT at entry" },
	{ ENTRY_LOAD_EFER, "loading EFER at entry" },
	{ 0, 0 },
};

/* Low half of a capability: must be one; high half: may be one. (SDM vol. 3, A.3) */
static int choose(uint64_t cap, const struct wish *wishes, uint32_t optional, uint32_t *out,
		  const char **missing)
{
	uint32_t must = (uint32_t)cap, may = (uint32_t)(cap >> 32);

	*out = must | (optional & may);
	for (; wishes->bit != 0; wishes++) {
		if ((may & wishes->bit) == 0) {
			*missing = wishes->name;
			return -ENODEV;
		}
		*out |= wishes->bit;
	}
	return 0;
}

int vmx_choose_controls(uint64_t (*msr)(uint32_t msr), struct vmx_controls *c, const char **missing)
{
	bool exact = (msr(MSR_VMX_BASIC) >> 55 & 1) != 0;
	uint64_t proc = msr(exact ? MSR_VMX_TRUE_PROC : MSR_VMX_PROCBASED);
	int err = choose(proc, proc_wishes, 0, &c->proc, missing);

	/* The most telling first: without EPT or unrestricted guest nothing else matters. */
	if (err == 0)
		err = choose(msr(MSR_VMX_PROCBASED2), proc2_wishes, PROC2_VPID, &c->proc2, missing);
	if (err == 0)
		err = choose(msr(exact ? MSR_VMX_TRUE_PINBASED : MSR_VMX_PINBASED), pin_wishes, 0,
			     &c->pin, missing);
	if (err == 0)
		err = choose(msr(exact ? MSR_VMX_TRUE_EXIT : MSR_VMX_EXIT), exit_wishes, 0,
			     &c->exit, missing);
	if (err == 0)
		err = choose(msr(exact ? MSR_VMX_TRUE_ENTRY : MSR_VMX_ENTRY), entry_wishes, 0,
			     &c->entry, missing);
	return err;
}
