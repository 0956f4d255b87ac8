/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Moving bytes, where either side may fault and the other side of the world may be writing to them.
 * Every byte is loaded once, from low to high; what could not be moved is counted exactly.
 *
 *   1, 2, 4, 8 bytes    one load, one store
 *   up to 256           32 at a time through registers
 *   more                rep movsb
 *
 * Where the destination lies inside the source ahead of it, the result is that of rep movsb, byte
 * after byte: what was just written is read again further on.
 */
#ifndef VMIO_MOVE_H
#define VMIO_MOVE_H

#include "base/fixup.h"

/* Up to this many bytes go through registers. */
#define MOVE_SMALL 256

/* Returns how many bytes at the end were not moved: 0 when all were. */
static inline size_t move_string(void *dst, const void *src, size_t n)
{
	__asm__ volatile("1:\trep movsb\n"
			 "2:\n\t" FIXUP("1b", "2b")
			 : "+D"(dst), "+S"(src), "+c"(n)::"memory");
	return n;
}

/* 32 bytes. False: something faulted, and some of the destination may have been written. */
static inline bool move_block(void *dst, const void *src)
{
	uint64_t a, b, c, d;
	uint32_t fault = 1;

	__asm__ volatile("11:\tmovq (%6), %0\n"
			 "12:\tmovq 8(%6), %1\n"
			 "13:\tmovq 16(%6), %2\n"
			 "14:\tmovq 24(%6), %3\n"
			 "15:\tmovq %0, (%5)\n"
			 "16:\tmovq %1, 8(%5)\n"
			 "17:\tmovq %2, 16(%5)\n"
			 "18:\tmovq %3, 24(%5)\n\t"
			 "xorl %4, %4\n"
			 "19:\n\t" FIXUP("11b", "19b") FIXUP("12b", "19b") FIXUP("13b", "19b")
				 FIXUP("14b", "19b") FIXUP("15b", "19b") FIXUP("16b", "19b")
					 FIXUP("17b", "19b") FIXUP("18b", "19b")
			 : "=&r"(a), "=&r"(b), "=&r"(c), "=&r"(d), "+&r"(fault)
			 : "r"(dst), "r"(src)
			 : "memory", "cc");
	return fault == 0;
}

/* 33 to MOVE_SMALL bytes and odd sizes, not overlapping. What a block cannot do is counted byte by
 * byte: its loads are done again, and what the first ones gave is overwritten. */
static inline size_t move_blocks(void *dst, const void *src, size_t n)
{
	while (n >= 32) {
		if (!move_block(dst, src))
			return move_string(dst, src, n);
		dst = (char *)dst + 32;
		src = (const char *)src + 32;
		n -= 32;
	}
	while (n >= 8) {
		if (!fixup_copy_word(dst, src, 8))
			return move_string(dst, src, n);
		dst = (char *)dst + 8;
		src = (const char *)src + 8;
		n -= 8;
	}
	return n == 0 ? 0 : move_string(dst, src, n);
}

/* Moves n bytes from low to high. Returns how many at the end were not moved. */
static inline size_t move_bytes(void *dst, const void *src, size_t n)
{
	uintptr_t ahead = (uintptr_t)dst - (uintptr_t)src;

	if (__builtin_expect(n > MOVE_SMALL || ahead < n, 0))
		return move_string(dst, src, n);
	return fixup_copy_word(dst, src, n) ? 0 : move_blocks(dst, src, n);
}

/* Fills n bytes. Returns how many at the end were not filled. */
static inline size_t move_fill(void *dst, uint8_t byte, size_t n)
{
	__asm__ volatile("1:\trep stosb\n"
			 "2:\n\t" FIXUP("1b", "2b")
			 : "+D"(dst), "+c"(n)
			 : "a"(byte)
			 : "memory");
	return n;
}

#endif
