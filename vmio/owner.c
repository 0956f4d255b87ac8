/* SPDX-License-Identifier: MPL-2.0 */
#include "vmio/owner.h"

#include "base/contract.h"
#include "base/err.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/print.h"
#include "vmio/view.h"

#define STRIPE_BITS 4
#define STRIPES	    (1u << STRIPE_BITS)

static struct stripe {
	struct spinlock lock; /* guards all but `space` of a slot in use becoming NULL */
	unsigned high;	      /* slots from here on are free */
	uint64_t conflicts;
	struct owner_slot slots[OWNER_SLOTS];
} __attribute__((aligned(64))) stripes[STRIPES] = {
	[0 ... STRIPES - 1] = { .lock = SPINLOCK_INIT(LOCK_SPACE) },
};

static struct {
	uint64_t ids;
	char conflict[192];
} __attribute__((aligned(64))) cpus[MAX_CPUS];

uint64_t owner_new_id(void)
{
	return ++cpus[cpu_id()].ids * MAX_CPUS + cpu_id();
}

static struct stripe *stripe_of(const struct vm_space *space)
{
	uint64_t key = (uint64_t)(uintptr_t)space >> 4;

	return &stripes[key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - STRIPE_BITS)];
}

static const struct vm_space *slot_space(const struct owner_slot *s)
{
	return atomic_load_explicit(&s->space, memory_order_acquire);
}

static bool slot_overlaps(const struct owner_slot *s, uint64_t first, uint64_t end)
{
	return s->first < end && first < s->end;
}

static inline void slot_take(struct owner_slot *s, const struct vm_space *space, uint64_t first,
			     uint64_t end, const struct owner_party *party)
{
	s->first = first;
	s->end = end;
	s->party.id = party->id;
	s->party.who = party->who;
	s->party.kind = party->kind;
	atomic_store_explicit(&s->space, space, memory_order_release);
}

/* Under the lock. What a new claim meets. */
struct place {
	struct owner_slot *free, *against;
	unsigned used; /* slots up to the last one in use */
};

/* The claim [first, end) among those that are there: `against` excludes it. */
static struct place place_find(struct stripe *t, const struct vm_space *space, uint64_t first,
			       uint64_t end, enum owner_kind kind)
{
	struct place p = { 0 };
	struct owner_slot *reader = NULL;
	bool alone = kind != OWNER_READS;

	for (unsigned i = 0; i < t->high; i++) {
		struct owner_slot *s = &t->slots[i];
		const struct vm_space *of = slot_space(s);

		if (of == NULL) {
			p.free = p.free != NULL ? p.free : s;
			continue;
		}
		p.used = i + 1;
		if (of != space)
			continue;
		alone = alone || s->party.kind == OWNER_SPACE_ALONE;
		if (!slot_overlaps(s, first, end))
			continue;
		if (s->party.kind == OWNER_READS)
			reader = s;
		else
			p.against = s;
	}
	if (p.against == NULL && alone)
		p.against = reader;
	return p;
}

static const char *kind_name(enum owner_kind kind)
{
	return kind == OWNER_WRITES ? "writer" : "reader";
}

