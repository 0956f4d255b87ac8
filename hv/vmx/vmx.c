/* SPDX-License-Identifier: MPL-2.0 */
/*
 * VT-x. One entry:
 *
 *   kicked := 0 ─ vm_space_activate ─ (INVEPT) ─ vmx_enter ─ vm_space_leave ─ decode
 *
 * A kick is an NMI; hv/vmx/enter.S says how one that comes before the entry is not lost. Every
 * entry has a preemption timer: it ends the turn, and on one emulator it is all that ends a guest
 * that runs with interrupts off.
 */
#include "hv/vmx/vmx.h"

#include "base/err.h"
#include "base/print.h"
#include "base/string.h"
#include "base/x86/cpuid.h"
#include "base/x86/msr.h"
#include "base/x86/percpu.h"
#include "base/x86/trap.h"
#include "hv/firmware.h"
#include "hv/vmx/vmcs.h"
#include "mm/frame_alloc.h"
#include "mm/kspace.h"

extern const char vmx_exit_point[], vmx_window[], vmx_window_end[], vmx_abort[];

const uint32_t vmx_lazy_msr[LAZY_MSRS] = { MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SFMASK,
					   MSR_KERNEL_GS_BASE };

static struct vmx_controls controls;
static uint32_t vmx_revision;
static unsigned timer_shift;
static uint64_t msr_bitmap; /* hpa */
static struct vmx_vcpu vmx_vcpus[GUESTS_MAX][GUEST_VCPUS];

static struct vmx_cpu {
	struct frame *region;
	struct vcpu *current; /* whose VMCS is loaded */
	struct vcpu *lazy;    /* whose MSRs are */
	volatile uint8_t kicked;
	bool enabled;
} vmx_cpu[MAX_CPUS];

static bool vmx_present(void)
{
	return cpuid_read(0, 0).ebx == 0x756e6547; /* "Genu" */
}

static int refuse(char *why, size_t why_size, const char *text)
{
	format(why, why_size, "%s", text);
	return -ENODEV;
}

static int check_firmware(char *why, size_t why_size)
{
	uint64_t control;
	bool readable = msr_read_safe(MSR_FEATURE_CONTROL, &control) == 0;
	const char *text = firmware_refuses_vmx((cpuid_leaf(1, 0).ecx >> 5 & 1) != 0, readable,
						control);

	return text != NULL ? refuse(why, why_size, text) : 0;
}

static int vmx_setup(char *why, size_t why_size)
{
	const char *missing;
	struct frame *bitmap;
	int err = check_firmware(why, why_size);

	if (err != 0)
		return err;
	if (vmx_choose_controls(msr_read, &controls, &missing) != 0) {
		format(why, why_size,
		       "this CPU's VT-x lacks %s: use a newer CPU, or Bochs with "
		       "model=corei7_skylake_x",
		       missing);
		return -ENODEV;
	}
	err = ept_setup(msr_read(MSR_VMX_EPT_VPID_CAP), cpuid_maxphyaddr(), why, why_size);
	if (err != 0)
		return err;
	bitmap = frame_alloc(0, FRAME_KERNEL, 0);
	if (bitmap == NULL)
		return refuse(why, why_size, "no memory for the MSR bitmap");
	vmx_msr_bitmap(frame_own_bytes(bitmap));
	msr_bitmap = frame_hpa(bitmap).hpa;
	vmx_revision = (uint32_t)msr_read(MSR_VMX_BASIC) & 0x7fffffff;
	timer_shift = msr_read(MSR_VMX_MISC) & 31;
	return 0;
}

static int vmx_cpu_enable(char *why, size_t why_size)
{
	struct vmx_cpu *c = &vmx_cpu[cpu_id()];
	uint64_t control;

	if (msr_read_safe(MSR_FEATURE_CONTROL, &control) == 0 &&
	    (control & FEATURE_CONTROL_LOCK) == 0)
		msr_write(MSR_FEATURE_CONTROL,
			  control | FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX);
	cr0_write((cr0_read() | msr_read(MSR_VMX_CR0_FIXED0)) & msr_read(MSR_VMX_CR0_FIXED1));
	cr4_write((cr4_read() | msr_read(MSR_VMX_CR4_FIXED0)) & msr_read(MSR_VMX_CR4_FIXED1));
	c->region = frame_alloc(0, FRAME_KERNEL, ALLOC_ZERO);
	if (c->region == NULL)
		return refuse(why, why_size, "no memory for a VMXON region");
	*(uint32_t *)frame_own_bytes(c->region) = vmx_revision;
	if (!vmx_on(frame_hpa(c->region).hpa)) {
		frame_put(c->region);
		return refuse(why, why_size,
			      "VMXON failed: is another hypervisor or the firmware using VT-x?");
	}
	c->enabled = true;
	return 0;
}

