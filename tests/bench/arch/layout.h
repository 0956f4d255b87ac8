/* SPDX-License-Identifier: MPL-2.0 */
/* The benchmarks' address space: low enough for the tool that counts instructions. */
#ifndef ARCH_LAYOUT_H
#define ARCH_LAYOUT_H

#define LINEAR_BASE 0x0000004000000000ul
#define META_BASE   0x0000003000000000ul
#define LINEAR_SIZE 0x0000001000000000ul
#define META_SIZE   0x0000000100000000ul
#define KAREA_BASE  0xffffc00000000000ul
#define KAREA_END   0xffffe00000000000ul

#endif
