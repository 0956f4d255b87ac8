/* SPDX-License-Identifier: MPL-2.0 */
/* A vCPU's registers in its VMCS, and the rules of CR0, CR4 and EFER. */
#include "base/err.h"
#include "base/string.h"
#include "base/x86/msr.h"
#include "hv/msr.h"
#include "hv/paging.h"
#include "hv/vmx/vmcs.h"
#include "hv/vmx/vmx.h"

enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, SEG_COUNT };

#define ACCESS_CODE	0x9b
#define ACCESS_DATA	0x93
#define ACCESS_LDT	0x82
#define ACCESS_TSS	0x8b
#define ACCESS_UNUSABLE (1u << 16)

static void write_segment(unsigned seg, uint64_t base, uint32_t access)
{
	vmcs_write(VMCS_GUEST_ES + 2 * seg, base >> 4 & 0xffff);
	vmcs_write(VMCS_GUEST_ES_BASE + 2 * seg, base);
	vmcs_write(VMCS_GUEST_ES_LIMIT + 2 * seg, 0xffff);
	vmcs_write(VMCS_GUEST_ES_ACCESS + 2 * seg, access);
}

static void reset_tables(void)
{
	vmcs_write(VMCS_GUEST_GDTR_BASE, 0);
	vmcs_write(VMCS_GUEST_GDTR_LIMIT, 0xffff);
	vmcs_write(VMCS_GUEST_IDTR_BASE, 0);
	vmcs_write(VMCS_GUEST_IDTR_LIMIT, 0x3ff);
	vmcs_write(VMCS_GUEST_SYSENTER_CS, 0);
	vmcs_write(VMCS_GUEST_SYSENTER_ESP, 0);
	vmcs_write(VMCS_GUEST_SYSENTER_EIP, 0);
}

static void reset_control_registers(void)
{
	vmcs_write(VMCS_CR0_SHADOW, CR0_ET);
	vmcs_write(VMCS_GUEST_CR0, CR0_ET | CR0_NE);
	vmcs_write(VMCS_GUEST_CR3, 0);
	vmcs_write(VMCS_CR4_SHADOW, 0);
	vmcs_write(VMCS_GUEST_CR4, CR4_VMXE);
	vmcs_write(VMCS_GUEST_EFER, 0);
	vmcs_write(VMCS_GUEST_PAT, UINT64_C(0x0007040600070406));
	vmcs_write(VMCS_GUEST_DR7, 0x400);
	vmcs_write(VMCS_GUEST_DEBUGCTL, 0);
	vmcs_write(VMCS_ENTRY, vmcs_read(VMCS_ENTRY) & ~(uint64_t)ENTRY_LONG);
}

void vmx_reset(struct vcpu *v, uint32_t entry)
{
	struct vmx_vcpu *x = v->backend;

	memset(v->gpr, 0, sizeof(v->gpr));
	memset(x->lazy, 0, sizeof(x->lazy));
	x->cr8 = x->cr2 = 0;
	for (unsigned seg = SEG_ES; seg < SEG_LDTR; seg++)
		write_segment(seg, 0, ACCESS_DATA);
	write_segment(SEG_CS, entry & ~0xffffu, ACCESS_CODE);
	write_segment(SEG_LDTR, 0, ACCESS_LDT | ACCESS_UNUSABLE);
	write_segment(SEG_TR, 0, ACCESS_TSS);
	reset_tables();
	reset_control_registers();
	vmcs_write(VMCS_GUEST_RSP, 0);
	vmcs_write(VMCS_GUEST_RFLAGS, RFLAGS_FIXED);
	vmcs_write(VMCS_GUEST_SHADOW, 0);
	vmcs_write(VMCS_GUEST_ACTIVITY, 0);
	vmcs_write(VMCS_GUEST_PENDING_DEBUG, 0);
	vmcs_write(VMCS_ENTRY_INTR, 0);
	v->rip = entry & 0xffff;
	v->xcr0 = 1;
}

