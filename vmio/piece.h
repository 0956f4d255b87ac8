/* SPDX-License-Identifier: MPL-2.0 */
/*
 * vmio's own: what of a reader's or writer's next bytes lies together in our memory.
 */
#ifndef VMIO_PIECE_H
#define VMIO_PIECE_H

#include "vmio/vmio.h"

struct piece {
	void *at;
	uint64_t n;
	struct owner_slot *slot; /* of this piece alone, or NULL */
};

/* Who it is among the owners. */
static inline struct owner_party piece_party(const struct vm_io *io)
{
	return (struct owner_party){
		.id = io->id,
		.who = io->use->who,
		.kind = io->writes		    ? OWNER_WRITES
			: io->use->flags & VM_ALONE ? OWNER_READS_ALONE
						    : OWNER_READS,
	};
}

/* Goes on to the next range of a list that is not empty. Precondition: it stands at the end of one,
 * and some bytes are left. */
void piece_next_range(struct vm_io *io);

/*
 * The next bytes, at most `max` (not 0) of them. Inside an epoch section, in which alone the answer
 * is good. Errors as of a copy; there is nothing to end then.
 * Precondition: active, some bytes are left.
 */
int piece_begin(struct vm_io *io, uint64_t max, struct piece *p);

/* piece_begin for guest-virtual memory: p->n is the most that is wanted, and becomes what lies
 * together and is claimed. */
int virtual_piece(struct vm_io *io, struct piece *p);

/* Moves on by n <= p->n bytes. */
static inline void piece_end(struct vm_io *io, const struct piece *p, uint64_t n)
{
	io->at += n;
	if (__builtin_expect(io->virt != NULL, 0)) {
		/* Nothing tells us when the guest changes its tables: not remembered. */
		io->low = io->limit = io->at;
		owner_release(p->slot, io->id);
	}
}

#endif
