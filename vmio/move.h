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

/* 32 bytes. False: something faulted, and some of the destination may have been written. */
static inline __attribute__((always_inline)) bool move_block(void *dst, const void *src)
{
	__asm__ goto("11:\tmovq (%1), %%rax\n"
		     "12:\tmovq 8(%1), %%rcx\n"
		     "13:\tmovq 16(%1), %%r8\n"
		     "14:\tmovq 24(%1), %%r9\n"
		     "15:\tmovq %%rax, (%0)\n"
		     "16:\tmovq %%rcx, 8(%0)\n"
		     "17:\tmovq %%r8, 16(%0)\n"
		     "18:\tmovq %%r9, 24(%0)\n\t" FIXUP("11b", "%l2") FIXUP("12b", "%l2")
			     FIXUP("13b", "%l2") FIXUP("14b", "%l2") FIXUP("15b", "%l2")
				     FIXUP("16b", "%l2") FIXUP("17b", "%l2") FIXUP("18b", "%l2")
		     :
		     : "r"(dst), "r"(src)
		     : "rax", "rcx", "r8", "r9", "memory"
		     : fault);
	return true;
fault:
	return false;
}

/* 33 to MOVE_SMALL bytes and odd sizes, not overlapping. What a block cannot do is counted byte by
 * byte: its loads are done again, and what the first ones gave is overwritten. */
static inline __attribute__((always_inline)) size_t move_blocks(void *dst, const void *src,
								size_t n)
{
	while (n >= 64) {
		if (!move_block(dst, src) || !move_block((char *)dst + 32, (const char *)src + 32))
			return fixup_copy_any(dst, src, n);
		dst = (char *)dst + 64;
		src = (const char *)src + 64;
		n -= 64;
	}
	if (n >= 32) {
		if (!move_block(dst, src))
			return fixup_copy_any(dst, src, n);
		dst = (char *)dst + 32;
		src = (const char *)src + 32;
		n -= 32;
	}
	while (n >= 8) {
		if (!fixup_copy_word(dst, src, 8))
			return fixup_copy_any(dst, src, n);
		dst = (char *)dst + 8;
		src = (const char *)src + 8;
		n -= 8;
	}
	return n == 0 ? 0 : fixup_copy_any(dst, src, n);
}

/* Without a branch on the size where that is a constant. */
static inline __attribute__((always_inline)) size_t move_known(void *dst, const void *src, size_t n)
{
	if (n == 1 || n == 2 || n == 4 || n == 8)
		return fixup_copy_word(dst, src, n) ? 0 : fixup_copy_any(dst, src, n);
	return n <= MOVE_SMALL ? move_blocks(dst, src, n) : fixup_copy_any(dst, src, n);
}

/* Does either begin within the other? A block that has stored over its own source cannot be done
 * again. */
static inline bool move_overlaps(const void *dst, const void *src, size_t n)
{
	return (uintptr_t)dst - (uintptr_t)src + (n - 1) < 2 * n - 1;
}

/* move_bytes for any size. */
size_t move_any(void *dst, const void *src, size_t n);

/* Moves n bytes from low to high. Returns how many at the end were not moved. */
static inline __attribute__((always_inline)) size_t move_bytes(void *dst, const void *src, size_t n)
{
	if (!__builtin_constant_p(n) || n > 128)
		return move_any(dst, src, n);
	if (__builtin_expect(move_overlaps(dst, src, n), 0))
		return fixup_copy_any(dst, src, n);
	return move_known(dst, src, n);
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
