/* SPDX-License-Identifier: MPL-2.0 */
/* Model-specific registers. (SDM vol. 4; APM vol. 2, appendix A) */
#ifndef BASE_X86_MSR_H
#define BASE_X86_MSR_H

#include <stdint.h>

#define MSR_TSC		      0x10
#define MSR_APIC_BASE	      0x1b
#define MSR_FEATURE_CONTROL   0x3a
#define MSR_BIOS_SIGN	      0x8b
#define MSR_MTRRCAP	      0xfe
#define MSR_SYSENTER_CS	      0x174
#define MSR_SYSENTER_ESP      0x175
#define MSR_SYSENTER_EIP      0x176
#define MSR_MISC_ENABLE	      0x1a0
#define MSR_DEBUGCTL	      0x1d9
#define MSR_PAT		      0x277
#define MSR_MTRR_DEF_TYPE     0x2ff
#define MSR_VMX_BASIC	      0x480
#define MSR_VMX_PINBASED      0x481
#define MSR_VMX_PROCBASED     0x482
#define MSR_VMX_EXIT	      0x483
#define MSR_VMX_ENTRY	      0x484
#define MSR_VMX_MISC	      0x485
#define MSR_VMX_CR0_FIXED0    0x486
#define MSR_VMX_CR0_FIXED1    0x487
#define MSR_VMX_CR4_FIXED0    0x488
#define MSR_VMX_CR4_FIXED1    0x489
#define MSR_VMX_PROCBASED2    0x48b
#define MSR_VMX_EPT_VPID_CAP  0x48c
#define MSR_VMX_TRUE_PINBASED 0x48d
#define MSR_VMX_TRUE_PROC     0x48e
#define MSR_VMX_TRUE_EXIT     0x48f
#define MSR_VMX_TRUE_ENTRY    0x490
#define MSR_X2APIC	      0x800
#define MSR_EFER	      0xc0000080
#define MSR_STAR	      0xc0000081
#define MSR_LSTAR	      0xc0000082
#define MSR_CSTAR	      0xc0000083
#define MSR_SFMASK	      0xc0000084
#define MSR_FS_BASE	      0xc0000100
#define MSR_GS_BASE	      0xc0000101
#define MSR_KERNEL_GS_BASE    0xc0000102
#define MSR_TSC_AUX	      0xc0000103
#define MSR_VM_CR	      0xc0010114
#define MSR_VM_HSAVE_PA	      0xc0010117

#define EFER_SCE   (1ul << 0)
#define EFER_LME   (1ul << 8)
#define EFER_LMA   (1ul << 10)
#define EFER_NXE   (1ul << 11)
#define EFER_SVME  (1ul << 12)
#define EFER_FFXSR (1ul << 14)

#define FEATURE_CONTROL_LOCK (1ul << 0)
#define FEATURE_CONTROL_VMX  (1ul << 2)

static inline uint64_t msr_read(uint32_t msr)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr) : "memory");
	return (uint64_t)hi << 32 | lo;
}

static inline void msr_write(uint32_t msr, uint64_t v)
{
	__asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}

/* For registers that the CPU may not have: 0, or -EIO when the access faults (*v is 0 then). */
int msr_read_safe(uint32_t msr, uint64_t *v);

#endif
