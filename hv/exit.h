/* SPDX-License-Identifier: MPL-2.0 */
/* Why a guest left, in one vocabulary for both vendors. */
#ifndef HV_EXIT_H
#define HV_EXIT_H

#include "base/addr.h"
#include "ept/stage2.h"

enum exit_reason {
	EXIT_STAGE2, /* EPT violation, misconfiguration; nested page fault */
	EXIT_CPUID,
	EXIT_MSR_READ,
	EXIT_MSR_WRITE,
	EXIT_PORT,
	EXIT_HLT,
	EXIT_HYPERCALL,
	EXIT_CR, /* control-register access that we have to see */
	EXIT_XSETBV,
	EXIT_CACHE,	/* INVD, WBINVD */
	EXIT_EXCEPTION, /* one that we intercept */
	EXIT_UNDEFINED, /* an instruction that this guest does not have: gets #UD */
	EXIT_SHUTDOWN,	/* triple fault */
	EXIT_INTERRUPT, /* for the host: a device, the timer, another CPU */
	EXIT_NMI,
	EXIT_TIMER, /* VMX preemption timer */
	EXIT_ENTRY, /* the CPU refused the guest's state */
	EXIT_OTHER,
	EXIT_REASONS,
};

const char *exit_reason_name(enum exit_reason reason);

struct vm_exit {
	enum exit_reason reason;
	uint8_t len;	/* of the instruction, where skipping it makes sense; else 0 */
	uint64_t raw;	/* the vendor's code */
	uint64_t info1; /* exit qualification, EXITINFO1 */
	uint64_t info2; /* instruction error, EXITINFO2 */
	union {
		struct stage2_fault fault; /* EXIT_STAGE2 */
		struct {		   /* EXIT_PORT */
			uint16_t port;
			uint8_t size; /* 1, 2, 4 */
			bool in, string, rep;
			/* INS, OUTS: of the address, 16, 32 or 64 bits, and the number of the
			 * segment (ES, CS, SS, DS, FS, GS); `bits` 0: the CPU does not say */
			uint8_t bits, segment;
		} io;
		struct { /* EXIT_CR */
			uint8_t cr, gpr;
			bool write;
			bool lmsw, clts; /* then `value` is LMSW's source */
			uint16_t value;
		} cr;
		struct { /* EXIT_EXCEPTION */
			uint8_t vector;
			bool has_error;
			uint32_t error;
			uint64_t address; /* of #PF */
		} exception;
		uint8_t vector; /* EXIT_INTERRUPT: valid when the CPU acknowledged it on exit, else
				   0 */
	};
};

#endif
