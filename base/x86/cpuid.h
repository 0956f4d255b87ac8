/* SPDX-License-Identifier: MPL-2.0 */
/* CPUID of the machine that we run on. */
#ifndef BASE_X86_CPUID_H
#define BASE_X86_CPUID_H

#include <stdbool.h>
#include <stdint.h>

struct cpuid {
	uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid_read(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid r;

	__asm__ volatile("cpuid"
			 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
			 : "a"(leaf), "c"(subleaf));
	return r;
}

/* All zero for a leaf above the highest of its group. */
static inline struct cpuid cpuid_leaf(uint32_t leaf, uint32_t subleaf)
{
	if (leaf > cpuid_read(leaf & 0x80000000, 0).eax)
		return (struct cpuid){ 0 };
	return cpuid_read(leaf, subleaf);
}

/* Physical address bits (MAXPHYADDR). */
static inline unsigned cpuid_maxphyaddr(void)
{
	unsigned bits = cpuid_leaf(0x80000008, 0).eax & 0xff;

	return bits != 0 ? bits : 36;
}

static inline bool cpuid_page_1g(void)
{
	return (cpuid_leaf(0x80000001, 0).edx >> 26 & 1) != 0;
}

#endif
