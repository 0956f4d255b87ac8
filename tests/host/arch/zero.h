/* SPDX-License-Identifier: MPL-2.0 */
#ifndef ARCH_ZERO_H
#define ARCH_ZERO_H

#include <stdint.h>
#include <string.h>

static inline void arch_zero(void *p, uint64_t bytes)
{
	memset(p, 0, bytes);
}

#endif
