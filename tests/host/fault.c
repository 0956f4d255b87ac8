/* SPDX-License-Identifier: MPL-2.0 */
#define _GNU_SOURCE
#include "tests/host/fault.h"

#include <signal.h>
#include <stddef.h>
#include <ucontext.h>

#include "base/fixup.h"

/* Without an entry the default action is taken when the instruction faults again. */
static void on_fault(int signal_number, siginfo_t *info, void *context)
{
	greg_t *rip = &((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	uint64_t to;

	(void)info;
	if (fixup_find((uint64_t)*rip, &to))
		*rip = (greg_t)to;
	else
		signal(signal_number, SIG_DFL);
}

void host_fault_catch(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
}