/* Under the lock, so that the other party is still what it was. */
static void conflict_note(const struct owner_slot *with, uint64_t first, uint64_t end,
			  const struct owner_party *party)
{
	typedef unsigned long long ull;

	format(cpus[cpu_id()].conflict, sizeof(cpus[0].conflict),
	       "%s %llu (%s) of [0x%llx, 0x%llx) meets %s %llu (%s) of [0x%llx, 0x%llx)",
	       kind_name(party->kind), (ull)party->id, party->who, (ull)first, (ull)end,
	       kind_name(with->party.kind), (ull)with->party.id, with->party.who, (ull)with->first,
	       (ull)with->end);
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
static int claim(struct stripe *t, const struct vm_space *space, uint64_t first, uint64_t end,
		 const struct owner_party *party, struct owner_slot **slot)
{
	struct place p = place_find(t, space, first, end, party->kind);

	t->high = p.used;
	if (__builtin_expect(p.against != NULL, 0)) {
		conflict_note(p.against, first, end, party);
		t->conflicts++;
		return -EBUSY;
	}
	if (p.free == NULL || p.free >= &t->slots[p.used]) {
		if (p.used == OWNER_SLOTS)
			return -ENOSPC;
		p.free = &t->slots[p.used];
	}
	if (p.free == &t->slots[p.used])
		t->high = p.used + 1;
	slot_take(p.free, space, first, end, party);
	*slot = p.free;
	return 0;
}

/* Under the lock. The usual case: nobody is there, and nobody was at the same time as another. */
static inline bool claim_alone(struct stripe *t, const struct vm_space *space, uint64_t first,
			       uint64_t end, const struct owner_party *party,
			       struct owner_slot **slot)
{
	if (t->high > 1 || (t->high == 1 && slot_space(&t->slots[0]) != NULL))
		return false;
	t->high = 1;
	slot_take(&t->slots[0], space, first, end, party);
	*slot = &t->slots[0];
	return true;
}

static void complain(const char *text)
{
	panic("the parties of a space: %s", text);
}

static unsigned audit(struct stripe *t, const struct vm_space *space,
		      void (*report)(const char *text));

int owner_claim(const struct vm_space *space, uint64_t first, uint64_t end,
		const struct owner_party *party, struct owner_slot **slot)
{
	struct stripe *t = stripe_of(space);
	uint64_t count = 0;
	int err = 0;

	REQUIRES(first <= end && party->id != 0 && party->kind != OWNER_SPACE_ALONE);
	*slot = NULL;
	if (first == end)
		return 0;
	spin_lock(&t->lock);
	if (!claim_alone(t, space, first, end, party, slot)) {
		err = claim(t, space, first, end, party, slot);
		count = t->conflicts;
	}
	INVARIANT(audit(t, space, complain) == 0);
	spin_unlock(&t->lock);
	if (__builtin_expect(err == -EBUSY, 0))
		conflict_log(count);
	return err;
}

/* Under the lock, or by the owner of the claims. */
static unsigned release_all(struct stripe *t, unsigned high, const struct vm_space *space,
			    uint64_t id)
{
	unsigned n = 0;

	for (unsigned i = 0; i < high; i++) {
		struct owner_slot *s = &t->slots[i];

		if (slot_space(s) == space && s->party.id == id) {
			owner_release(s);
			n++;
		}
	}
	return n;
}

int owner_claim_list(const struct vm_space *space, const struct vm_range *ranges, unsigned n,
		     const struct owner_party *party)
{
	struct stripe *t = stripe_of(space);
	struct owner_slot *slot;
	uint64_t count;
	int err = 0;

	spin_lock(&t->lock);
	for (unsigned i = 0; i < n && err == 0; i++)
		if (ranges[i].len != 0)
			err = claim(t, space, ranges[i].at.gpa, ranges[i].at.gpa + ranges[i].len,
				    party, &slot);
	if (err != 0)
		release_all(t, OWNER_SLOTS, space, party->id);
	INVARIANT(audit(t, space, complain) == 0);
	count = t->conflicts;
	spin_unlock(&t->lock);
	if (err == -EBUSY)
		conflict_log(count);
	return err;
}

unsigned owner_release_list(const struct vm_space *space, uint64_t id)
{
	struct stripe *t = stripe_of(space);
	unsigned n;

	/* Others change their slots meanwhile: the lock keeps what is compared still. */
	spin_lock(&t->lock);
	n = release_all(t, t->high, space, id);
	spin_unlock(&t->lock);
	return n;
}

static struct owner_slot *alone_slot(struct stripe *t, const struct vm_space *space)
{
	for (unsigned i = 0; i < t->high; i++)
		if (slot_space(&t->slots[i]) == space &&
		    t->slots[i].party.kind == OWNER_SPACE_ALONE)
			return &t->slots[i];
	return NULL;
}

int owner_set_shared_readers(const struct vm_space *space, bool shared)
{
	static const struct owner_party alone = { .who = "", .kind = OWNER_SPACE_ALONE };
	struct stripe *t = stripe_of(space);
	struct owner_slot *slot;
	int err = 0;

	spin_lock(&t->lock);
	slot = alone_slot(t, space);
	if (shared)
		owner_release(slot);
	else if (slot == NULL)
		err = claim(t, space, 0, 0, &alone, &slot);
	spin_unlock(&t->lock);
	return err;
}

void owner_each(const struct vm_space *space,
		void (*party)(void *context, const struct owner_slot *slot), void *context)
{
	struct stripe *t = stripe_of(space);

	spin_lock(&t->lock);
	for (unsigned i = 0; i < t->high; i++)
		if (slot_space(&t->slots[i]) == space &&
		    t->slots[i].party.kind != OWNER_SPACE_ALONE)
			party(context, &t->slots[i]);
	spin_unlock(&t->lock);
}

/* --- the audit -------------------------------------------------------------------------------- */

struct claim_copy {
	uint64_t first, end;
	bool writes;
};

/*
 * A copy of the claims: their owners may give them back while they are looked at, and then what was
 * taken out could not be put back.
 */
static unsigned claims_copy(struct stripe *t, const struct vm_space *space,
			    struct claim_copy copy[OWNER_SLOTS])
{
	unsigned n = 0;

	for (unsigned i = 0; i < t->high; i++) {
		struct owner_slot *s = &t->slots[i];

		if (slot_space(s) != space || s->party.kind == OWNER_SPACE_ALONE)
			continue;
		copy[n++] = (struct claim_copy){ s->first, s->end, s->party.kind == OWNER_WRITES };
	}
	return n;
}

static unsigned check(bool ok, const char *text, void (*report)(const char *text))
{
	if (!ok)
		report(text);
	return !ok;
}

/* Under the lock. */
static unsigned audit(struct stripe *t, const struct vm_space *space,
		      void (*report)(const char *text))
{
	/* Guarded by the lock, one for each stripe: too large for a stack. */
	static struct audit_room {
		struct claim_copy claims[OWNER_SLOTS];
		struct vm_view all, rest;
	} rooms[STRIPES];
	struct audit_room *room = &rooms[t - stripes];
	unsigned n = claims_copy(t, space, room->claims), wrong = 0;

	view_init(&room->all, 0, UINT64_MAX);
	view_init(&room->rest, 0, UINT64_MAX);
	for (unsigned i = 0; i < n; i++)
		if (room->claims[i].writes)
			wrong += check(
				view_split(&room->rest, room->claims[i].first, room->claims[i].end),
				"a byte has two writers", report);
	for (unsigned i = 0; i < n; i++)
		if (!room->claims[i].writes)
			wrong += check(
				view_has(&room->rest, room->claims[i].first, room->claims[i].end),
				"a byte has a reader and a writer", report);
	for (unsigned i = 0; i < n; i++)
		if (room->claims[i].writes)
			view_join(&room->rest, room->claims[i].first, room->claims[i].end);
	return wrong + check(view_equal(&room->all, &room->rest),
			     "what was taken out does not make a whole again", report);
}

unsigned owner_audit(const struct vm_space *space, void (*report)(const char *text))
{
	struct stripe *t = stripe_of(space);
	unsigned wrong;

	spin_lock(&t->lock);
	wrong = audit(t, space, report);
	spin_unlock(&t->lock);
	return wrong;
}
