/* SPDX-License-Identifier: MPL-2.0 */
/* The VMCS and the VMX instructions. Every one's success is checked. (SDM vol. 3, appendix B) */
#ifndef HV_VMX_VMCS_H
#define HV_VMX_VMCS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/contract.h"

enum vmcs_field {
	VMCS_VPID = 0x0000,
	VMCS_GUEST_ES = 0x0800, /* ES, CS, SS, DS, FS, GS, LDTR, TR: two apart */
	VMCS_GUEST_CS = 0x0802,
	VMCS_HOST_ES = 0x0c00,
	VMCS_HOST_CS = 0x0c02,
	VMCS_HOST_SS = 0x0c04,
	VMCS_HOST_DS = 0x0c06,
	VMCS_HOST_FS = 0x0c08,
	VMCS_HOST_GS = 0x0c0a,
	VMCS_HOST_TR = 0x0c0c,
	VMCS_MSR_BITMAP = 0x2004,
	VMCS_EPTP = 0x201a,
	VMCS_GUEST_PHYSICAL = 0x2400,
	VMCS_LINK = 0x2800,
	VMCS_GUEST_DEBUGCTL = 0x2802,
	VMCS_GUEST_PAT = 0x2804,
	VMCS_GUEST_EFER = 0x2806,
	VMCS_GUEST_PDPTE0 = 0x280a,
	VMCS_HOST_PAT = 0x2c00,
	VMCS_HOST_EFER = 0x2c02,
	VMCS_PIN = 0x4000,
	VMCS_PROC = 0x4002,
	VMCS_EXCEPTIONS = 0x4004,
	VMCS_EXIT = 0x400c,
	VMCS_ENTRY = 0x4012,
	VMCS_ENTRY_INTR = 0x4016,
	VMCS_ENTRY_ERROR = 0x4018,
	VMCS_ENTRY_LEN = 0x401a,
	VMCS_PROC2 = 0x401e,
	VMCS_ERROR = 0x4400,
	VMCS_REASON = 0x4402,
	VMCS_EXIT_INTR = 0x4404,
	VMCS_EXIT_ERROR = 0x4406,
	VMCS_VECTORING = 0x4408,
	VMCS_VECTORING_ERROR = 0x440a,
	VMCS_LEN = 0x440c,
	VMCS_INSTRUCTION = 0x440e,
	VMCS_GUEST_ES_LIMIT = 0x4800, /* likewise */
	VMCS_GUEST_GDTR_LIMIT = 0x4810,
	VMCS_GUEST_IDTR_LIMIT = 0x4812,
	VMCS_GUEST_ES_ACCESS = 0x4814, /* likewise */
	VMCS_GUEST_SHADOW = 0x4824,    /* interruptibility */
	VMCS_GUEST_ACTIVITY = 0x4826,
	VMCS_GUEST_SYSENTER_CS = 0x482a,
	VMCS_TIMER = 0x482e,
	VMCS_HOST_SYSENTER_CS = 0x4c00,
	VMCS_CR0_MASK = 0x6000,
	VMCS_CR4_MASK = 0x6002,
	VMCS_CR0_SHADOW = 0x6004,
	VMCS_CR4_SHADOW = 0x6006,
	VMCS_QUALIFICATION = 0x6400,
	VMCS_LINEAR = 0x640a,
	VMCS_GUEST_CR0 = 0x6800,
	VMCS_GUEST_CR3 = 0x6802,
	VMCS_GUEST_CR4 = 0x6804,
	VMCS_GUEST_ES_BASE = 0x6806, /* likewise */
	VMCS_GUEST_FS_BASE = 0x680e,
	VMCS_GUEST_GS_BASE = 0x6810,
	VMCS_GUEST_GDTR_BASE = 0x6816,
	VMCS_GUEST_IDTR_BASE = 0x6818,
	VMCS_GUEST_DR7 = 0x681a,
	VMCS_GUEST_RSP = 0x681c,
	VMCS_GUEST_RIP = 0x681e,
	VMCS_GUEST_RFLAGS = 0x6820,
	VMCS_GUEST_PENDING_DEBUG = 0x6822,
	VMCS_GUEST_SYSENTER_ESP = 0x6824,
	VMCS_GUEST_SYSENTER_EIP = 0x6826,
	VMCS_HOST_CR0 = 0x6c00,
	VMCS_HOST_CR3 = 0x6c02,
	VMCS_HOST_CR4 = 0x6c04,
	VMCS_HOST_FS_BASE = 0x6c06,
	VMCS_HOST_GS_BASE = 0x6c08,
	VMCS_HOST_TR_BASE = 0x6c0a,
	VMCS_HOST_GDTR_BASE = 0x6c0c,
	VMCS_HOST_IDTR_BASE = 0x6c0e,
	VMCS_HOST_SYSENTER_ESP = 0x6c10,
	VMCS_HOST_SYSENTER_EIP = 0x6c12,
	VMCS_HOST_RSP = 0x6c14,
	VMCS_HOST_RIP = 0x6c16,
};

