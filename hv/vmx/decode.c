/* SPDX-License-Identifier: MPL-2.0 */
/* Exit reasons of VT-x in our words. (SDM vol. 3, chapter 28 and appendix C) */
#include "base/x86/msr.h"
#include "hv/vmx/vmcs.h"
#include "hv/vmx/vmx.h"

#define ENTRY_FAILURE (1u << 31)

enum {
	REASON_EXCEPTION = 0,
	REASON_INTERRUPT = 1,
	REASON_TRIPLE_FAULT = 2,
	REASON_CPUID = 10,
	REASON_GETSEC = 11,
	REASON_HLT = 12,
	REASON_INVD = 13,
	REASON_RDPMC = 15,
	REASON_RSM = 17,
	REASON_VMCALL = 18,
	REASON_VMX_FIRST = 19, /* VMCLEAR .. VMXON */
	REASON_VMX_LAST = 27,
	REASON_CR = 28,
	REASON_IO = 30,
	REASON_RDMSR = 31,
	REASON_WRMSR = 32,
	REASON_MWAIT = 36,
	REASON_MONITOR = 39,
	REASON_EPT_VIOLATION = 48,
	REASON_EPT_MISCONFIG = 49,
	REASON_INVEPT = 50,
	REASON_TIMER = 52,
	REASON_INVVPID = 53,
	REASON_WBINVD = 54,
	REASON_XSETBV = 55,
};

void vmx_unblock_nmi(void);

static void decode_exception(struct vm_exit *exit)
{
	uint32_t info = (uint32_t)vmcs_read(VMCS_EXIT_INTR);

	if ((info & INTR_TYPE) == INTR_NMI) {
		/* Without virtual NMIs the guest's own blocking is not wanted, and the host's ends
		 * only with an IRET. */
		vmcs_write(VMCS_GUEST_SHADOW, vmcs_read(VMCS_GUEST_SHADOW) & ~(uint64_t)SHADOW_NMI);
		vmx_unblock_nmi();
		exit->reason = EXIT_NMI;
		return;
	}
	exit->reason = EXIT_EXCEPTION;
	exit->exception.vector = (uint8_t)info;
	exit->exception.has_error = (info & INTR_ERROR) != 0;
	exit->exception.error = (uint32_t)vmcs_read(VMCS_EXIT_ERROR);
	exit->exception.address = exit->info1;
	/* What happened is in the qualification until DR6 is told. (SDM vol. 3, 28.2.1) */
	if (exit->exception.vector == 1)
		__asm__ volatile("mov %0, %%dr6" ::"r"(exit->info1 | 0xffff0ff0));
}

/* (SDM vol. 3, table 28-12) */
static void decode_string(uint32_t info, struct vm_exit *exit)
{
	exit->io.bits = (uint8_t)(16u << (info >> 7 & 3));
	exit->io.segment = info >> 15 & 7;
}

static void decode_io(struct vm_exit *exit)
{
	uint64_t q = exit->info1;

	exit->reason = EXIT_PORT;
	exit->io.port = (uint16_t)(q >> 16);
	exit->io.size = (q & 7) + 1;
	exit->io.in = (q >> 3 & 1) != 0;
	exit->io.string = (q >> 4 & 1) != 0;
	exit->io.rep = (q >> 5 & 1) != 0;
	exit->io.bits = 0;
	if (exit->io.string && (msr_read(MSR_VMX_BASIC) >> 54 & 1) != 0)
		decode_string((uint32_t)vmcs_read(VMCS_INSTRUCTION), exit);
}

static void decode_cr(struct vm_exit *exit)
{
	uint64_t q = exit->info1;
	unsigned type = q >> 4 & 3;

	exit->reason = EXIT_CR;
	exit->cr.cr = q & 15;
	exit->cr.gpr = q >> 8 & 15;
	exit->cr.write = type != 1;
	exit->cr.clts = type == 2;
	exit->cr.lmsw = type == 3;
	exit->cr.value = (uint16_t)(q >> 16);
	if (exit->cr.clts || exit->cr.lmsw)
		exit->cr.cr = 0;
}

