/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The room in which each space keeps its live readers and writers. The rules by which they share
 * or exclude each other are vmio/owner.h's; a space only has nobody in the beginning, and must have
 * nobody in the end.
 */
#ifndef MM_OWNERS_H
#define MM_OWNERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/lock.h"

#define OWNER_SLOTS 256 /* claims at a time in one space */

enum owner_kind {
	OWNER_READS,	   /* shares with others that read */
	OWNER_READS_ALONE, /* with nobody */
	OWNER_WRITES,	   /* with nobody */
};

struct owner_party {
	uint64_t id;	 /* of the reader or writer: never 0, never used twice */
	const char *who; /* names the place in the code; a constant */
	enum owner_kind kind;
};

/* Bytes [first, end), half-open. `end` 0: free; only its owner makes it so. */
struct owner_slot {
	_Atomic uint64_t end;
	uint64_t first;
	struct owner_party party;
};

struct owners {
	struct spinlock lock; /* LOCK_SPACE; guards all but an `end` that becomes 0 */
	unsigned high;	      /* slots from here on are free */
	bool alone;	      /* readers do not share */
	uint64_t conflicts;
	struct owner_slot slots[OWNER_SLOTS];
};

void owners_init(struct owners *o);

/* Panics when somebody is there, and says who. Precondition: nobody comes any more. */
void owners_end(const struct owners *o);

#endif
