/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Address kinds. Each is a one-member struct, so that passing a guest-physical address where a
 * host-physical one is wanted does not compile. The members are named after the kind on purpose:
 * code that strips the type says which kind it strips.
 *
 *   hpa_t  host-physical     what the host's and the stage-2 tables contain
 *   gpa_t  guest-physical    what a guest's tables contain, what stage 2 translates
 *   hva_t  hypervisor-virtual
 *   gva_t  guest-virtual
 *
 * Byte counts and frame numbers are plain integers, not addresses.
 */
#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE  (UINT64_C(1) << PAGE_SHIFT)
#define SIZE_2M	   (UINT64_C(1) << 21)
#define SIZE_1G	   (UINT64_C(1) << 30)

#define DEFINE_ADDRESS_KIND(kind)                                           \
	typedef struct {                                                    \
		uint64_t kind;                                              \
	} kind##_t;                                                         \
	static inline kind##_t kind(uint64_t raw)                           \
	{                                                                   \
		return (kind##_t){ raw };                                   \
	}                                                                   \
	static inline kind##_t kind##_add(kind##_t a, uint64_t bytes)       \
	{                                                                   \
		return (kind##_t){ a.kind + bytes };                        \
	}                                                                   \
	static inline bool kind##_aligned(kind##_t a, uint64_t size)        \
	{                                                                   \
		return (a.kind & (size - 1)) == 0;                          \
	}                                                                   \
	static inline kind##_t kind##_align_down(kind##_t a, uint64_t size) \
	{                                                                   \
		return (kind##_t){ a.kind & ~(size - 1) };                  \
	}                                                                   \
	_Static_assert(sizeof(kind##_t) == 8, "an address is one register")

/*
 * For each kind K: K(raw) makes one from an integer, K_add(a, bytes) wraps like the integer does,
 * K_aligned/K_align_down take a power of two of type uint64_t.
 */
DEFINE_ADDRESS_KIND(hpa);
DEFINE_ADDRESS_KIND(gpa);
DEFINE_ADDRESS_KIND(hva);
DEFINE_ADDRESS_KIND(gva);

/* The pointer that a hypervisor-virtual address stands for, and back. */
static inline void *hva_ptr(hva_t a)
{
	return (void *)(uintptr_t)a.hva;
}

static inline hva_t hva_of(const void *p)
{
	return hva((uint64_t)(uintptr_t)p);
}

/* Rounding of byte counts and raw addresses; `size` is a power of two. */
static inline uint64_t round_down(uint64_t x, uint64_t size)
{
	return x & ~(size - 1);
}

/* Wraps to 0 when x lies in the last `size` bytes of the 64-bit space; callers bound x first. */
static inline uint64_t round_up(uint64_t x, uint64_t size)
{
	return (x + size - 1) & ~(size - 1);
}

#endif
