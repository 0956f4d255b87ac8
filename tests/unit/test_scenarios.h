/* SPDX-License-Identifier: MPL-2.0 */
/*
 * CPUs in a guest, as numbers, for the scenarios of stage 2 (tests/unit/space.h). Each forgets
 * nothing by itself: neither a translation nor a table that it has met. A kicked CPU tries its hand
 * once more with what it remembers, as far as a test wants, and then leaves.
 */
#ifndef TESTS_UNIT_TEST_SCENARIOS_H
#define TESTS_UNIT_TEST_SCENARIOS_H

#include "tests/host/mmu.h"
#include "tests/unit/space.h"

#define VCPUS 4 /* CPU 0 changes the space, 1 .. 3 run the guest */

/* Nobody is inside, nothing is remembered, and frames and tables that end are looked for. */
void guests_begin(void);
/* All leave; the allocator may have what is left. */
void guests_end(void);

void guest_enter(unsigned cpu);
/* With another space, which may have another format. */
void guest_enter_space(unsigned cpu, struct vm_space *other);
void guest_leave(unsigned cpu);

/* One access (MMU_*) of a CPU inside, by what it remembers or else by a walk: where it goes, or
 * UINT64_MAX when it faults. */
uint64_t guest_access(unsigned cpu, uint64_t at, unsigned access);

/* CPUs that have been kicked since guests_begin, a bit each; how often frames or tables that a CPU
 * inside remembers were given to the allocator. */
extern uint64_t guests_kicked, guests_betrayed;

/* What a kicked CPU does before it leaves; NULL: nothing. */
extern void (*guest_kicked)(unsigned cpu);

/* What a CPU that remembers nothing finds in the tables of `space`, without marking anything. */
enum mmu_result fresh_look(uint64_t at, struct mmu_page *out);

#endif
