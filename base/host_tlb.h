/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The calling CPU's own translations of hypervisor-virtual addresses. The hypervisor executes the
 * instructions (base/x86/host_tlb.c), the tests have a TLB in software (tests/host/host_tlb.c).
 * mm/kspace_tlb.h says when to use which. Nothing here takes a lock; an NMI may come in between.
 */
#ifndef BASE_HOST_TLB_H
#define BASE_HOST_TLB_H

#include <stdint.h>

#include "base/addr.h"

/*
 * Forgets the page of any size that contains `at`, global or not, and all that the CPU remembers of
 * tables (paging-structure caches; SDM vol. 3, 5.10.4.1; APM vol. 2, 5.5.2).
 */
void host_tlb_flush_page(hva_t at);

/* Forgets everything, global pages included. */
void host_tlb_flush_all(void);

/* Interrupts another CPU, whatever it does (NMI), so that it flushes soon. */
void host_tlb_kick(unsigned cpu);

#endif
