/* SPDX-License-Identifier: MPL-2.0 */
/* How the machine ends, so that the emulator that runs it can tell success from failure. */
#ifndef BASE_X86_POWER_H
#define BASE_X86_POWER_H

#include <stdbool.h>

/*
 * QEMU: isa-debug-exit at 0xf4, status 33 for ok and 35 for failure. Bochs: the debugger's port,
 * status 0 for ok and 1 for failure. Elsewhere: says so and halts.
 */
__attribute__((noreturn)) void power_off(bool ok);

#endif
