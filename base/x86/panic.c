/* SPDX-License-Identifier: MPL-2.0 */
#include "base/panic.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/fixup.h"
#include "base/print.h"
#include "base/x86/percpu.h"
#include "base/x86/power.h"
#include "base/x86/regs.h"
#include "base/x86/stop.h"
#include "base/x86/uart.h"

#define BACKTRACE_MAX 24
#define NOBODY	      MAX_CPUS

static _Atomic unsigned panicking = NOBODY;

static void raw_put(struct print_sink *sink, char c)
{
	(void)sink;
	if (c == '\n')
		uart_put('\r');
	uart_put(c);
}

/*
 * Frame pointers lead from caller to caller, across a trap too; a stack ends with a zero. Nothing
 * here trusts them: the stack may be what is broken.
 */
static void backtrace(struct print_sink *out, const void *innermost)
{
	uint64_t frame = (uint64_t)(uintptr_t)innermost, rip;

	for (unsigned i = 0; i < BACKTRACE_MAX && frame != 0; i++) {
		if (fixup_load8(hva_ptr(hva(frame + 8)), &rip) != 0 ||
		    fixup_load8(hva_ptr(hva(frame)), &frame) != 0)
			break;
		print_to(out, "  called from %016llx\n", (unsigned long long)rip);
	}
}

/* Only the first CPU tells its story, and only once. */
static void panic_claim(struct print_sink *out)
{
	unsigned owner = NOBODY;

	if (atomic_compare_exchange_strong(&panicking, &owner, cpu_id()))
		return;
	if (owner == cpu_id()) {
		print_to(out, "\nPANIC while telling of a panic\n");
		power_off(false);
	}
	for (;;)
		__asm__ volatile("cli; hlt");
}

void panic(const char *fmt, ...)
{
	struct print_sink out = { raw_put };
	va_list args;

	__asm__ volatile("cli");
	panic_claim(&out);
	stop_others();
	print_to(&out, "\nPANIC on CPU %u: ", cpu_id());
	va_start(args, fmt);
	vprint_to(&out, fmt, args);
	va_end(args);
	print_to(&out, "\n  cr0 %llx cr3 %llx cr4 %llx\n", (unsigned long long)cr0_read(),
		 (unsigned long long)cr3_read(), (unsigned long long)cr4_read());
	backtrace(&out, __builtin_frame_address(0));
	power_off(false);
}
