/* SPDX-License-Identifier: MPL-2.0 */
#include "base/panic.h"

#include <arch/layout.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/print.h"
#include "base/x86/percpu.h"
#include "base/x86/power.h"
#include "base/x86/regs.h"
#include "base/x86/uart.h"

#define BACKTRACE_MAX 24

extern const char image_start[], image_text_end[];

static _Atomic bool panicking;

static void raw_put(struct print_sink *sink, char c)
{
	(void)sink;
	if (c == '\n')
		uart_put('\r');
	uart_put(c);
}

/* Frame pointers lead from caller to caller; a stack ends with a zero. */
static void backtrace(struct print_sink *out)
{
	const uint64_t *frame = __builtin_frame_address(0);

	for (unsigned i = 0; i < BACKTRACE_MAX && (uint64_t)(uintptr_t)frame >= LINEAR_BASE; i++) {
		uint64_t rip = frame[1];

		if (rip < (uint64_t)(uintptr_t)image_start ||
		    rip >= (uint64_t)(uintptr_t)image_text_end)
			break;
		print_to(out, "  called from %016llx\n", (unsigned long long)rip);
		if (frame[0] <= (uint64_t)(uintptr_t)frame)
			break;
		frame = (const uint64_t *)(uintptr_t)frame[0];
	}
}

void panic(const char *fmt, ...)
{
	struct print_sink out = { raw_put };
	va_list args;

	__asm__ volatile("cli");
	if (atomic_exchange(&panicking, true)) {
		/* The first one is telling its story; a panic while panicking must not drown it. */
		for (;;)
			__asm__ volatile("cli; hlt");
	}
	print_to(&out, "\nPANIC on CPU %u: ", cpu_id());
	va_start(args, fmt);
	vprint_to(&out, fmt, args);
	va_end(args);
	print_to(&out, "\n  cr0 %llx cr3 %llx cr4 %llx\n", (unsigned long long)cr0_read(),
		 (unsigned long long)cr3_read(), (unsigned long long)cr4_read());
	backtrace(&out);
	power_off(false);
}
