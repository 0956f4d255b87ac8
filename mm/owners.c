/* SPDX-License-Identifier: MPL-2.0 */
#include "mm/owners.h"

#include "base/contract.h"

void owners_init(struct owners *o)
{
	o->lock = (struct spinlock)SPINLOCK_INIT(LOCK_SPACE);
	o->high = 0;
	o->alone = false;
	o->conflicts = 0;
	for (unsigned i = 0; i < OWNER_SLOTS; i++)
		atomic_store_explicit(&o->slots[i].end, 0, memory_order_relaxed);
}

void owners_end(const struct owners *o)
{
	for (unsigned i = 0; i < o->high; i++) {
		const struct owner_slot *s = &o->slots[i];

		if (atomic_load(&s->end) != 0)
			panic("a space ends while %s %llu uses [0x%llx, 0x%llx)", s->party.who,
			      (unsigned long long)s->party.id, (unsigned long long)s->first,
			      (unsigned long long)atomic_load(&s->end));
	}
}
