/* SPDX-License-Identifier: MPL-2.0 */
/* What of hv/ needs no privilege: the CPU that guests see, MSR rules, what firmware and CPU lack.
 */
#include <CUnit/CUnit.h>
#include <string.h>

#include "base/err.h"
#include "base/x86/msr.h"
#include "base/x86/regs.h"
#include "hv/cpuid.h"
#include "hv/firmware.h"
#include "hv/msr.h"
#include "hv/vmx/vmcs.h"
#include "hv/vmx/vmx.h"

/* A CPU that has everything. */
static struct cpuid full_cpu(uint32_t leaf, uint32_t subleaf)
{
	if (leaf == 0)
		return (struct cpuid){ 0x1f, 1, 2, 3 };
	if (leaf == 0x80000000)
		return (struct cpuid){ 0x80000021, 1, 2, 3 };
	if (leaf == 0xd && subleaf == 0)
		return (struct cpuid){ 0x602e7, 2696, 2696, 0 };
	return (struct cpuid){ ~0u, ~0u, ~0u, ~0u };
}

static struct cpuid old_cpu(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid r = full_cpu(leaf, subleaf);

	if (leaf == 0)
		r.eax = 1;
	if (leaf == 1)
		r.ecx &= ~(1u << 26);
	return r;
}

static bool bit(uint32_t word, unsigned n)
{
	return (word >> n & 1) != 0;
}

static void test_cpuid_hides(void)
{
	struct cpuid r;

	guest_cpuid_setup(full_cpu);
	r = guest_cpuid(1, 0, 3, 0);
	CU_ASSERT_FALSE(bit(r.ecx, 5));	 /* VT-x */
	CU_ASSERT_FALSE(bit(r.ecx, 3));	 /* MONITOR */
	CU_ASSERT_FALSE(bit(r.ecx, 21)); /* x2APIC */
	CU_ASSERT_FALSE(bit(r.edx, 9));	 /* APIC */
	CU_ASSERT_FALSE(bit(r.edx, 12)); /* MTRR */
	CU_ASSERT_TRUE(bit(r.ecx, 31));	 /* a hypervisor */
	CU_ASSERT_EQUAL(r.ebx >> 24, 3);
	r = guest_cpuid(0x80000001, 0, 0, 0);
	CU_ASSERT_FALSE(bit(r.ecx, 2)); /* AMD-V */
	CU_ASSERT_TRUE(bit(r.edx, 29)); /* long mode */
	r = guest_cpuid(0x40000000, 0, 0, 0);
	CU_ASSERT_EQUAL(memcmp(&r.ebx, "Nest", 4), 0);
	/* OSXSAVE is the guest's own CR4. */
	CU_ASSERT_FALSE(bit(guest_cpuid(1, 0, 0, 0).ecx, 27));
	CU_ASSERT_TRUE(bit(guest_cpuid(1, 0, 0, CR4_OSXSAVE).ecx, 27));
}

static void test_cpuid_limits(void)
{
	struct cpuid r;

	guest_cpuid_setup(full_cpu);
	CU_ASSERT_EQUAL(guest_cpuid(0, 0, 0, 0).eax, 0xd);
	CU_ASSERT_EQUAL(guest_cpuid(0x80000000, 0, 0, 0).eax, 0x80000008);
	for (uint32_t leaf = 0xe; leaf < 0x40; leaf++) {
		r = guest_cpuid(leaf, 0, 0, 0);
		CU_ASSERT_EQUAL(r.eax | r.ebx | r.ecx | r.edx, 0);
	}
	r = guest_cpuid(0x80000021, 0, 0, 0);
	CU_ASSERT_EQUAL(r.eax | r.ebx | r.ecx | r.edx, 0);
	CU_ASSERT_EQUAL(guest_xcr0_mask(), 0xe7);
	CU_ASSERT_EQUAL(guest_cpuid(0xd, 1, 0, 0).eax, 7);
	CU_ASSERT_EQUAL(guest_cpuid(0xd, 17, 0, 0).eax, 0); /* a state that is not offered */
	guest_cpuid_setup(old_cpu);
	CU_ASSERT_EQUAL(guest_xcr0_mask(), 0);
	CU_ASSERT_FALSE(bit(guest_cpuid(1, 0, 0, 0).ecx, 28)); /* AVX */
	CU_ASSERT_EQUAL(guest_cpuid(7, 0, 0, 0).ebx, 0);
}

