/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Who is at a guest's memory: the live readers and writers of each space, and the rule that a
 * writer excludes everybody else where it writes. (Seed 004, its ranges read as half-open ones.)
 *
 *      space: lock, slots      [0] reader 65  [0x1000, 0x3000)  "console"
 *                              [1]    -
 *                              [2] writer 130 [0x8000, 0x8200)  "loader"
 *
 * A claim takes the space's lock, compares with the slots in use, and takes a free one; giving it
 * back is one store by its owner. A claim and its end cost one locked instruction together.
 *
 * Ranges are bytes of guest-physical addresses, half-open: neighbours do not overlap, nothing
 * overlaps an empty range. Two addresses of one frame are two places here. The guest's own CPUs are
 * no parties, nor is the walk of a guest's tables (vmio/gva.h), which stands for one of them.
 */
#ifndef VMIO_OWNER_H
#define VMIO_OWNER_H

#include "base/addr.h"
#include "mm/vm_space.h"

#define OWNER_LIST 128 /* ranges of one list; half of what a space has room for */

struct vm_range {
	gpa_t at;
	uint64_t len; /* bytes */
};

/* A new id, of this CPU's own sequence: not from a handler that interrupts another call. */
uint64_t owner_new_id(void);

/*
 * Claims [first, end) of the space. 0, and *slot is the claim; -EBUSY: somebody else is there, both
 * parties are in owner_conflict() (and, the first, second, fourth, ... time, in the log); -ENOSPC:
 * too many claims. On errors nothing is claimed. An empty range takes no slot (*slot is NULL) and
 * never fails.
 */
int owner_claim(struct vm_space *space, uint64_t first, uint64_t end,
		const struct owner_party *party, struct owner_slot **slot);

/* All of the ranges, or none; errors as above. Ranges of one party that overlap are -EBUSY, but for
 * readers that share. Precondition: n <= OWNER_LIST, no range wraps. */
int owner_claim_list(struct vm_space *space, const struct vm_range *ranges, unsigned n,
		     const struct owner_party *party);

/* Gives a claim back; NULL is allowed. Precondition: it is live, and of that id. */
static inline void owner_release(struct owner_slot *slot, uint64_t id)
{
	if (slot != NULL) {
		MUST(slot->party.id == id &&
			     atomic_load_explicit(&slot->end, memory_order_relaxed) != 0,
		     "no claim of %llu", (unsigned long long)id);
		atomic_store_explicit(&slot->end, 0, memory_order_release);
	}
}

/* Gives back all claims of that id. Returns how many there were. */
unsigned owner_release_list(struct vm_space *space, uint64_t id);

/* Whether readers of the space share (they do, until told otherwise). Parties that are there stay.
 */
void owner_set_shared_readers(struct vm_space *space, bool shared);

/* What the last -EBUSY on this CPU was about: both parties with their ids, names and ranges. */
const char *owner_conflict(void);

/* Calls `party` for each live claim of the space, the space's lock held: it takes no lock but of
 * LOCK_LEAF, and claims nothing. */
void owner_each(struct vm_space *space, void (*party)(void *context, const struct owner_slot *slot),
		void *context);

/*
 * Takes the space's memory apart as its parties have it, byte by byte, and puts it together again
 * (vmio/view.h). Returns the number of violations, each told to `report`; 0 when every byte has one
 * party, or readers that share, or nobody. Checked builds do it at each claim.
 */
unsigned owner_audit(struct vm_space *space, void (*report)(const char *text));

#endif
