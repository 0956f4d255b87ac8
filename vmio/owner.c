/* SPDX-License-Identifier: MPL-2.0 */
#include "vmio/owner.h"

#include "base/contract.h"
#include "base/err.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/print.h"
#include "vmio/view.h"

static struct {
	uint64_t ids;
	char conflict[192];
} __attribute__((aligned(64))) cpus[MAX_CPUS];

uint64_t owner_new_id(void)
{
	return ++cpus[cpu_id()].ids * MAX_CPUS + cpu_id();
}

/* 0 when the slot is free. */
static uint64_t slot_end(const struct owner_slot *s)
{
	return atomic_load_explicit(&s->end, memory_order_acquire);
}

static inline void slot_take(struct owner_slot *s, uint64_t first, uint64_t end,
			     const struct owner_party *party)
{
	s->first = first;
	s->party.id = party->id;
	s->party.who = party->who;
	s->party.kind = party->kind;
	atomic_store_explicit(&s->end, end, memory_order_release);
}

/* Under the lock. What a new claim meets. */
struct place {
	struct owner_slot *free, *against;
	uint64_t against_end;
	unsigned used; /* slots up to the last one in use */
};

/* The claim [first, end) among those that are there: `against` excludes it. */
static struct place place_find(struct owners *o, uint64_t first, uint64_t end, enum owner_kind kind)
{
	bool alone = kind != OWNER_READS || o->alone;
	struct place p = { 0 };

	for (unsigned i = 0; i < o->high; i++) {
		struct owner_slot *s = &o->slots[i];
		uint64_t its_end = slot_end(s);

		if (its_end == 0) {
			p.free = p.free != NULL ? p.free : s;
			continue;
		}
		p.used = i + 1;
		if (first < its_end && s->first < end && (alone || s->party.kind != OWNER_READS)) {
			p.against = s;
			p.against_end = its_end;
		}
	}
	return p;
}

static const char *kind_name(enum owner_kind kind)
{
	return kind == OWNER_WRITES ? "writer" : "reader";
}

/* Under the lock, so that the other party is still what it was. */
static void conflict_note(const struct place *p, uint64_t first, uint64_t end,
			  const struct owner_party *party)
{
	const struct owner_slot *with = p->against;
	typedef unsigned long long ull;

	format(cpus[cpu_id()].conflict, sizeof(cpus[0].conflict),
	       "%s %llu (%s) of [0x%llx, 0x%llx) meets %s %llu (%s) of [0x%llx, 0x%llx)",
	       kind_name(party->kind), (ull)party->id, party->who, (ull)first, (ull)end,
	       kind_name(with->party.kind), (ull)with->party.id, with->party.who, (ull)with->first,
	       (ull)p->against_end);
}

/* The first, the second, the fourth, ...: a guest that provokes them must not fill the log. */
static void conflict_log(uint64_t count)
{
	if ((count & (count - 1)) == 0)
		log_info("guest memory is in use: %s (conflict %llu)", owner_conflict(),
			 (unsigned long long)count);
}

const char *owner_conflict(void)
{
	return cpus[cpu_id()].conflict;
}

/* Under the lock. */
static int claim(struct owners *o, uint64_t first, uint64_t end, const struct owner_party *party,
		 struct owner_slot **slot)
{
	struct place p = place_find(o, first, end, party->kind);

	o->high = p.used;
	if (__builtin_expect(p.against != NULL, 0)) {
		conflict_note(&p, first, end, party);
		o->conflicts++;
		return -EBUSY;
	}
	if (p.free == NULL || p.free >= &o->slots[p.used]) {
		if (p.used == OWNER_SLOTS)
			return -ENOSPC;
		p.free = &o->slots[p.used];
	}
	if (p.free == &o->slots[p.used])
		o->high = p.used + 1;
	slot_take(p.free, first, end, party);
	*slot = p.free;
	return 0;
}

/* Under the lock. The usual case: nobody is there, and nobody was at the same time as another. */
static inline bool claim_alone(struct owners *o, uint64_t first, uint64_t end,
			       const struct owner_party *party, struct owner_slot **slot)
{
	if (o->high > 1 || (o->high == 1 && slot_end(&o->slots[0]) != 0))
		return false;
	o->high = 1;
	slot_take(&o->slots[0], first, end, party);
	*slot = &o->slots[0];
	return true;
}

static void complain(const char *text)
{
	panic("the parties of a space: %s", text);
}

static bool sound(const struct owners *o);

int owner_claim(struct vm_space *space, uint64_t first, uint64_t end,
		const struct owner_party *party, struct owner_slot **slot)
{
	struct owners *o = &space->owners;
	uint64_t count = 0;
	int err = 0;

	REQUIRES(first <= end && party->id != 0);
	*slot = NULL;
	if (first == end)
		return 0;
	spin_lock(&o->lock);
	if (!claim_alone(o, first, end, party, slot)) {
		err = claim(o, first, end, party, slot);
		count = o->conflicts;
	}
	INVARIANT(sound(o));
	spin_unlock(&o->lock);
	if (__builtin_expect(err == -EBUSY, 0))
		conflict_log(count);
	return err;
}

