/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The machine of the host build: "physical memory" is an arena of this process. The code under test
 * is the very same as in the hypervisor.
 */
#ifndef TESTS_HOST_ARENA_H
#define TESTS_HOST_ARENA_H

#include <stdbool.h>
#include <stdint.h>

/* Physical memory [0, bytes) with all of it but page 0 free. One arena at a time. */
void arena_init(uint64_t bytes);
void arena_fini(void);

/* Runs `f(context)` in a child process: true when it panicked with a text that contains `text`. */
bool panics(void (*f)(void *context), void *context, const char *text);

#endif
