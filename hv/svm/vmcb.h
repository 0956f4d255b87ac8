/* SPDX-License-Identifier: MPL-2.0 */
/* The virtual machine control block. (APM vol. 2, appendix B) */
#ifndef HV_SVM_VMCB_H
#define HV_SVM_VMCB_H

#include <stddef.h>
#include <stdint.h>

#include "hv/vcpu.h"

struct vmcb_seg {
	uint16_t selector, attr;
	uint32_t limit;
	uint64_t base;
};

struct vmcb {
	uint32_t intercept_cr, intercept_dr, intercept_exceptions, intercept_1, intercept_2;
	uint8_t reserved0[0x3c - 0x14];
	uint16_t pause_threshold, pause_count;
	uint64_t iopm, msrpm, tsc_offset;
	uint32_t asid;
	uint8_t tlb_control, reserved1[3];
	uint64_t int_control, int_shadow;
	uint64_t exit_code, exit_info1, exit_info2, exit_int_info;
	uint64_t np_enable;
	uint8_t reserved2[0xa8 - 0x98];
	uint64_t event_inj, ncr3, lbr_control;
	uint32_t clean, reserved3;
	uint64_t next_rip;
	uint8_t fetched, bytes[15];
	uint8_t reserved4[0x400 - 0xe0];
	struct vmcb_seg es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	uint8_t reserved5[0x4cb - 0x4a0];
	uint8_t cpl;
	uint32_t reserved6;
	uint64_t efer;
	uint8_t reserved7[0x548 - 0x4d8];
	uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
	uint8_t reserved8[0x5d8 - 0x580];
	uint64_t rsp;
	uint8_t reserved9[0x5f8 - 0x5e0];
	uint64_t rax, star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip, cr2;
	uint8_t reserved10[0x668 - 0x648];
	uint64_t pat, debugctl, br_from, br_to, last_excp_from, last_excp_to;
};

_Static_assert(offsetof(struct vmcb, iopm) == 0x40, "APM B-1");
_Static_assert(offsetof(struct vmcb, asid) == 0x58, "APM B-1");
_Static_assert(offsetof(struct vmcb, int_control) == 0x60, "APM B-1");
_Static_assert(offsetof(struct vmcb, exit_code) == 0x70, "APM B-1");
_Static_assert(offsetof(struct vmcb, np_enable) == 0x90, "APM B-1");
_Static_assert(offsetof(struct vmcb, event_inj) == 0xa8, "APM B-1");
_Static_assert(offsetof(struct vmcb, next_rip) == 0xc8, "APM B-1");
_Static_assert(offsetof(struct vmcb, es) == 0x400, "APM B-2");
_Static_assert(offsetof(struct vmcb, efer) == 0x4d0, "APM B-2");
_Static_assert(offsetof(struct vmcb, cr4) == 0x548, "APM B-2");
_Static_assert(offsetof(struct vmcb, rsp) == 0x5d8, "APM B-2");
_Static_assert(offsetof(struct vmcb, rax) == 0x5f8, "APM B-2");
_Static_assert(offsetof(struct vmcb, cr2) == 0x640, "APM B-2");
_Static_assert(offsetof(struct vmcb, pat) == 0x668, "APM B-2");

/* intercept_1 */
#define SVM_INTR	(1u << 0)
#define SVM_NMI		(1u << 1)
#define SVM_SMI		(1u << 2)
#define SVM_INIT	(1u << 3)
#define SVM_RDPMC	(1u << 15)
#define SVM_CPUID	(1u << 18)
#define SVM_RSM		(1u << 19)
#define SVM_INVD	(1u << 22)
#define SVM_HLT		(1u << 24)
#define SVM_INVLPGA	(1u << 26)
#define SVM_IOIO	(1u << 27)
#define SVM_MSR		(1u << 28)
#define SVM_TASK_SWITCH (1u << 29)
#define SVM_SHUTDOWN	(1u << 31)
/* intercept_2 */
#define SVM_VMRUN	(1u << 0)
#define SVM_VMMCALL	(1u << 1)
#define SVM_VMLOAD	(1u << 2)
#define SVM_VMSAVE	(1u << 3)
#define SVM_STGI	(1u << 4)
#define SVM_CLGI	(1u << 5)
#define SVM_SKINIT	(1u << 6)
#define SVM_RDTSCP	(1u << 7)
#define SVM_WBINVD	(1u << 9)
#define SVM_MONITOR	(1u << 10)
#define SVM_MWAIT	(1u << 11)
#define SVM_MWAIT_ARM	(1u << 12)
#define SVM_XSETBV	(1u << 13)

#define SVM_V_INTR_MASKING (UINT64_C(1) << 24)
#define SVM_NP_ENABLE	   1

enum {
	SVM_FLUSH_NONE = 0,
	SVM_FLUSH_ALL = 1,
	SVM_FLUSH_ASID = 3,
};

/* Exit codes. (APM vol. 2, appendix C) */
enum {
	SVM_EXIT_EXCEPTION = 0x40,
	SVM_EXIT_INTR = 0x60,
	SVM_EXIT_NMI = 0x61,
	SVM_EXIT_SMI = 0x62,
	SVM_EXIT_INIT = 0x63,
	SVM_EXIT_RDPMC = 0x6f,
	SVM_EXIT_CPUID = 0x72,
	SVM_EXIT_RSM = 0x73,
	SVM_EXIT_INVD = 0x76,
	SVM_EXIT_HLT = 0x78,
	SVM_EXIT_INVLPGA = 0x7a,
	SVM_EXIT_IOIO = 0x7b,
	SVM_EXIT_MSR = 0x7c,
	SVM_EXIT_SHUTDOWN = 0x7f,
	SVM_EXIT_VMRUN = 0x80,
	SVM_EXIT_VMMCALL = 0x81,
	SVM_EXIT_VMLOAD = 0x82,
	SVM_EXIT_VMSAVE = 0x83,
	SVM_EXIT_STGI = 0x84,
	SVM_EXIT_CLGI = 0x85,
	SVM_EXIT_SKINIT = 0x86,
	SVM_EXIT_RDTSCP = 0x87,
	SVM_EXIT_WBINVD = 0x89,
	SVM_EXIT_MONITOR = 0x8a,
	SVM_EXIT_MWAIT = 0x8b,
	SVM_EXIT_MWAIT_ARM = 0x8c,
	SVM_EXIT_XSETBV = 0x8d,
	SVM_EXIT_NPF = 0x400,
};

#define SVM_EVENT_VALID	    (UINT64_C(1) << 31)
#define SVM_EVENT_ERROR	    (UINT64_C(1) << 11)
#define SVM_EVENT_EXCEPTION (UINT64_C(3) << 8)
#define SVM_EVENT_TYPE	    (UINT64_C(7) << 8)

#endif
