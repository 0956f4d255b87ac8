/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Accesses that may fault. An instruction that is allowed to fault has an entry in a table, which
 * names the place where to go on if it does:
 *
 *      1: mov (%src), %reg  ──▶ #PF ──▶ trap handler: is RIP in the table? ──▶ 2: "it faulted"
 *      2: ...                                         no: panic
 *
 * For #PF, #GP and #SS (an address that is not canonical), and #UD. A machine check that strikes
 * there is not the instruction's fault. The table is a section of the image: entries cost nothing
 * until one is needed, and are found by search.
 *
 * On the host the same code runs under a handler of SIGSEGV with the same table
 * (tests/host/fault.h).
 *
 * Addresses are any at all. The memory may change meanwhile; a word of up to 8 bytes is one access.
 */
#ifndef BASE_FIXUP_H
#define BASE_FIXUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * For asm statements: if the instruction at label `at` faults, go on at label `to`, with all
 * registers as they were. Both are texts, as "1b".
 */
#define FIXUP(at, to)                    \
	".pushsection fixups, \"a\"\n\t" \
	".balign 4\n\t"                  \
	".long " at " - .\n\t"           \
	".long " to " - .\n\t"           \
	".popsection\n\t"

/* Is it allowed to fault at `rip`? Then *to is where to go on; else *to is left alone. */
bool fixup_find(uint64_t rip, uint64_t *to);

/*
 * Copies byte after byte from low to high: where the destination lies ahead in the source, what was
 * just written is read again further on. Returns the number of bytes at the end that were NOT
 * copied: 0 when all were; the first of them is where reading or writing faulted, and nothing from
 * it on was written. (A fault leaves the string registers there: SDM vol. 1, 7.3.9.3.)
 */
static inline size_t fixup_copy_any(void *dst, const void *src, size_t n)
{
	__asm__ volatile("1:\trep movsb\n"
			 "2:\n\t" FIXUP("1b", "2b")
			 : "+D"(dst), "+S"(src), "+c"(n)::"memory");
	return n;
}

/*
 * fixup_loadN(at, value): 0; -EFAULT, and *value is left alone. Any alignment; an aligned word is
 * never torn. fixup_storeN(at, value): 0; -EFAULT, nothing is written, but for a word across a page
 * boundary, of which the part in the lower page may be.
 */
#define DEFINE_FIXUP_WORD(n, type, mov, reg)                         \
	static inline int fixup_load##n(const void *at, type *value) \
	{                                                            \
		int fault = -EFAULT;                                 \
		type got;                                            \
		__asm__ volatile("1:\t" mov " (%2), %0\n\t"          \
				 "xorl %1, %1\n"                     \
				 "2:\n\t" FIXUP("1b", "2b")          \
				 : "=&" reg(got), "+&r"(fault)       \
				 : "r"(at)                           \
				 : "memory", "cc");                  \
		if (fault == 0)                                      \
			*value = got;                                \
		return fault;                                        \
	}                                                            \
	static inline int fixup_store##n(void *at, type value)       \
	{                                                            \
		int fault = -EFAULT;                                 \
		__asm__ volatile("1:\t" mov " %1, (%2)\n\t"          \
				 "xorl %0, %0\n"                     \
				 "2:\n\t" FIXUP("1b", "2b")          \
				 : "+&r"(fault)                      \
				 : reg(value), "r"(at)               \
				 : "memory", "cc");                  \
		return fault;                                        \
	}                                                            \
	_Static_assert(sizeof(type) == n, "a word of " #n " bytes")

DEFINE_FIXUP_WORD(8, uint64_t, "movq", "r");
DEFINE_FIXUP_WORD(4, uint32_t, "movl", "r");
DEFINE_FIXUP_WORD(2, uint16_t, "movw", "r");
DEFINE_FIXUP_WORD(1, uint8_t, "movb", "q");

/* No outputs: compilers of our time lose those of an asm goto. */
#define FIXUP_MOVE(load, load_to, store)                                             \
	__asm__ goto("1:\t" load " (%1), " load_to "\n"                              \
		     "2:\t" store ", (%0)\n\t" FIXUP("1b", "%l2") FIXUP("2b", "%l2") \
		     :                                                               \
		     : "r"(dst), "r"(src)                                            \
		     : "rax", "memory"                                               \
		     : fault)

/* One word through a register: true when that worked. What it cannot do, fixup_copy_any counts. */
static inline __attribute__((always_inline)) bool fixup_copy_word(void *dst, const void *src,
								  size_t n)
{
	switch (n) {
	case 8:
		FIXUP_MOVE("movq", "%%rax", "movq %%rax");
		return true;
	case 4:
		FIXUP_MOVE("movl", "%%eax", "movl %%eax");
		return true;
	case 2:
		FIXUP_MOVE("movzwl", "%%eax", "movw %%ax");
		return true;
	case 1:
		FIXUP_MOVE("movzbl", "%%eax", "movb %%al");
		return true;
	}
fault:
	return false;
}

/*
 * Tries accesses that must fault, and one that must not. Returns the number of those that went
 * otherwise, each told to `report`. Needs the tables that Nestling (or a host) runs on: the lowest
 * page is not mapped, constants cannot be written.
 */
unsigned fixup_audit(void (*report)(const char *text));

#endif
