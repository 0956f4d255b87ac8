/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Stale translations of Nestling's own space. As with a guest's (mm/tlb.h) there is a generation,
 * and for each CPU the one up to which it has flushed. Unlike with a guest's a CPU is always
 * inside, so that each change has a number of its own, and a CPU flushes first and says so
 * afterwards:
 *
 *      CPU 0 (drops an area)                    CPU 1 (runs)                      generation  seen
 *      entries := not present                   has them in its TLB                    7        7
 *      kspace_tlb_stamp: writes down what,      (goes on; may still reach the          8        7
 *        8 := the next generation                memory, which is still the area's)
 *      goes on; the area is in quarantine       end of its turn: kspace_tlb_flush
 *                                                 sees 8, reads what: INVLPG
 *      kspace_tlb_passed(8): not yet              seen := 8                            8        8
 *      kspace_tlb_passed(8): yes; addresses,
 *        memory, tables may be used again
 *
 * Nobody waits, and no CPU is interrupted, unless addresses or memory have run out: then
 * kspace_tlb_sync interrupts the CPUs that are behind. kspace_tlb_flush takes no lock and waits for
 * nothing, so that it may run in the handler of that interrupt (an NMI), wherever that strikes: two
 * CPUs that wait for each other serve each other.
 */
#ifndef MM_KSPACE_TLB_H
#define MM_KSPACE_TLB_H

#include <stdbool.h>

#include "base/addr.h"
#include "mm/tlb.h"

/* Up to this many pages are flushed one by one; more, all at once. */
#define KSPACE_TLB_PAGES 32

/* Whose generations. Once, before any CPU is online; NULL in tests: no space at all. */
void kspace_tlb_init(struct tlb_domain *d);

/* The calling CPU runs on the space from now on. What it has cached until here is flushed. */
void kspace_tlb_online(void);

/*
 * Flushes what the calling CPU is behind with, and nothing when it is not. Each CPU does it once a
 * turn and when it is interrupted. True: it was behind. Before kspace_tlb_online: does nothing.
 */
bool kspace_tlb_flush(void);

/*
 * [start, start + pages) has lost rights or is gone; pages 0: so have tables, or more than that.
 * Returns the generation that a CPU must have passed before any of it is used again. Precondition:
 * the entries have been written. What a flusher of the space dispatches to.
 */
uint64_t kspace_tlb_stamp(hva_t start, uint64_t pages);

/* Has every CPU that is online flushed what was stamped with `generation` and before? */
bool kspace_tlb_passed(uint64_t generation);

/* Interrupts the CPUs that have not, flushes its own, and waits for all. */
void kspace_tlb_sync_to(uint64_t generation);
/* The same for all that was stamped until now. */
void kspace_tlb_sync(void);

#endif
