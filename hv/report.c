/* SPDX-License-Identifier: MPL-2.0 */
#include "base/log.h"
#include "hv/backend.h"
#include "hv/dispatch.h"

typedef unsigned long long ull;

void report_stopped(struct vcpu *v)
{
	const uint64_t *r = v->gpr;
	struct vcpu_state_full s;

	hv_backend->get(v, &s);
	log_info("guest '%s' stopped: vCPU %u: %s", v->guest->config.name, v->id, v->guest->why);
	log_info("  exit %s (0x%llx, 0x%llx, 0x%llx) at %04x:%llx, base %llx, rflags %llx",
		 exit_reason_name(v->last.reason), (ull)v->last.raw, (ull)v->last.info1,
		 (ull)v->last.info2, s.cs.selector, (ull)s.rip, (ull)s.cs.base, (ull)s.rflags);
	log_info("  rax %016llx rbx %016llx rcx %016llx rdx %016llx", (ull)r[GPR_RAX],
		 (ull)r[GPR_RBX], (ull)r[GPR_RCX], (ull)r[GPR_RDX]);
	log_info("  rsi %016llx rdi %016llx rbp %016llx rsp %016llx", (ull)r[GPR_RSI],
		 (ull)r[GPR_RDI], (ull)r[GPR_RBP], (ull)s.rsp);
	log_info("  cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx", (ull)s.cr0, (ull)s.cr2,
		 (ull)s.cr3, (ull)s.cr4, (ull)s.efer);
}

const char *exit_reason_name(enum exit_reason reason)
{
	static const char *const names[EXIT_REASONS] = {
		[EXIT_STAGE2] = "stage2",
		[EXIT_CPUID] = "cpuid",
		[EXIT_MSR_READ] = "msr-read",
		[EXIT_MSR_WRITE] = "msr-write",
		[EXIT_PORT] = "port",
		[EXIT_HLT] = "hlt",
		[EXIT_HYPERCALL] = "hypercall",
		[EXIT_CR] = "cr",
		[EXIT_XSETBV] = "xsetbv",
		[EXIT_CACHE] = "cache",
		[EXIT_EXCEPTION] = "exception",
		[EXIT_UNDEFINED] = "undefined",
		[EXIT_SHUTDOWN] = "shutdown",
		[EXIT_INTERRUPT] = "interrupt",
		[EXIT_NMI] = "nmi",
		[EXIT_TIMER] = "timer",
		[EXIT_ENTRY] = "entry-failed",
		[EXIT_OTHER] = "other",
	};

	return reason < EXIT_REASONS ? names[reason] : "?";
}
