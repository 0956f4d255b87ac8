/* SPDX-License-Identifier: MPL-2.0 */
/* Control registers and MSRs: every bit of the first, every number of the second. */
#include "guest/tiny/hostile.h"

#define MSR_EFER     0xc0000080
#define EFER_SVME    12
#define CR4_LA57     12
#define CR4_VMXE     13
#define CR4_OSXSAVE  18
#define CR4_UMIP     11
#define CR4_FSGSBASE 16
#define CR0_PE	     0
#define CR0_NW	     29
#define CR0_PG	     31
#define CR4_PAE	     5
#define EFER_LME     8

static uint64_t cr0, cr4, efer;

static void set_cr0(void *value)
{
	write_cr0((uint64_t)value);
}

static void set_cr4(void *value)
{
	write_cr4((uint64_t)value);
}

static void set_efer(void *value)
{
	wrmsr(MSR_EFER, (uint64_t)value);
}

/* Changes one bit after the other, each from the value as it was; returns the bits that took. */
static uint64_t each_bit(const char *name, void (*set)(void *), uint64_t was, uint64_t skip)
{
	uint64_t took = 0;

	for (unsigned bit = 0; bit < 64; bit++) {
		if (skip >> bit & 1)
			continue;
		if (probe_quietly(name, EITHER, set, ARG(was ^ 1ul << bit)) == TRY_DONE)
			took |= 1ul << bit;
		probe_quietly(name, EITHER, set, ARG(was));
	}
	say("hostile: bits of %s that could be changed: 0x%lx\n", name, took);
	return took;
}

/* EFER always comes by the hypervisor, which knows better. */
static void combinations(void)
{
	probe("EFER without LME", FAULTS, set_efer, ARG(efer & ~(1ul << EFER_LME)));
	probe("EFER with SVME", FAULTS, set_efer, ARG(efer | 1ul << EFER_SVME));
	probe("EFER all ones", FAULTS, set_efer, ARG(-1));
}

/*
 * The bits that this CPU knows. Others are for hostile_stop.c, as some emulators take them and then
 * refuse the guest; so is SMEP and SMAP, which would take the ground from under us, as all of our
 * pages are a user's. VMXE is tried where there may be VT-x.
 */
static uint64_t cr4_known(void)
{
	uint64_t known = 0x7ff & ~(1ul << CR4_PAE);

	known |= (uint64_t)(cpuid(7, 0).ebx & 1) << CR4_FSGSBASE;
	known |= (uint64_t)(cpuid(7, 0).ecx >> 2 & 1) << CR4_UMIP;
	known |= (uint64_t)(cpuid(1, 0).ecx >> 26 & 1) << CR4_OSXSAVE;
	return cpu_is_amd() ? known : known | 1ul << CR4_VMXE;
}

void hostile_registers(void)
{
	cr0 = read_cr0();
	cr4 = read_cr4();
	efer = rdmsr(MSR_EFER);
	combinations();
	/* What long mode must not be without is for hostile_stop.c: some emulators let it pass. */
	each_bit("CR0", set_cr0, cr0,
		 1ul << CR0_PE | 1ul << CR0_PG | 1ul << CR0_NW | ~0xfffffffful);
	each_bit("CR4", set_cr4, cr4, ~cr4_known());
	each_bit("EFER", set_efer, efer, 1ul << EFER_LME);
	/* Left on for what comes next, as far as they can be. */
	probe_quietly("CR4", EITHER, set_cr4,
		      ARG(cr4 | (cr4_known() & (1ul << CR4_VMXE | 1ul << CR4_OSXSAVE))));
	probe_quietly("EFER.SVME", EITHER, set_efer, ARG(efer | 1ul << EFER_SVME));
}

/* --- MSRs -------------------------------------------------------------------------------- */

static uint64_t msr_value;

static void read_one(void *msr)
{
	msr_value = rdmsr((uint32_t)(uint64_t)msr);
}

static void write_one(void *msr)
{
	wrmsr((uint32_t)(uint64_t)msr, msr_value);
}

static void range(uint32_t first, uint32_t count)
{
	unsigned readable = 0, writable = 0;

	for (uint32_t msr = first; msr != first + count; msr++) {
		msr_value = 0;
		if (probe_quietly("rdmsr", EITHER, read_one, ARG(msr)) != TRY_DONE)
			continue;
		readable++;
		writable += probe_quietly("wrmsr", EITHER, write_one, ARG(msr)) == TRY_DONE;
	}
	say("hostile: MSRs from 0x%x, %u of them: %u can be read, %u written back\n", first, count,
	    readable, writable);
}

/* Those that would do something on the machine itself, with values that they should not get. */
static void garbage(uint32_t msr)
{
	static const uint64_t values[] = { -1ul, 0xdeadbeefcafe1234, 0x8000000000000000, 1 };
	uint64_t was;
	bool keep;

	keep = probe_quietly("rdmsr", EITHER, read_one, ARG(msr)) == TRY_DONE;
	was = msr_value;
	for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		msr_value = values[i];
		probe_quietly("wrmsr", EITHER, write_one, ARG(msr));
	}
	msr_value = was;
	if (keep)
		probe_quietly("wrmsr", EITHER, write_one, ARG(msr));
}

void hostile_msrs(void)
{
	static const uint32_t mean[] = {
		0x10,	    0x1b,	0x3a,	    0x48,	0x49,	    0x79,	0x8b,
		0x9b,	    0x9e,	0xc1,	    0xe1,	0x10a,	    0x10b,	0x122,
		0x174,	    0x175,	0x176,	    0x179,	0x17a,	    0x186,	0x198,
		0x199,	    0x1a0,	0x1d9,	    0x1fc,	0x200,	    0x201,	0x250,
		0x277,	    0x2ff,	0x38d,	    0x38f,	0x400,	    0x401,	0x480,
		0x485,	    0x4c1,	0x570,	    0x600,	0x6a0,	    0x6a2,	0x6e0,
		0x80b,	    0x80f,	0x830,	    0x83f,	0xc80,	    0xd90,	0xda0,
		0x40000000, 0x40000001, 0x4b564d00, 0x4b564d01, 0xc0000081, 0xc0000082, 0xc0000083,
		0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103, 0xc0000104, 0xc00000e7,
		0xc0010010, 0xc0010015, 0xc0010016, 0xc0010017, 0xc0010054, 0xc0010111, 0xc0010112,
		0xc0010113, 0xc0010114, 0xc0010115, 0xc0010117, 0xc001011f, 0xc0010131, 0xc0011020,
		0xc0011029, 0xc0011030, 0xffffffff,
	};
	unsigned count = sizeof(mean) / sizeof(mean[0]);

	range(0, 0x2000);
	range(0x40000000, 0x400);
	range(0x4b564d00, 0x10);
	range(0xc0000000, 0x2000);
	range(0xc0010000, 0x2000);
	for (unsigned i = 0; i < count; i++)
		garbage(mean[i]);
	say("hostile: garbage written to %u MSRs\n", count);
}