/* Controls. (SDM vol. 3, 25.6 to 25.8) */
#define PIN_EXTERNAL (1u << 0)
#define PIN_NMI	     (1u << 3)
#define PIN_TIMER    (1u << 6)

#define PROC_HLT       (1u << 7)
#define PROC_MWAIT     (1u << 10)
#define PROC_RDPMC     (1u << 11)
#define PROC_CR8_LOAD  (1u << 19)
#define PROC_CR8_STORE (1u << 20)
#define PROC_IO	       (1u << 24)
#define PROC_MSR_MAPS  (1u << 28)
#define PROC_MONITOR   (1u << 29)
#define PROC_SECOND    (1u << 31)

#define PROC2_EPT	   (1u << 1)
#define PROC2_VPID	   (1u << 5)
#define PROC2_WBINVD	   (1u << 6)
#define PROC2_UNRESTRICTED (1u << 7)

#define EXIT_SAVE_DEBUG (1u << 2)
#define EXIT_HOST_64	(1u << 9)
#define EXIT_ACK	(1u << 15)
#define EXIT_SAVE_PAT	(1u << 18)
#define EXIT_LOAD_PAT	(1u << 19)
#define EXIT_SAVE_EFER	(1u << 20)
#define EXIT_LOAD_EFER	(1u << 21)

#define ENTRY_LOAD_DEBUG (1u << 2)
#define ENTRY_LONG	 (1u << 9)
#define ENTRY_LOAD_PAT	 (1u << 14)
#define ENTRY_LOAD_EFER	 (1u << 15)

#define INTR_VALID     (1u << 31)
#define INTR_ERROR     (1u << 11)
#define INTR_TYPE      (7u << 8)
#define INTR_NMI       (2u << 8)
#define INTR_EXCEPTION (3u << 8)
#define SHADOW_NMI     (1u << 3)

static inline uint64_t vmcs_read(enum vmcs_field field)
{
	uint64_t value;
	bool fail;

	__asm__ volatile("vmread %2, %1" : "=@ccbe"(fail), "=r"(value) : "r"((uint64_t)field));
	MUST(!fail, "VMREAD of field 0x%x failed", (unsigned)field);
	return value;
}

static inline void vmcs_write(enum vmcs_field field, uint64_t value)
{
	bool fail;

	__asm__ volatile("vmwrite %1, %2" : "=@ccbe"(fail) : "r"(value), "r"((uint64_t)field));
	MUST(!fail, "VMWRITE of 0x%llx to field 0x%x failed", (unsigned long long)value,
	     (unsigned)field);
}

static inline void vmcs_clear(uint64_t hpa)
{
	bool fail;

	__asm__ volatile("vmclear %1" : "=@ccbe"(fail) : "m"(hpa) : "memory");
	MUST(!fail, "VMCLEAR of 0x%llx failed", (unsigned long long)hpa);
}

static inline void vmcs_load(uint64_t hpa)
{
	bool fail;

	__asm__ volatile("vmptrld %1" : "=@ccbe"(fail) : "m"(hpa) : "memory");
	MUST(!fail, "VMPTRLD of 0x%llx failed", (unsigned long long)hpa);
}

static inline bool vmx_on(uint64_t hpa)
{
	bool fail;

	__asm__ volatile("vmxon %1" : "=@ccbe"(fail) : "m"(hpa) : "memory");
	return !fail;
}

enum { INVEPT_SINGLE = 1, INVEPT_ALL = 2 };

static inline void invept(uint64_t type, uint64_t eptp)
{
	const struct {
		uint64_t eptp, reserved;
	} descriptor = { eptp, 0 };
	bool fail;

	__asm__ volatile("invept %1, %2" : "=@ccbe"(fail) : "m"(descriptor), "r"(type) : "memory");
	MUST(!fail, "INVEPT of type %llu for 0x%llx failed", (unsigned long long)type,
	     (unsigned long long)eptp);
}

#endif
