/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/fuzz/parties.h"

#include <string.h>

#include "base/err.h"

#define PARTIES 2048

/* The rule that readers of a space do not share is kept as an entry. */
#define SPACE_ALONE ((enum owner_kind)(OWNER_WRITES + 1))

static struct entry {
	struct vm_space *space;
	uint64_t first, end;
	struct owner_party party;
	bool seen;
} entries[PARTIES];
static unsigned count;

void parties_begin(void)
{
	count = 0;
}

static bool readers_alone(struct vm_space *space)
{
	for (unsigned i = 0; i < count; i++)
		if (entries[i].space == space && entries[i].party.kind == SPACE_ALONE)
			return true;
	return false;
}

static bool excludes(const struct entry *e, struct vm_space *space, uint64_t first, uint64_t end,
		     enum owner_kind kind)
{
	if (e->space != space || e->end <= first || end <= e->first || e->first == e->end)
		return false;
	return kind != OWNER_READS || e->party.kind != OWNER_READS || readers_alone(space);
}

static const char *name_of(enum owner_kind kind)
{
	return kind == OWNER_WRITES ? "writer" : "reader";
}

/* Is the message about these two? */
static bool named(const struct entry *e, uint64_t first, uint64_t end,
		  const struct owner_party *party)
{
	typedef unsigned long long ull;
	char text[256];

	snprintf(text, sizeof(text),
		 "%s %llu (%s) of [0x%llx, 0x%llx) meets %s %llu (%s) of [0x%llx, 0x%llx)",
		 name_of(party->kind), (ull)party->id, party->who, (ull)first, (ull)end,
		 name_of(e->party.kind), (ull)e->party.id, e->party.who, (ull)e->first,
		 (ull)e->end);
	return strcmp(text, owner_conflict()) == 0;
}

int parties_claim(struct vm_space *space, uint64_t first, uint64_t end,
		  const struct owner_party *party, unsigned room)
{
	bool busy = false, told = false;

	if (first == end)
		return 0;
	for (unsigned i = 0; i < count; i++)
		if (excludes(&entries[i], space, first, end, party->kind)) {
			busy = true;
			told = told || named(&entries[i], first, end, party);
		}
	FUZZ_CHECK(told == busy);
	if (busy)
		return -EBUSY;
	if (parties_slots(space) >= room)
		return -ENOSPC;
	FUZZ_CHECK(count < PARTIES);
	entries[count++] = (struct entry){ space, first, end, *party, false };
	return 0;
}

int parties_claim_list(struct vm_space *space, const struct vm_range *ranges, unsigned n,
		       const struct owner_party *party, unsigned room)
{
	int err = 0;

	for (unsigned i = 0; i < n && err == 0; i++)
		err = parties_claim(space, ranges[i].at.gpa, ranges[i].at.gpa + ranges[i].len,
				    party, room);
	if (err != 0)
		parties_release(space, party->id);
	return err;
}

unsigned parties_release(struct vm_space *space, uint64_t id)
{
	unsigned kept = 0, gone;

	for (unsigned i = 0; i < count; i++)
		if (entries[i].space != space || entries[i].party.id != id)
			entries[kept++] = entries[i];
	gone = count - kept;
	count = kept;
	return gone;
}

void parties_set_shared(struct vm_space *space, bool shared)
{
	struct owner_party alone = { .who = "", .kind = SPACE_ALONE };

	parties_release(space, 0);
	FUZZ_CHECK(count < PARTIES);
	if (!shared)
		entries[count++] = (struct entry){ space, 0, 0, alone, false };
}

unsigned parties_slots(struct vm_space *space)
{
	unsigned n = 0;

	for (unsigned i = 0; i < count; i++)
		n += entries[i].space == space && entries[i].party.kind != SPACE_ALONE;
	return n;
}

static void see(void *context, const struct owner_slot *slot)
{
	unsigned i;

	for (i = 0; i < count; i++)
		if (!entries[i].seen && entries[i].space == context &&
		    entries[i].first == slot->first && entries[i].end == slot->end &&
		    entries[i].party.id == slot->party.id &&
		    entries[i].party.who == slot->party.who &&
		    entries[i].party.kind == slot->party.kind)
			break;
	FUZZ_CHECK(i < count);
	entries[i].seen = true;
}

static void complain(const char *text)
{
	fprintf(stderr, "%s\n", text);
}

void parties_check(struct vm_space *space)
{
	for (unsigned i = 0; i < count; i++)
		entries[i].seen = entries[i].space != space || entries[i].party.kind == SPACE_ALONE;
	owner_each(space, see, space);
	for (unsigned i = 0; i < count; i++)
		FUZZ_CHECK(entries[i].seen);
}

void parties_audit(struct vm_space *space)
{
	FUZZ_CHECK(owner_audit(space, complain) == 0);
}
