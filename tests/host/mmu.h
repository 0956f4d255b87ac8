/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A memory management unit in software: walks the tables that the engine wrote, as a CPU would, by
 * the manuals and not by the engine's own decoding. It sets accessed and dirty bits, finds reserved
 * bits that are set, and knows nothing of locks, epochs or nodes.
 */
#ifndef TESTS_HOST_MMU_H
#define TESTS_HOST_MMU_H

#include <stdbool.h>
#include <stdint.h>

enum mmu_format {
	MMU_EPT,  /* SDM vol. 3, 29.3: 4 levels, accessed/dirty on, execute-only allowed */
	MMU_NPT,  /* APM vol. 2, 15.25: 4 levels, guest accesses are user accesses */
	MMU_HOST, /* SDM vol. 3, 5.5: 4 levels, accesses of the supervisor */
	MMU_FAKE, /* tests/unit/fake_pt.c: 5 levels */
};

#define MMU_READ  1u
#define MMU_WRITE 2u
#define MMU_EXEC  4u

#define MMU_PHYS_BITS 46 /* of the CPU that this pretends to be */

struct mmu {
	enum mmu_format format;
	uint64_t root;	/* host-physical address of the table to begin with, */
	unsigned level; /* and its level; 0: the topmost */
};

#define MMU_MAX_LEVELS 5

/* What a translation-lookaside buffer would keep. */
struct mmu_page {
	uint64_t gpa, hpa, size;	    /* of the whole page */
	uint8_t rights;			    /* MMU_*, of all levels together */
	uint8_t mem;			    /* memory type as in an MTRR */
	bool accessed;			    /* of the leaf, before this walk; */
	bool dirty;			    /* after it */
	uint64_t table[MMU_MAX_LEVELS + 1]; /* by level; 0: the walk did not get there */
};

enum mmu_result {
	MMU_DONE,
	MMU_FAULT,     /* nothing there, or not with this right */
	MMU_MALFORMED, /* an entry that no CPU would take: the engine's fault */
};

/*
 * Translates an access (one of MMU_*) as a CPU does, marks included. *out is valid on MMU_DONE;
 * else its size and gpa are those of the slot where the walk ended, and its tables are valid.
 * `access` 0: only looks, with any rights, and marks nothing.
 */
enum mmu_result mmu_walk(const struct mmu *m, uint64_t gpa, unsigned access, struct mmu_page *out);

/* How many levels, and how many bits of address, a format has. */
unsigned mmu_levels(enum mmu_format format);

#endif