static void test_msr_rules(void)
{
	uint64_t v;

	CU_ASSERT_TRUE(guest_canonical(0x00007fffffffffff));
	CU_ASSERT_TRUE(guest_canonical(0xffff800000000000));
	CU_ASSERT_FALSE(guest_canonical(0x0000800000000000));
	CU_ASSERT_TRUE(guest_pat_valid(0x0007040600070406));
	CU_ASSERT_FALSE(guest_pat_valid(0x0007040600070402));
	CU_ASSERT_FALSE(guest_pat_valid(0x0807040600070406));
	CU_ASSERT_TRUE(guest_efer_valid(EFER_LME | EFER_NXE, 0, 0));
	CU_ASSERT_FALSE(guest_efer_valid(EFER_SVME, 0, 0));
	CU_ASSERT_FALSE(guest_efer_valid(0, EFER_LME, CR0_PG));
	CU_ASSERT_TRUE(guest_efer_valid(EFER_LME | EFER_SCE, EFER_LME, CR0_PG));
	CU_ASSERT_FALSE(guest_msr_read(MSR_APIC_BASE, &v));
	CU_ASSERT_FALSE(guest_msr_read(0x12345678, &v));
	CU_ASSERT_FALSE(guest_msr_write(MSR_VM_HSAVE_PA, 0));
	CU_ASSERT_TRUE(guest_msr_read(MSR_MISC_ENABLE, &v));
}

static void test_firmware(void)
{
	CU_ASSERT_PTR_NULL(firmware_refuses_vmx(true, true, 5));
	CU_ASSERT_PTR_NULL(firmware_refuses_vmx(true, true, 0)); /* not locked: we switch it on */
	CU_ASSERT_PTR_NULL(firmware_refuses_vmx(true, false, 0));
	CU_ASSERT_PTR_NOT_NULL_FATAL(firmware_refuses_vmx(true, true, FEATURE_CONTROL_LOCK));
	CU_ASSERT_PTR_NOT_NULL(strstr(firmware_refuses_vmx(true, true, FEATURE_CONTROL_LOCK),
				      "locked off by the firmware"));
	CU_ASSERT_PTR_NOT_NULL(strstr(firmware_refuses_vmx(false, true, 5), "no VT-x"));
	CU_ASSERT_PTR_NULL(firmware_refuses_svm(true, true, 0));
	CU_ASSERT_PTR_NOT_NULL(strstr(firmware_refuses_svm(true, true, 0x10), "firmware"));
	CU_ASSERT_PTR_NOT_NULL(strstr(firmware_refuses_svm(true, false, 0), "NPT"));
	CU_ASSERT_PTR_NOT_NULL(strstr(firmware_refuses_svm(false, false, 0), "no AMD-V"));
}

/* Capabilities of an imaginary CPU: everything may be set, `must` has to be; one may be missing. */
static uint32_t lacks_msr, lacks_bits;

static uint64_t cap_msr(uint32_t msr)
{
	uint64_t cap = UINT64_C(0xffffffff00000016);

	if (msr == MSR_VMX_BASIC)
		return UINT64_C(1) << 55;
	return msr == lacks_msr ? cap & ~((uint64_t)lacks_bits << 32) : cap;
}

static void test_vmx_controls(void)
{
	static const struct {
		uint32_t msr, bits;
		const char *name;
	} cases[] = {
		{ MSR_VMX_PROCBASED2, PROC2_EPT, "EPT" },
		{ MSR_VMX_PROCBASED2, PROC2_UNRESTRICTED, "unrestricted guest" },
		{ MSR_VMX_TRUE_PROC, PROC_SECOND, "secondary controls" },
		{ MSR_VMX_TRUE_PINBASED, PIN_TIMER, "the preemption timer" },
		{ MSR_VMX_TRUE_EXIT, EXIT_ACK, "acknowledging interrupts on exit" },
		{ MSR_VMX_TRUE_ENTRY, ENTRY_LOAD_EFER, "loading EFER at entry" },
	};
	struct vmx_controls c;
	const char *missing = NULL;

	lacks_msr = 0;
	CU_ASSERT_EQUAL(vmx_choose_controls(cap_msr, &c, &missing), 0);
	CU_ASSERT_EQUAL(c.pin, PIN_EXTERNAL | PIN_NMI | PIN_TIMER | 0x16);
	CU_ASSERT_EQUAL(c.proc2, PROC2_EPT | PROC2_UNRESTRICTED | PROC2_WBINVD | PROC2_VPID | 0x16);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		lacks_msr = cases[i].msr;
		lacks_bits = cases[i].bits;
		CU_ASSERT_EQUAL(vmx_choose_controls(cap_msr, &c, &missing), -ENODEV);
		CU_ASSERT_STRING_EQUAL(missing, cases[i].name);
	}
	/* VPID is welcome, not necessary. */
	lacks_msr = MSR_VMX_PROCBASED2;
	lacks_bits = PROC2_VPID;
	CU_ASSERT_EQUAL(vmx_choose_controls(cap_msr, &c, &missing), 0);
	CU_ASSERT_EQUAL(c.proc2 & PROC2_VPID, 0);
}

void suite_hv(void);
void suite_hv(void)
{
	CU_pSuite s = CU_add_suite("hv", NULL, NULL);

	CU_add_test(s, "cpuid hides what guests do not have", test_cpuid_hides);
	CU_add_test(s, "cpuid has limits", test_cpuid_limits);
	CU_add_test(s, "msr rules", test_msr_rules);
	CU_add_test(s, "firmware", test_firmware);
	CU_add_test(s, "vmx controls", test_vmx_controls);
}
