/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Who is at a guest's memory: the live readers and writers of each space, and the rule that a
 * writer excludes everybody else where it writes. (Seed 004, its ranges read as half-open ones.)
 *
 *      space ──hash──▶ stripe: lock, slots      [0] reader 65  [0x1000, 0x3000)  "console"
 *                                               [1]    -
 *                                               [2] writer 130 [0x8000, 0x8200)  "loader"
 *
 * A claim takes the stripe's lock, compares with the slots in use, and takes a free one; giving it
 * back is one store by its owner. A claim and its end cost one locked instruction together. Two
 * spaces may share a stripe, that is a lock and room, and nothing else.
 *
 * Ranges are bytes, half-open: neighbours do not overlap, nothing overlaps an empty range.
 */
#ifndef VMIO_OWNER_H
#define VMIO_OWNER_H

#include <stdatomic.h>

#include "base/addr.h"
#include "mm/vm_space.h"

#define OWNER_SLOTS 128 /* claims at a time in one stripe; more is -ENOSPC */

enum owner_kind {
	OWNER_READS,	   /* shares with others that read */
	OWNER_READS_ALONE, /* with nobody */
	OWNER_WRITES,	   /* with nobody */
	OWNER_SPACE_ALONE, /* not a party: readers of this space do not share */
};

struct owner_party {
	uint64_t id;	 /* of the reader or writer: never 0, never used twice */
	const char *who; /* names the place in the code; a constant */
	enum owner_kind kind;
};

struct owner_slot {
	const struct vm_space *_Atomic space; /* NULL: free; only its owner frees it */
	uint64_t first, end;
	struct owner_party party;
};

struct vm_range {
	gpa_t at;
	uint64_t len; /* bytes */
};

/* A new id, of this CPU's own sequence. */
uint64_t owner_new_id(void);

/*
 * Claims [first, end) of the space. 0, and *slot is the claim; -EBUSY: somebody else is there, both
 * parties are in the log and in owner_conflict(); -ENOSPC: too many claims. On errors nothing is
 * claimed. An empty range takes no slot (*slot is NULL) and never fails.
 */
int owner_claim(const struct vm_space *space, uint64_t first, uint64_t end,
		const struct owner_party *party, struct owner_slot **slot);

/* All of the ranges, or none; errors as above. Ranges of one writer that overlap are -EBUSY. */
int owner_claim_list(const struct vm_space *space, const struct vm_range *ranges, unsigned n,
		     const struct owner_party *party);

/* Gives a claim back; NULL is allowed. Precondition: it is live. */
static inline void owner_release(struct owner_slot *slot)
{
	if (slot != NULL) {
		REQUIRES(atomic_load_explicit(&slot->space, memory_order_relaxed) != NULL);
		atomic_store_explicit(&slot->space, NULL, memory_order_release);
	}
}

/* Gives back all claims of that id. Returns how many there were. */
unsigned owner_release_list(const struct vm_space *space, uint64_t id);

/* Whether readers of the space share (they do, until told otherwise). Parties that are there stay.
 * -ENOSPC: no room to remember it. */
int owner_set_shared_readers(const struct vm_space *space, bool shared);

/* What the last -EBUSY on this CPU was about: both parties with their ids, names and ranges. */
const char *owner_conflict(void);

/* Calls `party` for each live claim of the space, the stripe's lock held: it takes no lock but of
 * LOCK_LEAF, and claims nothing. */
void owner_each(const struct vm_space *space,
		void (*party)(void *context, const struct owner_slot *slot), void *context);

/*
 * Takes the space's memory apart as its parties have it, byte by byte, and puts it together again
 * (vmio/view.h). Returns the number of violations, each told to `report`; 0 when every byte has one
 * writer, or readers, or nobody. Checked builds do it at each claim.
 */
unsigned owner_audit(const struct vm_space *space, void (*report)(const char *text));

#endif
