/* SPDX-License-Identifier: MPL-2.0 */
/*
 * AMD-V. One entry, under GIF = 0 so that no kick is lost between the check and the entry:
 *
 *   CLGI ─ vm_space_activate ─ STI ─ VMLOAD VMRUN VMSAVE ─ host VMLOAD ─ CLI ─ vm_space_leave ─
 * STGI
 *
 * An NMI that arrives before VMRUN is held until the guest is in, and brings it out at once. STI
 * lets physical interrupts end the guest whatever its own IF is. (APM vol. 2, 15.5, 15.21)
 */
#include "hv/svm/svm.h"

#include "base/err.h"
#include "base/print.h"
#include "base/string.h"
#include "base/x86/cpuid.h"
#include "base/x86/msr.h"
#include "base/x86/regs.h"
#include "hv/firmware.h"
#include "mm/frame_alloc.h"

#define MSRPM_ORDER    1
#define IOPM_ORDER     2
#define FEATURE_NPT    (1u << 0)
#define FEATURE_NRIPS  (1u << 3)
#define FEATURE_BYASID (1u << 6)

bool svm_nrips;
static bool svm_flush_by_asid;
static unsigned svm_asids;
static uint64_t svm_msrpm, svm_iopm;

/* Per CPU: where VMRUN keeps the host, where VMSAVE does, and who used each ASID last. */
static struct svm_cpu {
	struct frame *area, *host;
	uint64_t host_hpa;
	const struct vcpu *last[GUESTS_MAX];
	bool enabled;
} svm_cpu[MAX_CPUS];

static bool svm_present(void)
{
	struct cpuid vendor = cpuid_read(0, 0);

	return vendor.ebx == 0x68747541 || vendor.ebx == 0x6f677948; /* "Auth", "Hygo" */
}

static int svm_setup_tables(void)
{
	struct frame *msrpm = frame_alloc(MSRPM_ORDER, FRAME_KERNEL, 0);
	struct frame *iopm = frame_alloc(IOPM_ORDER, FRAME_KERNEL, 0);

	if (msrpm == NULL || iopm == NULL)
		return -ENOMEM;
	svm_msr_bitmap(frame_own_bytes(msrpm));
	memset(frame_own_bytes(iopm), 0xff, PAGE_SIZE << IOPM_ORDER);
	svm_msrpm = frame_hpa(msrpm).hpa;
	svm_iopm = frame_hpa(iopm).hpa;
	return 0;
}

static int svm_setup(char *why, size_t why_size)
{
	bool has = (cpuid_leaf(0x80000001, 0).ecx >> 2 & 1) != 0;
	struct cpuid features = cpuid_leaf(0x8000000a, 0);
	const char *text;
	uint64_t vm_cr;

	/* Some emulators do not have the register; then nothing is locked. */
	msr_read_safe(MSR_VM_CR, &vm_cr);
	text = firmware_refuses_svm(has, (features.edx & FEATURE_NPT) != 0, vm_cr);
	if (text != NULL) {
		format(why, why_size, "%s", text);
		return -ENODEV;
	}
	svm_nrips = (features.edx & FEATURE_NRIPS) != 0;
	svm_flush_by_asid = (features.edx & FEATURE_BYASID) != 0;
	svm_asids = features.ebx > GUESTS_MAX ? GUESTS_MAX : features.ebx - 1;
	npt_setup(cpuid_page_1g(), cpuid_maxphyaddr());
	if (features.ebx < 2 || svm_setup_tables() != 0) {
		format(why, why_size, "AMD-V cannot be set up: %u ASIDs, or no memory",
		       features.ebx);
		return -ENODEV;
	}
	return 0;
}

static int svm_cpu_enable(char *why, size_t why_size)
{
	struct svm_cpu *c = &svm_cpu[cpu_id()];

	c->area = frame_alloc(0, FRAME_KERNEL, ALLOC_ZERO);
	c->host = frame_alloc(0, FRAME_KERNEL, ALLOC_ZERO);
	if (c->area == NULL || c->host == NULL) {
		format(why, why_size, "no memory for CPU %u's AMD-V areas", cpu_id());
		return -ENODEV;
	}
	msr_write(MSR_EFER, msr_read(MSR_EFER) | EFER_SVME);
	msr_write(MSR_VM_HSAVE_PA, frame_hpa(c->area).hpa);
	__asm__ volatile("vmsave %0" ::"a"(frame_hpa(c->host).hpa) : "memory");
	c->host_hpa = frame_hpa(c->host).hpa;
	c->enabled = true;
	return 0;
}

static void svm_cpu_disable(void)
{
	if (!svm_cpu[cpu_id()].enabled)
		return;
	svm_cpu[cpu_id()].enabled = false;
	__asm__ volatile("stgi");
	msr_write(MSR_EFER, msr_read(MSR_EFER) & ~EFER_SVME);
}