static void vmx_cpu_disable(void)
{
	struct vmx_cpu *c = &vmx_cpu[cpu_id()];

	if (!c->enabled)
		return;
	c->enabled = false;
	__asm__ volatile("vmxoff");
	cr4_write(cr4_read() & ~CR4_VMXE);
}

static void write_controls(struct vcpu *v, const struct vmx_vcpu *x)
{
	vmcs_write(VMCS_PIN, controls.pin);
	vmcs_write(VMCS_PROC, controls.proc);
	vmcs_write(VMCS_PROC2, controls.proc2);
	vmcs_write(VMCS_EXIT, controls.exit);
	vmcs_write(VMCS_ENTRY, controls.entry);
	vmcs_write(VMCS_EXCEPTIONS, 1u << VECTOR_DB | 1u << VECTOR_AC | 1u << VECTOR_MC);
	vmcs_write(VMCS_MSR_BITMAP, msr_bitmap);
	vmcs_write(VMCS_EPTP, x->eptp);
	vmcs_write(VMCS_LINK, UINT64_MAX);
	vmcs_write(VMCS_CR0_MASK, CR0_OWNED);
	vmcs_write(VMCS_CR4_MASK, CR4_OWNED);
	if (controls.proc2 & PROC2_VPID)
		vmcs_write(VMCS_VPID, 1 + v->guest->index * GUEST_VCPUS + v->id);
}

/* What the CPU goes back to; all but RSP. On the vCPU's own CPU. */
static void write_host(void)
{
	struct per_cpu *c = this_cpu();
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} idtr;

	__asm__ volatile("sidt %0" : "=m"(idtr));
	vmcs_write(VMCS_HOST_CS, SEL_CODE);
	vmcs_write(VMCS_HOST_SS, SEL_DATA);
	vmcs_write(VMCS_HOST_DS, SEL_DATA);
	vmcs_write(VMCS_HOST_ES, SEL_DATA);
	vmcs_write(VMCS_HOST_FS, 0);
	vmcs_write(VMCS_HOST_GS, 0);
	vmcs_write(VMCS_HOST_TR, SEL_TSS);
	vmcs_write(VMCS_HOST_CR0, cr0_read());
	vmcs_write(VMCS_HOST_CR3, cr3_read());
	vmcs_write(VMCS_HOST_CR4, cr4_read());
	vmcs_write(VMCS_HOST_FS_BASE, 0);
	vmcs_write(VMCS_HOST_GS_BASE, (uint64_t)(uintptr_t)c);
	vmcs_write(VMCS_HOST_TR_BASE, (uint64_t)(uintptr_t)&c->tss);
	vmcs_write(VMCS_HOST_GDTR_BASE, (uint64_t)(uintptr_t)c->gdt);
	vmcs_write(VMCS_HOST_IDTR_BASE, idtr.base);
	vmcs_write(VMCS_HOST_SYSENTER_CS, 0);
	vmcs_write(VMCS_HOST_SYSENTER_ESP, 0);
	vmcs_write(VMCS_HOST_SYSENTER_EIP, 0);
	vmcs_write(VMCS_HOST_EFER, msr_read(MSR_EFER));
	vmcs_write(VMCS_HOST_PAT, msr_read(MSR_PAT));
	vmcs_write(VMCS_HOST_RIP, (uint64_t)(uintptr_t)vmx_exit_point);
}

static int vmx_create(struct vcpu *v)
{
	struct vmx_vcpu *x = &vmx_vcpus[v->guest->index][v->id];

	*x = (struct vmx_vcpu){ .frame = frame_alloc(0, FRAME_KERNEL, ALLOC_ZERO), .cpu = -1 };
	if (x->frame == NULL)
		return -ENOMEM;
	x->vmcs = frame_hpa(x->frame).hpa;
	x->eptp = ept_pointer(&v->guest->space);
	*(uint32_t *)frame_own_bytes(x->frame) = vmx_revision;
	v->backend = x;
	return 0;
}

static void vmx_destroy(struct vcpu *v)
{
	struct vmx_vcpu *x = v->backend;

	REQUIRES(x->cpu < 0);
	frame_put(x->frame);
	v->backend = NULL;
}

static void save_lazy_msrs(struct vmx_cpu *c)
{
	/* The others are known from the guest's writes, which all exit. */
	((struct vmx_vcpu *)c->lazy->backend)->lazy[LAZY_KERNEL_GS_BASE] =
		msr_read(MSR_KERNEL_GS_BASE);
	c->lazy = NULL;
}

void vmx_release(struct vcpu *v)
{
	struct vmx_cpu *c = &vmx_cpu[cpu_id()];
	struct vmx_vcpu *x = v->backend;

	if (c->lazy == v)
		save_lazy_msrs(c);
	if (x->cpu != (int)cpu_id())
		return;
	vmcs_clear(x->vmcs);
	if (c->current == v)
		c->current = NULL;
	x->cpu = -1;
}

