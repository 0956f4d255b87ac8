/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The TLBs of the host build's CPUs, for Nestling's own addresses: base/host_tlb.h in software.
 * They forget nothing that they are not told to: neither pages nor which leaf table an address has
 * (the paging-structure cache). Tables are walked by the manual (SDM vol. 3, 5.5), not by the
 * engine's decoding. Each CPU's part is used by its own thread only.
 */
#ifndef TESTS_HOST_HOST_TLB_H
#define TESTS_HOST_HOST_TLB_H

#include <stdbool.h>
#include <stdint.h>

#define TLB_READ  1u
#define TLB_WRITE 2u
#define TLB_EXEC  4u

/* Empty TLBs, no flushes counted; CR3 of all CPUs is `root`. `kick` is what host_tlb_kick does. */
void host_tlb_begin(uint64_t root, void (*kick)(unsigned cpu));

/*
 * The calling CPU accesses `va` with the rights `access`: by what it remembers, else by a walk
 * that it then remembers. False: page fault.
 */
bool host_tlb_access(uint64_t va, unsigned access, uint64_t *hpa);

/* What the calling CPU has flushed since host_tlb_begin. */
struct host_tlb_count {
	uint64_t pages, all; /* how many pages, how often everything */
	uint64_t last;	     /* page */
};
struct host_tlb_count host_tlb_count(void);

/* All that CPU `cpu` remembers: pages, and (table) where the leaf tables of 2 MiB are. */
void host_tlb_each(unsigned cpu, void (*f)(uint64_t va, uint64_t size, uint64_t hpa, bool table));

#endif
