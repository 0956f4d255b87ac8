/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What the engine asks of a format (mm/engine.h), as far as host tables and AMD's nested tables
 * answer alike. Included by those two formats only, before the engine.
 */
#ifndef MM_X86_FMT_H
#define MM_X86_FMT_H

#include "mm/host_format.h"

#define FMT_LEVELS	    4
#define FMT_TABLE	    X86_TABLE
#define FMT_HW_MARKS(level) (X86_A | X86_D)

/* Without P there is no right, whatever the other bits say. */
static inline bool fmt_has(uint64_t raw, pt_attr_t needs, unsigned level)
{
	uint64_t bits = (needs & X86_COPIED) | (needs & PT_RW ? X86_P : 0) | x86_marks(needs);

	(void)level;
	return (raw & bits) == bits;
}

static inline uint64_t fmt_table(hpa_t table, unsigned level)
{
	(void)level;
	return table.hpa | X86_TABLE | X86_P | X86_W | X86_U | X86_A;
}

static inline hpa_t fmt_hpa(uint64_t raw, unsigned level)
{
	(void)level;
	return hpa(raw & X86_ADDRESS);
}

static inline uint64_t fmt_address_bits(hpa_t at, unsigned level)
{
	(void)level;
	return at.hpa;
}

static inline uint64_t fmt_marks(pt_attr_t attr, unsigned level)
{
	(void)level;
	return x86_marks(attr);
}

static inline bool fmt_attr_ok(pt_attr_t attr)
{
	return x86_attr_ok(attr);
}

#endif
