/* SPDX-License-Identifier: MPL-2.0 */
/* The model of vmio/owner.h: a naive list of who is where. */
#ifndef TESTS_FUZZ_PARTIES_H
#define TESTS_FUZZ_PARTIES_H

#include "tests/fuzz/input.h"
#include "vmio/owner.h"

/* Nobody is anywhere, and readers share. */
void parties_begin(void);

/* May `party` have this? The list's last entry if so: 0; else the error, and it is checked that the
 * message names both parties. `room`: slots that there are. */
int parties_claim(struct vm_space *space, uint64_t first, uint64_t end,
		  const struct owner_party *party, unsigned room);

/* All of the ranges or none. */
int parties_claim_list(struct vm_space *space, const struct vm_range *ranges, unsigned n,
		       const struct owner_party *party, unsigned room);

/* Returns how many there were. */
unsigned parties_release(struct vm_space *space, uint64_t id);

void parties_set_shared(struct vm_space *space, bool shared);

/* How many slots a space takes. */
unsigned parties_slots(struct vm_space *space);

/* Does the space have just these? */
void parties_check(struct vm_space *space);

/* The code's own audit has nothing to say. */
void parties_audit(struct vm_space *space);

#endif