/* Brings a VMCS that is in no CPU to this one. */
static void vmx_adopt(struct vcpu *v, struct vmx_vcpu *x)
{
	REQUIRES(x->cpu < 0);
	if (!x->born)
		vmcs_clear(x->vmcs);
	x->cpu = (int)cpu_id();
	x->launched = false;
	vmcs_load(x->vmcs);
	vmx_cpu[cpu_id()].current = v;
	if (!x->born)
		write_controls(v, x);
	x->born = true;
	write_host();
}

void vmx_make_current(struct vcpu *v)
{
	struct vmx_cpu *c = &vmx_cpu[cpu_id()];
	struct vmx_vcpu *x = v->backend;

	if (c->current == v)
		return;
	if (x->cpu != (int)cpu_id()) {
		vmx_adopt(v, x);
		return;
	}
	vmcs_load(x->vmcs);
	c->current = v;
}

static void vmx_reset_here(struct vcpu *v, uint32_t entry)
{
	vmx_make_current(v);
	vmx_reset(v, entry);
}

static void load_lazy_msrs(struct vmx_cpu *c, struct vcpu *v)
{
	struct vmx_vcpu *x = v->backend;

	if (c->lazy != NULL)
		save_lazy_msrs(c);
	for (unsigned i = 0; i < LAZY_MSRS; i++)
		msr_write(vmx_lazy_msr[i], x->lazy[i]);
	c->lazy = v;
}

static void set_timer(uint64_t deadline)
{
	uint64_t now = tsc_read(), left = deadline > now ? (deadline - now) >> timer_shift : 0;

	vmcs_write(VMCS_TIMER, left < UINT32_MAX ? left : UINT32_MAX);
}

static void vmx_run(struct vcpu *v, struct vm_exit *exit, uint64_t deadline)
{
	struct vmx_cpu *c = &vmx_cpu[cpu_id()];
	struct vmx_vcpu *x = v->backend;
	int result;

	vmx_make_current(v);
	if (c->lazy != v)
		load_lazy_msrs(c, v);
	vmcs_write(VMCS_GUEST_RIP, v->rip);
	set_timer(deadline);
	if (cr2_read() != x->cr2)
		cr2_write(x->cr2);
	c->kicked = 0;
	__asm__ volatile("" ::: "memory");
	if (vm_space_activate(&v->guest->space))
		invept(ept_caps()->invept_single ? INVEPT_SINGLE : INVEPT_ALL, x->eptp);
	result = vmx_enter(v->gpr, x->launched, &c->kicked);
	x->cr2 = cr2_read();
	vm_space_leave(&v->guest->space);
	if (result == 0) {
		x->launched = true;
		vmx_decode_exit(v, exit);
	} else if (result == 1) {
		*exit = (struct vm_exit){ .reason = EXIT_ENTRY, .raw = vmcs_read(VMCS_ERROR) };
	} else {
		*exit = (struct vm_exit){ .reason = EXIT_NMI };
	}
}

static void vmx_nmi(struct trap_frame *f)
{
	uint64_t start = (uint64_t)(uintptr_t)vmx_window;
	uint64_t end = (uint64_t)(uintptr_t)vmx_window_end;

	vmx_cpu[cpu_id()].kicked = 1;
	if (f->rip >= start && f->rip < end)
		f->rip = (uint64_t)(uintptr_t)vmx_abort;
}

static uint64_t vmx_cr4(struct vcpu *v)
{
	(void)v;
	return (vmcs_read(VMCS_GUEST_CR4) & ~CR4_OWNED) | (vmcs_read(VMCS_CR4_SHADOW) & CR4_OWNED);
}

static void vmx_set_cr2(struct vcpu *v, uint64_t cr2)
{
	((struct vmx_vcpu *)v->backend)->cr2 = cr2;
}

static unsigned vmx_cpl(struct vcpu *v)
{
	/* DPL of SS is the privilege level in every mode. */
	(void)v;
	return vmcs_read(VMCS_GUEST_ES_ACCESS + 4) >> 5 & 3;
}

const struct hv_backend vmx_backend = {
	.name = "VT-x with EPT",
	.present = vmx_present,
	.setup = vmx_setup,
	.cpu_enable = vmx_cpu_enable,
	.cpu_disable = vmx_cpu_disable,
	.stage2 = &ept_ops,
	.create = vmx_create,
	.destroy = vmx_destroy,
	.release = vmx_release,
	.reset = vmx_reset_here,
	.run = vmx_run,
	.inject = vmx_inject,
	.set_cr2 = vmx_set_cr2,
	.get = vmx_get,
	.msr_read = vmx_msr_read,
	.msr_write = vmx_msr_write,
	.cr4 = vmx_cr4,
	.cpl = vmx_cpl,
	.nmi = vmx_nmi,
	.cr_access = vmx_cr_access,
};