static struct vcpu_seg read_segment(unsigned seg)
{
	uint32_t access = (uint32_t)vmcs_read(VMCS_GUEST_ES_ACCESS + 2 * seg);

	/* One that holds nothing may keep any attributes. */
	if ((access & ACCESS_UNUSABLE) != 0)
		access = 0;

	return (struct vcpu_seg){
		.selector = (uint16_t)vmcs_read(VMCS_GUEST_ES + 2 * seg),
		.attr = (uint16_t)((access & 0xff) | (access >> 4 & 0xf00)),
		.limit = (uint32_t)vmcs_read(VMCS_GUEST_ES_LIMIT + 2 * seg),
		.base = vmcs_read(VMCS_GUEST_ES_BASE + 2 * seg),
	};
}

static uint64_t guest_cr0(void)
{
	return (vmcs_read(VMCS_GUEST_CR0) & ~CR0_OWNED) | (vmcs_read(VMCS_CR0_SHADOW) & CR0_OWNED);
}

/* Does the CPU translate by the four registers? */
static bool pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	return (cr0 & CR0_PG) != 0 && (cr4 & CR4_PAE) != 0 && (efer & EFER_LME) == 0;
}

static void read_state(struct vcpu *v, struct vcpu_state_full *out)
{
	*out = (struct vcpu_state_full){
		.rip = v->rip,
		.rflags = vmcs_read(VMCS_GUEST_RFLAGS),
		.rsp = vmcs_read(VMCS_GUEST_RSP),
		.cr0 = guest_cr0(),
		.cr2 = ((struct vmx_vcpu *)v->backend)->cr2,
		.cr3 = vmcs_read(VMCS_GUEST_CR3),
		.cr4 = (vmcs_read(VMCS_GUEST_CR4) & ~CR4_OWNED) |
		       (vmcs_read(VMCS_CR4_SHADOW) & CR4_OWNED),
		.efer = vmcs_read(VMCS_GUEST_EFER),
		.dr7 = vmcs_read(VMCS_GUEST_DR7),
		.es = read_segment(SEG_ES),
		.cs = read_segment(SEG_CS),
		.ss = read_segment(SEG_SS),
		.ds = read_segment(SEG_DS),
		.fs = read_segment(SEG_FS),
		.gs = read_segment(SEG_GS),
		.ldtr = read_segment(SEG_LDTR),
		.tr = read_segment(SEG_TR),
	};
	for (unsigned i = 0; pae_paging(out->cr0, out->cr4, out->efer) && i < 4; i++)
		out->pdpte[i] = vmcs_read(VMCS_GUEST_PDPTE0 + 2 * i);
	out->gdtr.base = vmcs_read(VMCS_GUEST_GDTR_BASE);
	out->gdtr.limit = (uint32_t)vmcs_read(VMCS_GUEST_GDTR_LIMIT);
	out->idtr.base = vmcs_read(VMCS_GUEST_IDTR_BASE);
	out->idtr.limit = (uint32_t)vmcs_read(VMCS_GUEST_IDTR_LIMIT);
}

void vmx_get(struct vcpu *v, struct vcpu_state_full *out)
{
	bool visiting = ((struct vmx_vcpu *)v->backend)->cpu != (int)cpu_id();

	vmx_make_current(v);
	read_state(v, out);
	if (visiting)
		vmx_release(v);
}

/* Where a register of ours lives; -1: not such a register. */
static int msr_vmcs_field(uint32_t msr)
{
	switch (msr) {
	case MSR_FS_BASE:
		return VMCS_GUEST_FS_BASE;
	case MSR_GS_BASE:
		return VMCS_GUEST_GS_BASE;
	case MSR_SYSENTER_CS:
		return VMCS_GUEST_SYSENTER_CS;
	case MSR_SYSENTER_ESP:
		return VMCS_GUEST_SYSENTER_ESP;
	case MSR_SYSENTER_EIP:
		return VMCS_GUEST_SYSENTER_EIP;
	case MSR_PAT:
		return VMCS_GUEST_PAT;
	case MSR_EFER:
		return VMCS_GUEST_EFER;
	default:
		return -1;
	}
}