static void decode_ept(struct vm_exit *exit, bool misconfig)
{
	exit->reason = EXIT_STAGE2;
	exit->info2 = vmcs_read(VMCS_GUEST_PHYSICAL);
	exit->fault = ept_decode_fault(exit->info1, gpa(exit->info2), gva(vmcs_read(VMCS_LINEAR)),
				       misconfig);
}

static enum exit_reason simple_reason(uint32_t reason)
{
	switch (reason) {
	case REASON_TRIPLE_FAULT:
		return EXIT_SHUTDOWN;
	case REASON_TIMER:
		return EXIT_TIMER;
	case REASON_INVD:
	case REASON_WBINVD:
		return EXIT_CACHE;
	case REASON_XSETBV:
		return EXIT_XSETBV;
	case REASON_GETSEC:
	case REASON_RDPMC:
	case REASON_RSM:
	case REASON_VMX_FIRST ... REASON_VMX_LAST:
	case REASON_MWAIT:
	case REASON_MONITOR:
	case REASON_INVEPT:
	case REASON_INVVPID:
		return EXIT_UNDEFINED;
	default:
		return EXIT_OTHER;
	}
}

static void decode_rest(uint32_t reason, struct vm_exit *exit)
{
	switch (reason) {
	case REASON_EXCEPTION:
		decode_exception(exit);
		break;
	case REASON_INTERRUPT:
		exit->reason = EXIT_INTERRUPT;
		exit->vector = (uint8_t)vmcs_read(VMCS_EXIT_INTR);
		break;
	case REASON_CR:
		decode_cr(exit);
		break;
	case REASON_EPT_MISCONFIG:
		decode_ept(exit, true);
		break;
	default:
		exit->reason = reason & ENTRY_FAILURE ? EXIT_ENTRY : simple_reason(reason);
	}
}

/* An event whose delivery the exit cut short goes in again with the next entry. (SDM vol.
 * 3, 28.2.4) */
static void redeliver(uint32_t vectoring)
{
	vmcs_write(VMCS_ENTRY_INTR, vectoring & ~(1u << 12));
	if (vectoring & INTR_ERROR)
		vmcs_write(VMCS_ENTRY_ERROR, vmcs_read(VMCS_VECTORING_ERROR));
	vmcs_write(VMCS_ENTRY_LEN, vmcs_read(VMCS_LEN));
}

void vmx_decode_exit(struct vcpu *v, struct vm_exit *exit)
{
	uint32_t reason = (uint32_t)vmcs_read(VMCS_REASON);
	uint32_t vectoring = (uint32_t)vmcs_read(VMCS_VECTORING);

	v->rip = vmcs_read(VMCS_GUEST_RIP);
	exit->raw = reason;
	exit->info1 = vmcs_read(VMCS_QUALIFICATION);
	exit->info2 = 0;
	exit->len = (uint8_t)vmcs_read(VMCS_LEN);
	if (vectoring & INTR_VALID)
		redeliver(vectoring);
	switch (reason) {
	case REASON_CPUID:
		exit->reason = EXIT_CPUID;
		break;
	case REASON_VMCALL:
		exit->reason = EXIT_HYPERCALL;
		break;
	case REASON_IO:
		decode_io(exit);
		break;
	case REASON_RDMSR:
		exit->reason = EXIT_MSR_READ;
		break;
	case REASON_WRMSR:
		exit->reason = EXIT_MSR_WRITE;
		break;
	case REASON_HLT:
		exit->reason = EXIT_HLT;
		break;
	case REASON_EPT_VIOLATION:
		decode_ept(exit, false);
		break;
	default:
		decode_rest(reason, exit);
	}
}

void vmx_inject(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error)
{
	(void)v;
	/* Real mode has no error codes, and the entry would be refused. (SDM vol. 3, 27.2.1.3) */
	has_error = has_error && (vmcs_read(VMCS_GUEST_CR0) & CR0_PE) != 0;
	vmcs_write(VMCS_ENTRY_INTR,
		   vector | INTR_EXCEPTION | INTR_VALID | (has_error ? INTR_ERROR : 0));
	if (has_error)
		vmcs_write(VMCS_ENTRY_ERROR, error);
}
