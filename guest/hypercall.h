/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The hypercalls, for both sides (also included from assembly). VMCALL on Intel, VMMCALL on AMD, in
 * any mode at CPL 0. eax: number; ebx, ecx, edx: arguments; eax: result. Other registers are kept.
 * At CPL > 0 the instruction gets #UD. An unknown number returns HC_UNKNOWN.
 */
#ifndef GUEST_HYPERCALL_H
#define GUEST_HYPERCALL_H

#define HC_VERSION   0 /* -> HC_MAGIC */
#define HC_EXIT	     1 /* ebx: status, 0 is success; stops the guest */
/* ebx: vCPU, ecx: page-aligned address below 1 MiB where it starts in real mode. -> 0, HC_ERROR */
#define HC_CPU_START 2
#define HC_CPU_ID    3 /* -> number of this vCPU */
#define HC_MEM_SIZE  4 /* -> bytes of RAM in 4 KiB pages */
#define HC_YIELD     5 /* lets another vCPU of this CPU run. -> 0 */
#define HC_REPORT    6 /* ebx: counter (0..7), ecx: value; shown by `guest NAME`. -> 0 */

#define HC_MAGIC   0x4e455354 /* "NEST" */
#define HC_UNKNOWN 0xffffffff
#define HC_ERROR   0xfffffffe

/* Debug console, one character per OUT, next to the UART at 0x3f8. */
#define DEBUG_PORT 0xe9

#endif