static int msr_lazy_index(uint32_t msr)
{
	for (int i = 0; i < LAZY_MSRS; i++)
		if (vmx_lazy_msr[i] == msr)
			return i;
	return -1;
}

int vmx_msr_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	int field = msr_vmcs_field(msr);

	(void)v;
	if (field >= 0)
		*value = vmcs_read((enum vmcs_field)field);
	else if (msr_lazy_index(msr) >= 0)
		*value = msr_read(msr); /* loaded: its vCPU is the one that runs here */
	else
		return -ENOENT;
	return 0;
}

static int efer_write(uint64_t value)
{
	uint64_t old = vmcs_read(VMCS_GUEST_EFER);

	if (!guest_efer_valid(value, old, guest_cr0()))
		return -EINVAL;
	vmcs_write(VMCS_GUEST_EFER, (value & ~EFER_LMA) | (old & EFER_LMA));
	return 0;
}

int vmx_msr_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
	struct vmx_vcpu *x = v->backend;
	int field = msr_vmcs_field(msr), lazy = msr_lazy_index(msr);

	if (msr == MSR_EFER)
		return efer_write(value);
	if (field < 0 && lazy < 0)
		return -ENOENT;
	if ((guest_msr_is_address(msr) && !guest_canonical(value)) ||
	    (msr == MSR_PAT && !guest_pat_valid(value)) ||
	    (msr == MSR_SFMASK && value > UINT32_MAX))
		return -EINVAL;
	if (field >= 0) {
		vmcs_write((enum vmcs_field)field, value);
	} else {
		x->lazy[lazy] = value;
		msr_write(msr, value);
	}
	return 0;
}

static void general_protection(struct vcpu *v)
{
	vmx_inject(v, 13, true, 0);
}

/* The CPU takes the four top entries of PAE paging from the VMCS. Where there is no memory all bits
 * read as ones, which is reserved. -EINVAL: #GP; -EAGAIN: not now; -ENOMEM: the guest has been
 * stopped. */
static int load_pdptes(struct vcpu *v)
{
	struct gva_mode mode = {
		.cr3 = vmcs_read(VMCS_GUEST_CR3),
		.maxphyaddr = guest_maxphyaddr(),
	};
	int err = gva_load_pdptes(&v->guest->space, &mode);

	/* What CPUs have given up comes back with the next turns: the instruction is done again. */
	if (err == -ENOMEM && epoch_pending() != 0)
		return -EAGAIN;
	if (err == -ENOMEM)
		guest_stop(v->guest, "the host has no memory left for its page tables");
	for (unsigned i = 0; err == 0 && i < 4; i++)
		vmcs_write(VMCS_GUEST_PDPTE0 + 2 * i, mode.pdpte[i]);
	return err == -EFAULT ? -EINVAL : err;
}

/* Long mode goes on and off with PG. False: #GP. */
static bool switch_paging(uint64_t value)
{
	uint64_t efer = vmcs_read(VMCS_GUEST_EFER), entry = vmcs_read(VMCS_ENTRY);
	bool long_mode = (value & CR0_PG) != 0 && (efer & EFER_LME) != 0;

	if (long_mode && (vmcs_read(VMCS_GUEST_CR4) & CR4_PAE) == 0)
		return false;
	vmcs_write(VMCS_GUEST_EFER, long_mode ? efer | EFER_LMA : efer & ~EFER_LMA);
	vmcs_write(VMCS_ENTRY, long_mode ? entry | ENTRY_LONG : entry & ~(uint64_t)ENTRY_LONG);
	return true;
}

