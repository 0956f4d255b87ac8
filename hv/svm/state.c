/* SPDX-License-Identifier: MPL-2.0 */
/* A vCPU's registers in its control block. */
#include "base/err.h"
#include "base/string.h"
#include "base/x86/msr.h"
#include "base/x86/regs.h"
#include "hv/msr.h"
#include "hv/svm/svm.h"

#define ATTR_CODE 0x09b /* present, code, readable, accessed */
#define ATTR_DATA 0x093
#define ATTR_LDT  0x082
#define ATTR_TSS  0x08b

static struct vmcb_seg real_segment(uint16_t attr, uint64_t base)
{
	return (struct vmcb_seg){ (uint16_t)(base >> 4), attr, 0xffff, base };
}

void svm_reset(struct vcpu *v, uint32_t entry)
{
	struct vmcb *b = svm_vmcb(v);

	memset(v->gpr, 0, sizeof(v->gpr));
	b->es = b->ds = b->ss = b->fs = b->gs = real_segment(ATTR_DATA, 0);
	b->cs = real_segment(ATTR_CODE, entry & ~0xffffu);
	b->gdtr = b->idtr = (struct vmcb_seg){ .limit = 0xffff };
	b->idtr.limit = 0x3ff;
	b->ldtr = real_segment(ATTR_LDT, 0);
	b->tr = real_segment(ATTR_TSS, 0);
	b->cpl = 0;
	b->efer = EFER_SVME;
	b->cr0 = CR0_ET;
	b->cr2 = b->cr3 = b->cr4 = 0;
	b->dr6 = 0xffff0ff0;
	b->dr7 = 0x400;
	b->rflags = RFLAGS_FIXED;
	b->rsp = 0;
	b->pat = UINT64_C(0x0007040600070406);
	b->star = b->lstar = b->cstar = b->sfmask = b->kernel_gs_base = 0;
	b->sysenter_cs = b->sysenter_esp = b->sysenter_eip = 0;
	b->event_inj = 0;
	b->int_shadow = 0;
	v->rip = entry & 0xffff;
	v->xcr0 = 1;
}

static struct vcpu_seg seg_out(const struct vmcb_seg *s)
{
	return (struct vcpu_seg){ s->selector, s->attr, s->limit, s->base };
}

void svm_get(struct vcpu *v, struct vcpu_state_full *out)
{
	const struct vmcb *b = svm_vmcb(v);

	*out = (struct vcpu_state_full){
		.rip = v->rip,
		.rflags = b->rflags,
		.rsp = b->rsp,
		.cr0 = b->cr0,
		.cr2 = b->cr2,
		.cr3 = b->cr3,
		.cr4 = b->cr4,
		.efer = b->efer & ~EFER_SVME,
		.dr7 = b->dr7,
		.cs = seg_out(&b->cs),
		.ds = seg_out(&b->ds),
		.es = seg_out(&b->es),
		.fs = seg_out(&b->fs),
		.gs = seg_out(&b->gs),
		.ss = seg_out(&b->ss),
		.tr = seg_out(&b->tr),
		.ldtr = seg_out(&b->ldtr),
		.gdtr = seg_out(&b->gdtr),
		.idtr = seg_out(&b->idtr),
	};
}

/* The field of a register that the control block holds; NULL: not such a register. */
static uint64_t *msr_field(struct vmcb *b, uint32_t msr)
{
	switch (msr) {
	case MSR_FS_BASE:
		return &b->fs.base;
	case MSR_GS_BASE:
		return &b->gs.base;
	case MSR_KERNEL_GS_BASE:
		return &b->kernel_gs_base;
	case MSR_LSTAR:
		return &b->lstar;
	case MSR_CSTAR:
		return &b->cstar;
	case MSR_SYSENTER_ESP:
		return &b->sysenter_esp;
	case MSR_SYSENTER_EIP:
		return &b->sysenter_eip;
	case MSR_STAR:
		return &b->star;
	case MSR_SFMASK:
		return &b->sfmask;
	case MSR_SYSENTER_CS:
		return &b->sysenter_cs;
	case MSR_PAT:
		return &b->pat;
	default:
		return NULL;
	}
}

int svm_msr_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	struct vmcb *b = svm_vmcb(v);
	const uint64_t *field = msr_field(b, msr);

	if (msr == MSR_EFER) {
		*value = b->efer & ~EFER_SVME;
		return 0;
	}
	if (field == NULL)
		return -ENOENT;
	*value = *field;
	return 0;
}

static int efer_write(struct vmcb *b, uint64_t value)
{
	if (!guest_efer_valid(value, b->efer, b->cr0))
		return -EINVAL;
	b->efer = (value & ~EFER_LMA) | (b->efer & EFER_LMA) | EFER_SVME;
	return 0;
}

int svm_msr_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
	struct vmcb *b = svm_vmcb(v);
	uint64_t *field = msr_field(b, msr);

	if (msr == MSR_EFER)
		return efer_write(b, value);
	if (field == NULL)
		return -ENOENT;
	if ((guest_msr_is_address(msr) && !guest_canonical(value)) ||
	    (msr == MSR_PAT && !guest_pat_valid(value)))
		return -EINVAL;
	*field = value;
	return 0;
}

/* Two bits per register, read and write; three groups of 8192. (APM vol. 2, 15.11) */
static void bitmap_allow(uint8_t *bitmap, uint32_t msr, bool write)
{
	uint32_t group = msr < 0x2000 ? 0 : msr - 0xc0000000 < 0x2000 ? 1 : 2;
	uint32_t bit = group * 0x4000 + (msr & 0x1fff) * 2 + write;

	bitmap[bit / 8] &= (uint8_t) ~(1u << bit % 8);
}

void svm_msr_bitmap(uint8_t *bitmap)
{
	static const uint32_t read_write[] = { MSR_STAR, MSR_SFMASK, MSR_SYSENTER_CS };
	static const uint32_t read_only[] = { MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE,
					      MSR_LSTAR, MSR_CSTAR };

	memset(bitmap, 0xff, 2 * PAGE_SIZE);
	for (unsigned i = 0; i < 3; i++) {
		bitmap_allow(bitmap, read_write[i], false);
		bitmap_allow(bitmap, read_write[i], true);
	}
	/* Writes are looked at: not every emulator checks that an address is canonical. */
	for (unsigned i = 0; i < 5; i++)
		bitmap_allow(bitmap, read_only[i], false);
}
