/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The host build's address space: "physical memory" is an arena mapped at LINEAR_BASE. The places
 * are free under ASan and, with HOST_TSAN, under TSan.
 */
#ifndef ARCH_LAYOUT_H
#define ARCH_LAYOUT_H

#ifdef HOST_TSAN
#define LINEAR_BASE 0x0000002000000000ul
#define META_BASE   0x0000006000000000ul
#else
#define LINEAR_BASE 0x0000200000000000ul
#define META_BASE   0x0000300000000000ul
#endif
#define LINEAR_SIZE 0x0000001000000000ul
#define META_SIZE   0x0000000100000000ul
#define KAREA_BASE  0xffffc00000000000ul
#define KAREA_END   0xffffe00000000000ul

#endif