/* Errors as load_pdptes. */
static int cr0_write_guest(struct vcpu *v, uint64_t value)
{
	uint64_t changed = value ^ guest_cr0(), cr4 = vmcs_read(VMCS_GUEST_CR4);
	int err = 0;

	if (value > UINT32_MAX || ((value & CR0_PG) != 0 && (value & CR0_PE) == 0) ||
	    ((value & CR0_NW) != 0 && (value & CR0_CD) == 0))
		return -EINVAL;
	/* (SDM vol. 3, 4.4.1) */
	if ((changed & (CR0_PG | CR0_CD | CR0_NW)) != 0 &&
	    pae_paging(value, cr4, vmcs_read(VMCS_GUEST_EFER)))
		err = load_pdptes(v);
	if (err != 0)
		return err;
	if ((changed & CR0_PG) != 0 && !switch_paging(value))
		return -EINVAL;
	vmcs_write(VMCS_CR0_SHADOW, value);
	/* Its caching is the machine's; NE is what VMX insists on. */
	vmcs_write(VMCS_GUEST_CR0, (value & ~(CR0_CD | CR0_NW)) | CR0_NE | CR0_ET);
	return 0;
}

static uint64_t *gpr_of(struct vcpu *v, unsigned gpr)
{
	return &v->gpr[gpr];
}

static uint64_t gpr_read(struct vcpu *v, unsigned gpr)
{
	return gpr == GPR_RSP ? vmcs_read(VMCS_GUEST_RSP) : *gpr_of(v, gpr);
}

static void cr8_read_guest(struct vcpu *v, unsigned gpr)
{
	struct vmx_vcpu *x = v->backend;

	if (gpr == GPR_RSP)
		vmcs_write(VMCS_GUEST_RSP, x->cr8);
	else
		*gpr_of(v, gpr) = x->cr8;
}

/* The value that an access to CR0 would make of it. */
static uint64_t cr0_wanted(struct vcpu *v, const struct vm_exit *exit)
{
	uint64_t old = guest_cr0();

	if (exit->cr.clts)
		return old & ~CR0_TS;
	if (exit->cr.lmsw) /* it can set PE, but not clear it */
		return (old & ~(uint64_t)0xe) | (exit->cr.value & 0xf);
	return gpr_read(v, exit->cr.gpr);
}

int vmx_cr_access(struct vcpu *v, const struct vm_exit *exit)
{
	struct vmx_vcpu *x = v->backend;
	bool ok;

	if (exit->cr.cr == 0 && exit->cr.write) {
		int err = cr0_write_guest(v, cr0_wanted(v, exit));

		if (err == -ENOMEM || err == -EAGAIN)
			return err;
		ok = err == 0;
	} else if (exit->cr.cr == 4 && exit->cr.write) {
		ok = false; /* only an attempt at VMXE comes here, which this guest does not have */
	} else if (exit->cr.cr == 8) {
		ok = !exit->cr.write || gpr_read(v, exit->cr.gpr) < 16;
		if (ok && exit->cr.write)
			x->cr8 = gpr_read(v, exit->cr.gpr);
		else if (ok)
			cr8_read_guest(v, exit->cr.gpr);
	} else {
		return -ENOSYS;
	}
	if (ok)
		v->rip += exit->len;
	else
		general_protection(v);
	return 0;
}

/* One bit per register: reads of the low and high group, then writes. (SDM vol. 3, 25.6.9) */
static void bitmap_allow(uint8_t *bitmap, uint32_t msr, bool write)
{
	uint32_t byte = (write ? 2048 : 0) + (msr >= 0xc0000000 ? 1024 : 0) + (msr & 0x1fff) / 8;

	bitmap[byte] &= (uint8_t) ~(1u << (msr & 7));
}

void vmx_msr_bitmap(uint8_t *bitmap)
{
	static const uint32_t free_msrs[] = { MSR_FS_BASE,     MSR_GS_BASE,	 MSR_KERNEL_GS_BASE,
					      MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP };

	memset(bitmap, 0xff, PAGE_SIZE);
	/* Loads of addresses are checked by the CPU itself. */
	for (unsigned i = 0; i < sizeof(free_msrs) / sizeof(free_msrs[0]); i++) {
		bitmap_allow(bitmap, free_msrs[i], false);
		bitmap_allow(bitmap, free_msrs[i], true);
	}
}
