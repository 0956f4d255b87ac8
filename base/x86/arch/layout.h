/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Nestling's own address space, the upper half of a 48-bit space:
 *
 *   ffff800000000000  linear map of RAM (64 TiB)
 *   ffffc00000000000  kernel areas: KVirtArea, stacks, device registers (32 TiB)
 *   ffffe00000000000  frame metadata (1 TiB)
 *   ffffffff80000000  the image (1 GiB)
 */
#ifndef ARCH_LAYOUT_H
#define ARCH_LAYOUT_H

#define LINEAR_BASE 0xffff800000000000ul
#define LINEAR_SIZE 0x0000400000000000ul
#define KAREA_BASE  0xffffc00000000000ul
#define KAREA_END   0xffffe00000000000ul
#define META_BASE   0xffffe00000000000ul
#define META_SIZE   0x0000010000000000ul
#define IMAGE_BASE  0xffffffff80000000ul

#endif
