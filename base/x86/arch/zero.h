/* SPDX-License-Identifier: MPL-2.0 */
#ifndef ARCH_ZERO_H
#define ARCH_ZERO_H

#include <stdint.h>

/* Zeroes `bytes`, a multiple of 8, at an 8-byte aligned place. */
static inline void arch_zero(void *p, uint64_t bytes)
{
	uint64_t count = bytes / 8;

	__asm__ volatile("rep stosq" : "+D"(p), "+c"(count) : "a"(0) : "memory");
}

#endif
