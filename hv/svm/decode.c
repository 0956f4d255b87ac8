/* SPDX-License-Identifier: MPL-2.0 */
/* Exit codes of AMD-V in our words. (APM vol. 2, 15.9 to 15.14, appendix C) */
#include "hv/svm/svm.h"

/*
 * Where the CPU does not say how long the instruction is: those that matter have one encoding.
 * Prefixes in front of them are legal and never used; such a guest runs into the middle of its
 * instruction and harms itself.
 */
static inline uint8_t length(const struct vmcb *b, uint8_t fixed)
{
	return svm_nrips ? (uint8_t)(b->next_rip - b->rip) : fixed;
}

static void decode_ioio(const struct vmcb *b, struct vm_exit *exit)
{
	uint64_t info = b->exit_info1;

	exit->reason = EXIT_PORT;
	exit->info1 = info;
	exit->len = (uint8_t)(b->exit_info2 - b->rip);
	exit->io.port = (uint16_t)(info >> 16);
	exit->io.size = info >> 4 & 7;
	exit->io.in = (info & 1) != 0;
	exit->io.string = (info >> 2 & 1) != 0;
	exit->io.rep = (info >> 3 & 1) != 0;
	/* Not every CPU names the segment of a string instruction. */
	exit->io.bits = 0;
}

static void decode_exception(const struct vmcb *b, uint64_t code, struct vm_exit *exit)
{
	exit->reason = EXIT_EXCEPTION;
	exit->exception.vector = (uint8_t)(code - SVM_EXIT_EXCEPTION);
	exit->exception.has_error = exit->exception.vector == 17;
	exit->exception.error = (uint32_t)b->exit_info1;
	exit->exception.address = b->exit_info2;
}

static enum exit_reason rare_reason(const struct vmcb *b, uint64_t code, uint8_t *len)
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
		*len = length(b, 2);
		return EXIT_CACHE;
	case SVM_EXIT_XSETBV:
		*len = length(b, 3);
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

static __attribute__((noinline)) void decode_rest(const struct vmcb *b, uint64_t code,
						  struct vm_exit *exit)
{
	exit->info1 = b->exit_info1;
	exit->info2 = b->exit_info2;
	exit->len = 0;
	/* -1, which some emulators store as 32 bits: the control block was refused. */
	if ((uint32_t)code == UINT32_MAX)
		exit->reason = EXIT_ENTRY;
	else if (code >= SVM_EXIT_EXCEPTION && code < SVM_EXIT_EXCEPTION + 32)
		decode_exception(b, code, exit);
	else
		exit->reason = rare_reason(b, code, &exit->len);
	exit->vector = exit->reason == EXIT_INTERRUPT ? 0 : exit->vector;
}

/*
 * An event whose delivery the exit cut short goes in again with the next entry. One emulator
 * reports an external interrupt's as an exception's: no exception has such a vector.
 */
static __attribute__((noinline)) uint64_t interrupted_event(uint64_t info)
{
	if ((info & SVM_EVENT_TYPE) == SVM_EVENT_EXCEPTION && (info & 0xff) >= 32)
		info &= ~SVM_EVENT_TYPE;
	return info;
}

void svm_decode_exit(struct vcpu *v, struct vm_exit *exit)
{
	struct vmcb *b = svm_vmcb(v);
	uint64_t code = b->exit_code, event = b->exit_int_info;

	exit->raw = code;
	b->event_inj = event & SVM_EVENT_VALID ? interrupted_event(event) : 0;
	/* The frequent ones fill in only what their handlers look at. */
	switch (code) {
	case SVM_EXIT_CPUID:
		exit->reason = EXIT_CPUID;
		exit->len = length(b, 2);
		break;
	case SVM_EXIT_VMMCALL:
		exit->reason = EXIT_HYPERCALL;
		exit->len = length(b, 3);
		break;
	case SVM_EXIT_IOIO:
		decode_ioio(b, exit);
		break;
	case SVM_EXIT_MSR:
		exit->reason = b->exit_info1 & 1 ? EXIT_MSR_WRITE : EXIT_MSR_READ;
		exit->len = length(b, 2);
		break;
	case SVM_EXIT_HLT:
		exit->reason = EXIT_HLT;
		exit->len = length(b, 1);
		break;
	case SVM_EXIT_NPF:
		exit->reason = EXIT_STAGE2;
		exit->info1 = b->exit_info1;
		exit->info2 = b->exit_info2;
		npt_fill_fault(&exit->fault, b->exit_info1, b->exit_info2);
		break;
	default:
		decode_rest(b, code, exit);
	}
}
