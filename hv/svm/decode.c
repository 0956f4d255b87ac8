/* SPDX-License-Identifier: MPL-2.0 */
/* Exit codes of AMD-V in our words. (APM vol. 2, 15.9 to 15.14, appendix C) */
#include "hv/svm/svm.h"

/* Where the CPU does not say: instructions that have one encoding. Prefixes in front of them are
 * legal and never used; such a guest runs into the middle of its instruction and harms itself. */
static uint8_t fixed_length(uint64_t code)
{
	switch (code) {
	case SVM_EXIT_HLT:
		return 1;
	case SVM_EXIT_CPUID:
	case SVM_EXIT_MSR:
	case SVM_EXIT_INVD:
	case SVM_EXIT_WBINVD:
	case SVM_EXIT_RDPMC:
		return 2;
	case SVM_EXIT_VMMCALL:
	case SVM_EXIT_XSETBV:
		return 3;
	default:
		return 0;
	}
}

static inline uint8_t instruction_length(const struct vmcb *b, uint64_t code)
{
	if (svm_nrips && b->next_rip > b->rip)
		return (uint8_t)(b->next_rip - b->rip);
	return fixed_length(code);
}

static void decode_ioio(const struct vmcb *b, struct vm_exit *exit)
{
	uint64_t info = b->exit_info1;

	exit->reason = EXIT_PORT;
	exit->len = (uint8_t)(b->exit_info2 - b->rip);
	exit->io.port = (uint16_t)(info >> 16);
	exit->io.size = info >> 4 & 7;
	exit->io.in = (info & 1) != 0;
	exit->io.string = (info >> 2 & 1) != 0;
	exit->io.rep = (info >> 3 & 1) != 0;
}

static void decode_exception(const struct vmcb *b, uint64_t code, struct vm_exit *exit)
{
	exit->reason = EXIT_EXCEPTION;
	exit->exception.vector = (uint8_t)(code - SVM_EXIT_EXCEPTION);
	exit->exception.has_error = exit->exception.vector == 17;
	exit->exception.error = (uint32_t)b->exit_info1;
	exit->exception.address = b->exit_info2;
}

static enum exit_reason rare_reason(uint64_t code)
{
	switch (code) {
	case SVM_EXIT_INTR:
		return EXIT_INTERRUPT;
	case SVM_EXIT_NMI:
		return EXIT_NMI;
	case SVM_EXIT_SHUTDOWN:
		return EXIT_SHUTDOWN;
	case SVM_EXIT_INVD:
	case SVM_EXIT_WBINVD:
		return EXIT_CACHE;
	case SVM_EXIT_XSETBV:
		return EXIT_XSETBV;
	case SVM_EXIT_RDPMC:
	case SVM_EXIT_RSM:
	case SVM_EXIT_INVLPGA:
	case SVM_EXIT_VMRUN:
	case SVM_EXIT_VMLOAD ... SVM_EXIT_RDTSCP:
	case SVM_EXIT_MONITOR ... SVM_EXIT_MWAIT_ARM:
		return EXIT_UNDEFINED;
	default:
		return EXIT_OTHER;
	}
}

static void decode_rest(const struct vmcb *b, uint64_t code, struct vm_exit *exit)
{
	/* -1, which some emulators store as 32 bits: the control block was refused. */
	if ((uint32_t)code == UINT32_MAX)
		exit->reason = EXIT_ENTRY;
	else if (code >= SVM_EXIT_EXCEPTION && code < SVM_EXIT_EXCEPTION + 32)
		decode_exception(b, code, exit);
	else
		exit->reason = rare_reason(code);
}

/*
 * An event whose delivery the exit cut short goes in again with the next entry. One emulator
 * reports an external interrupt's as an exception's: no exception has such a vector.
 */
static uint64_t interrupted_event(uint64_t info)
{
	if ((info & SVM_EVENT_VALID) == 0)
		return 0;
	if ((info & SVM_EVENT_TYPE) == SVM_EVENT_EXCEPTION && (info & 0xff) >= 32)
		info &= ~SVM_EVENT_TYPE;
	return info;
}

void svm_decode_exit(struct vcpu *v, struct vm_exit *exit)
{
	struct vmcb *b = svm_vmcb(v);
	uint64_t code = b->exit_code;

	exit->raw = code;
	exit->info1 = b->exit_info1;
	exit->info2 = b->exit_info2;
	exit->len = instruction_length(b, code);
	b->event_inj = interrupted_event(b->exit_int_info);
	switch (code) {
	case SVM_EXIT_CPUID:
		exit->reason = EXIT_CPUID;
		break;
	case SVM_EXIT_VMMCALL:
		exit->reason = EXIT_HYPERCALL;
		break;
	case SVM_EXIT_IOIO:
		decode_ioio(b, exit);
		break;
	case SVM_EXIT_MSR:
		exit->reason = b->exit_info1 & 1 ? EXIT_MSR_WRITE : EXIT_MSR_READ;
		break;
	case SVM_EXIT_HLT:
		exit->reason = EXIT_HLT;
		break;
	case SVM_EXIT_NPF:
		exit->reason = EXIT_STAGE2;
		exit->fault = npt_decode_fault(b->exit_info1, b->exit_info2);
		break;
	default:
		decode_rest(b, code, exit);
	}
}
