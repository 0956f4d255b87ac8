/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Nestling runs with interrupts off, except where it idles; this header is what the few places use
 * that must be sure. NMIs are never off.
 */
#ifndef ARCH_IRQ_H
#define ARCH_IRQ_H

#include <stdbool.h>
#include <stdint.h>

static inline bool irq_enabled(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq; popq %0" : "=r"(flags)::"memory");
	return (flags & 0x200) != 0;
}

static inline void irq_disable(void)
{
	__asm__ volatile("cli" ::: "memory");
}

static inline void irq_enable(void)
{
	__asm__ volatile("sti" ::: "memory");
}

#endif
