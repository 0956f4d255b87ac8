/* SPDX-License-Identifier: MPL-2.0 */
#include "hv/cpuid.h"

#include <stddef.h>

#include "base/addr.h"

#define BASIC_LEAVES	CPUID_LEAVES
#define EXTENDED_LEAVES CPUID_LEAVES
#define basic		guest_cpuid_basic
#define extended	guest_cpuid_extended
#define HYPERVISOR_LEAF 0x40000000u
#define EXTENDED_LEAF	0x80000000u
#define CR4_OSXSAVE_BIT 18

/* x87, SSE, AVX and the three parts of AVX-512: what fits the page that a vCPU has for them. */
#define XCR0_OFFERED 0xe7

#define BIT(n) (1u << (n))

struct cpuid basic[BASIC_LEAVES], extended[EXTENDED_LEAVES];
static struct cpuid (*read_cpu)(uint32_t leaf, uint32_t subleaf);
static uint64_t xcr0_mask;

static void filter_leaf_1(struct cpuid *r)
{
	/* MONITOR, DS-CPL, VMX, SMX, EST, TM2, debug store, PDCM, PCID, DCA, x2APIC, TSC deadline
	 */
	const uint32_t no_ecx = BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) |
				BIT(11) | BIT(15) | BIT(17) | BIT(18) | BIT(21) | BIT(24);
	/* APIC, MTRR, MCE, MCA, DS, ACPI, HTT, TM, PBE */
	const uint32_t no_edx = BIT(9) | BIT(12) | BIT(7) | BIT(14) | BIT(21) | BIT(22) | BIT(28) |
				BIT(29) | BIT(31);

	r->ecx = (r->ecx & ~no_ecx) | BIT(31);
	r->edx &= ~no_edx;
	r->ebx &= 0x0000ffff & ~0xffu;
	r->ebx |= 1u << 16;
	if (xcr0_mask == 0)
		r->ecx &= ~(BIT(26) | BIT(27) | BIT(28));
	r->ecx &= ~BIT(27); /* OSXSAVE: the guest's CR4 decides */
}

static void filter_leaf_7(struct cpuid *r)
{
	/* TSC_ADJUST, SGX, INVPCID, RTM, PQM, PQE, PT, HLE; everything in ecx and edx that has MSRs
	 * or instructions of its own but UMIP and the vector instructions. */
	r->ebx &= ~(BIT(1) | BIT(2) | BIT(4) | BIT(10) | BIT(11) | BIT(12) | BIT(15) | BIT(25));
	r->ecx &= BIT(1) | BIT(2) | BIT(8) | BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(14);
	r->edx = 0;
	r->eax = 0;
}

static void filter_extended_1(struct cpuid *r)
{
	/* SVM, extended APIC, OSVW, IBS, SKINIT, WDT, LWP, topology, perf counters, MONITORX */
	r->ecx &= ~(BIT(2) | BIT(3) | BIT(9) | BIT(10) | BIT(12) | BIT(13) | BIT(15) | BIT(22) |
		    BIT(23) | BIT(24) | BIT(28) | BIT(29));
	r->edx &= ~(BIT(7) | BIT(9) | BIT(12) | BIT(14) | BIT(27)); /* and RDTSCP */
}

static void read_group(struct cpuid *to, uint32_t first, unsigned count)
{
	uint32_t last = read_cpu(first, 0).eax;

	for (uint32_t i = 0; i < count && first + i <= last; i++)
		to[i] = read_cpu(first + i, 0);
	if (to[0].eax >= first + count)
		to[0].eax = first + count - 1;
}

void guest_cpuid_setup(struct cpuid (*read)(uint32_t leaf, uint32_t subleaf))
{
	read_cpu = read;
	for (unsigned i = 0; i < BASIC_LEAVES; i++)
		basic[i] = extended[i] = (struct cpuid){ 0 };
	read_group(basic, 0, BASIC_LEAVES);
	read_group(extended, EXTENDED_LEAF, EXTENDED_LEAVES);
	xcr0_mask = basic[1].ecx & BIT(26) ? basic[0xd].eax & XCR0_OFFERED : 0;
	if (basic[0].eax > 0xd)
		basic[0].eax = 0xd;
	filter_leaf_1(&basic[1]);
	filter_leaf_7(&basic[7]);
	filter_extended_1(&extended[1]);
	basic[5] = basic[6] = basic[0xa] = basic[0xb] = (struct cpuid){ 0 };
	basic[0xd].eax = (uint32_t)xcr0_mask;
	basic[0xd].edx = 0;
	extended[7].edx = extended[7].edx & BIT(8); /* invariant TSC, nothing else */
	extended[8].ecx = 0;
	for (unsigned i = 9; i < EXTENDED_LEAVES; i++)
		extended[i] = (struct cpuid){ 0 };
	if (extended[0].eax > 0x80000008)
		extended[0].eax = 0x80000008;
	for (unsigned i = basic[0].eax + 1; i < BASIC_LEAVES; i++)
		basic[i] = (struct cpuid){ 0 };
}

uint64_t guest_xcr0_mask(void)
{
	return xcr0_mask;
}

static struct cpuid hypervisor_leaf(uint32_t leaf)
{
	/* "NestlingNest", by registers ebx, ecx, edx. */
	if (leaf == HYPERVISOR_LEAF)
		return (struct cpuid){ HYPERVISOR_LEAF, 0x7473654e, 0x676e696c, 0x7473654e };
	return (struct cpuid){ 0 };
}

/* Leaves whose answer depends on the subleaf. */
static struct cpuid subleaf_of(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid r;

	if (leaf == 4)
		return read_cpu(leaf, subleaf);
	if (leaf != 0xd || xcr0_mask == 0)
		return (struct cpuid){ 0 };
	r = read_cpu(leaf, subleaf);
	if (subleaf == 1)
		r.eax &= BIT(0) | BIT(1) | BIT(2); /* no XSAVES: it needs an MSR */
	else if (subleaf >= 64 || (xcr0_mask >> subleaf & 1) == 0)
		r = (struct cpuid){ 0 };
	return r;
}

struct cpuid guest_cpuid(uint32_t leaf, uint32_t subleaf, unsigned id, uint64_t cr4)
{
	struct cpuid r;

	const struct cpuid *plain = guest_cpuid_plain(leaf);

	if (plain != NULL)
		return *plain;
	if (leaf - HYPERVISOR_LEAF < 0x100)
		return hypervisor_leaf(leaf);
	if (leaf >= BASIC_LEAVES || leaf > basic[0].eax)
		return (struct cpuid){ 0 };
	if (subleaf != 0 && (leaf == 4 || leaf == 7 || leaf == 0xd))
		return subleaf_of(leaf, subleaf);
	r = basic[leaf];
	if (leaf == 1) {
		r.ebx |= id << 24;
		if (cr4 >> CR4_OSXSAVE_BIT & 1)
			r.ecx |= BIT(27);
	}
	return r;
}
