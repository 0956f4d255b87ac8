/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Contracts in the code. In a checked build (CHECKED=1: every test and, by default, `make run`) a
 * condition that does not hold panics with its text and place; in an unchecked build it costs
 * nothing and is not evaluated, so it must have no side effect.
 *
 *   REQUIRES   what the caller owes at entry
 *   ENSURES    what the function owes at exit
 *   INVARIANT  what holds in between
 *
 * MUST is for conditions that are checked in every build, because going on would be worse than
 * stopping (a reference count about to overflow, a VMX instruction that failed).
 */
#ifndef BASE_CONTRACT_H
#define BASE_CONTRACT_H

#include "base/panic.h"

#ifndef CHECKED
#define CHECKED 1
#endif

/* `text` is made where the condition is written, before the macros in it are expanded. */
#define CONTRACT_CHECK(kind, cond, text)                                                   \
	do {                                                                               \
		if (CHECKED && __builtin_expect(!(cond), 0))                               \
			panic("%s failed: %s (%s, %s:%d)", kind, text, __func__, __FILE__, \
			      __LINE__);                                                   \
	} while (0)

#define REQUIRES(cond)	CONTRACT_CHECK("precondition", cond, #cond)
#define ENSURES(cond)	CONTRACT_CHECK("postcondition", cond, #cond)
#define INVARIANT(cond) CONTRACT_CHECK("invariant", cond, #cond)

#define MUST(cond, fmt, ...)                                                                       \
	do {                                                                                       \
		if (__builtin_expect(!(cond), 0))                                                  \
			panic("%s: " fmt " (%s:%d)", __func__, ##__VA_ARGS__, __FILE__, __LINE__); \
	} while (0)

#endif