static void svm_controls(struct vcpu *v, struct vmcb *b)
{
	b->intercept_exceptions = 1u << 1 | 1u << 17 | 1u << 18; /* #DB, #AC, #MC */
	b->intercept_1 = SVM_INTR | SVM_NMI | SVM_RDPMC | SVM_CPUID | SVM_RSM | SVM_INVD | SVM_HLT |
			 SVM_INVLPGA | SVM_IOIO | SVM_MSR | SVM_SHUTDOWN;
	b->intercept_2 = SVM_VMRUN | SVM_VMMCALL | SVM_VMLOAD | SVM_VMSAVE | SVM_STGI | SVM_CLGI |
			 SVM_SKINIT | SVM_RDTSCP | SVM_WBINVD | SVM_MONITOR | SVM_MWAIT |
			 SVM_MWAIT_ARM | SVM_XSETBV;
	b->iopm = svm_iopm;
	b->msrpm = svm_msrpm;
	b->asid = 1 + v->guest->index % svm_asids;
	b->int_control = SVM_V_INTR_MASKING;
	b->np_enable = SVM_NP_ENABLE;
	b->ncr3 = npt_root(&v->guest->space);
}

static struct svm_vcpu svm_vcpus[GUESTS_MAX][GUEST_VCPUS];

static int svm_create(struct vcpu *v)
{
	struct svm_vcpu *s = &svm_vcpus[v->guest->index][v->id];

	s->frame = frame_alloc(0, FRAME_KERNEL, ALLOC_ZERO);
	if (s->frame == NULL)
		return -ENOMEM;
	s->vmcb_hpa = frame_hpa(s->frame).hpa;
	s->vmcb = frame_own_bytes(s->frame);
	v->backend = s;
	svm_controls(v, s->vmcb);
	return 0;
}

static void svm_destroy(struct vcpu *v)
{
	frame_put(((struct svm_vcpu *)v->backend)->frame);
	for (unsigned cpu = 0; cpu < MAX_CPUS; cpu++)
		for (unsigned i = 0; i < GUESTS_MAX; i++)
			if (svm_cpu[cpu].last[i] == v)
				svm_cpu[cpu].last[i] = NULL;
	v->backend = NULL;
}

/*
 * What must be forgotten before this entry. An ASID stands for one vCPU at a time: guest-virtual
 * translations of two vCPUs differ even when their guest-physical ones do not.
 */
static inline uint8_t svm_flush_needed(struct svm_cpu *c, struct vcpu *v, struct vmcb *b)
{
	bool stale = vm_space_activate(&v->guest->space);

	if (c->last[b->asid - 1] != v) {
		c->last[b->asid - 1] = v;
		stale = true;
	}
	if (!stale)
		return SVM_FLUSH_NONE;
	return svm_flush_by_asid ? SVM_FLUSH_ASID : SVM_FLUSH_ALL;
}

static void svm_run(struct vcpu *v, struct vm_exit *exit, uint64_t deadline)
{
	struct svm_vcpu *s = v->backend;
	struct svm_cpu *c = &svm_cpu[cpu_id()];
	struct vmcb *b = s->vmcb;

	(void)deadline; /* the host's timer ends the guest */
	/* VMRUN loads it, but not on every emulator. */
	if (cr2_read() != b->cr2)
		cr2_write(b->cr2);
	b->rip = v->rip;
	b->rax = v->gpr[GPR_RAX];
	__asm__ volatile("clgi" ::: "memory");
	b->tlb_control = svm_flush_needed(c, v, b);
	__asm__ volatile("sti" ::: "memory");
	svm_enter(s->vmcb_hpa, v->gpr, c->host_hpa);
	__asm__ volatile("cli" ::: "memory");
	vm_space_leave(&v->guest->space);
	__asm__ volatile("stgi" ::: "memory");
	v->rip = b->rip;
	v->gpr[GPR_RAX] = b->rax;
	svm_decode_exit(v, exit);
}

static void svm_inject(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error)
{
	/* Real mode has no error codes. */
	has_error = has_error && (svm_vmcb(v)->cr0 & CR0_PE) != 0;
	svm_vmcb(v)->event_inj = vector | SVM_EVENT_EXCEPTION | SVM_EVENT_VALID |
				 (has_error ? SVM_EVENT_ERROR : 0) | (uint64_t)error << 32;
}

static void svm_set_cr2(struct vcpu *v, uint64_t cr2)
{
	svm_vmcb(v)->cr2 = cr2;
}

static uint64_t svm_cr4(struct vcpu *v)
{
	return svm_vmcb(v)->cr4;
}

static unsigned svm_cpl(struct vcpu *v)
{
	return svm_vmcb(v)->cpl;
}

static int svm_cr_access(struct vcpu *v, const struct vm_exit *exit)
{
	/* None is intercepted: with nested paging a guest's control registers are its own. */
	(void)v;
	(void)exit;
	return -ENOSYS;
}

const struct hv_backend svm_backend = {
	.name = "AMD-V with NPT",
	.present = svm_present,
	.setup = svm_setup,
	.cpu_enable = svm_cpu_enable,
	.cpu_disable = svm_cpu_disable,
	.stage2 = &npt_ops,
	.create = svm_create,
	.destroy = svm_destroy,
	.reset = svm_reset,
	.run = svm_run,
	.inject = svm_inject,
	.set_cr2 = svm_set_cr2,
	.get = svm_get,
	.msr_read = svm_msr_read,
	.msr_write = svm_msr_write,
	.cr4 = svm_cr4,
	.cpl = svm_cpl,
	.cr_access = svm_cr_access,
};
