/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The end of the line: a broken internal invariant. Prints the message, the CPU's state and a
 * backtrace, stops the other CPUs and reports failure to the bed. Never used for anything that a
 * guest or a user can cause.
 */
#ifndef BASE_PANIC_H
#define BASE_PANIC_H

__attribute__((noreturn, cold, format(printf, 1, 2))) void panic(const char *fmt, ...);

#endif