/* Under the lock. */
static unsigned release_all(struct owners *o, uint64_t id)
{
	unsigned n = 0;

	for (unsigned i = 0; i < o->high; i++) {
		struct owner_slot *s = &o->slots[i];

		if (slot_end(s) != 0 && s->party.id == id) {
			owner_release(s, id);
			n++;
		}
	}
	return n;
}

int owner_claim_list(struct vm_space *space, const struct vm_range *ranges, unsigned n,
		     const struct owner_party *party)
{
	struct owners *o = &space->owners;
	struct owner_slot *slot;
	uint64_t count;
	int err = 0;

	REQUIRES(n <= OWNER_LIST && party->id != 0);
	spin_lock(&o->lock);
	for (unsigned i = 0; i < n && err == 0; i++) {
		REQUIRES(ranges[i].at.gpa + ranges[i].len >= ranges[i].at.gpa);
		if (ranges[i].len != 0)
			err = claim(o, ranges[i].at.gpa, ranges[i].at.gpa + ranges[i].len, party,
				    &slot);
	}
	if (err != 0)
		release_all(o, party->id);
	INVARIANT(sound(o));
	count = o->conflicts;
	spin_unlock(&o->lock);
	if (err == -EBUSY)
		conflict_log(count);
	return err;
}

unsigned owner_release_list(struct vm_space *space, uint64_t id)
{
	struct owners *o = &space->owners;
	unsigned n;

	/* Others change their slots meanwhile: the lock keeps what is compared still. */
	spin_lock(&o->lock);
	n = release_all(o, id);
	spin_unlock(&o->lock);
	return n;
}

void owner_set_shared_readers(struct vm_space *space, bool shared)
{
	spin_lock(&space->owners.lock);
	space->owners.alone = !shared;
	spin_unlock(&space->owners.lock);
}

void owner_each(struct vm_space *space, void (*party)(void *context, const struct owner_slot *slot),
		void *context)
{
	struct owners *o = &space->owners;

	spin_lock(&o->lock);
	for (unsigned i = 0; i < o->high; i++)
		if (slot_end(&o->slots[i]) != 0)
			party(context, &o->slots[i]);
	spin_unlock(&o->lock);
}

/* --- the audit -------------------------------------------------------------------------------- */

struct claim_copy {
	uint64_t first, end;
	bool alone;
};

/*
 * A copy of the claims: their owners may give them back while they are looked at, and then what was
 * taken out could not be put back.
 */
static unsigned claims_copy(const struct owners *o, struct claim_copy copy[OWNER_SLOTS])
{
	unsigned n = 0;

	for (unsigned i = 0; i < o->high; i++) {
		const struct owner_slot *s = &o->slots[i];
		uint64_t end = slot_end(s);

		if (end != 0)
			copy[n++] = (struct claim_copy){ s->first, end,
							 s->party.kind != OWNER_READS };
	}
	return n;
}

/* What can be wrong, and how often it is. */
struct verdict {
	unsigned two, mixed, broken;
};

/* Too large for a stack. */
static struct audit_room {
	struct spinlock lock; /* guards the rest */
	struct claim_copy claims[OWNER_SLOTS];
	struct vm_view all, rest;
} audit_room = { .lock = SPINLOCK_INIT(LOCK_LEAF) };

static struct verdict audit_in(struct audit_room *room, const struct owners *o)
{
	unsigned n = claims_copy(o, room->claims);
	struct verdict v = { 0 };

	view_init(&room->all, 0, UINT64_MAX);
	view_init(&room->rest, 0, UINT64_MAX);
	for (unsigned i = 0; i < n; i++)
		if (room->claims[i].alone)
			v.two += !view_split(&room->rest, room->claims[i].first,
					     room->claims[i].end);
	for (unsigned i = 0; i < n; i++)
		if (!room->claims[i].alone)
			v.mixed += !view_has(&room->rest, room->claims[i].first,
					     room->claims[i].end);
	for (unsigned i = 0; i < n; i++)
		if (room->claims[i].alone)
			view_join(&room->rest, room->claims[i].first, room->claims[i].end);
	v.broken = !view_equal(&room->all, &room->rest);
	return v;
}

/* Under the space's lock. */
static struct verdict audit(const struct owners *o)
{
	struct verdict v;

	spin_lock(&audit_room.lock);
	v = audit_in(&audit_room, o);
	spin_unlock(&audit_room.lock);
	return v;
}

static unsigned tell(struct verdict v, void (*report)(const char *text))
{
	for (unsigned i = 0; i < v.two; i++)
		report("a byte has two parties that share with nobody");
	for (unsigned i = 0; i < v.mixed; i++)
		report("a byte has a reader and a party that shares with nobody");
	if (v.broken != 0)
		report("what was taken out does not make a whole again");
	return v.two + v.mixed + v.broken;
}

/* Under the space's lock. */
static bool sound(const struct owners *o)
{
	return tell(audit(o), complain) == 0;
}

unsigned owner_audit(struct vm_space *space, void (*report)(const char *text))
{
	struct verdict v;

	spin_lock(&space->owners.lock);
	v = audit(&space->owners);
	spin_unlock(&space->owners.lock);
	return tell(v, report);
}
