/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Deliberate errors. Each must be found, and by the property that it breaks: for each exploration
 * all other properties are blind. What the explorer misses here it would miss in the protocol.
 */
#include <stdio.h>

#include "tests/protocol/flush.h"
#include "tests/protocol/protocol.h"
#include "tests/protocol/tree.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Pages 0..3; a is [0, 2). With three levels a is [0, 4). */
static const struct job walk_0 = { WALK, 0, 1, false, "walk 0" };
static const struct job walk_1 = { WALK, 1, 2, false, "walk 1" };
static const struct job mark_0 = { MARK, 0, 1, false, "mark 0" };
static const struct job look_0 = { LOOK, 0, 1, false, "look 0" };
static const struct job map_0 = { MAP, 0, 1, true, "map 0" };
static const struct job map_1 = { MAP, 1, 2, true, "map 1" };
static const struct job map_2 = { MAP, 2, 3, true, "map 2" };
static const struct job map_3 = { MAP, 3, 4, true, "map 3" };
static const struct job map_in_a = { MAP, 0, 2, true, "map 0 in a" };
static const struct job unmap_1 = { UNMAP, 1, 2, true, "unmap 1" };
static const struct job unmap_a = { UNMAP, 0, 2, true, "unmap a" };
static const struct job join_a = { JOIN, 0, 2, true, "join a" };
static const struct job unmap_a3 = { UNMAP, 0, 4, true, "unmap a" };

struct tree_error {
	const char *name;
	enum tree_mutation mutation;
	enum property breaks;
	unsigned levels, pages;
	const struct job *jobs[2][2];
};

#define NO_STRAY    "a lock is not followed by a look at the stray mark"
#define LATE_STRAY  "a table is marked as stray after its unlocking"
#define UNLOCKED    "a child is published unlocked"
#define UNGRACEFUL  "a table is freed without a grace period"
#define SHORT_GRACE "a grace period has one epoch"
#define BLIND_FILL  "the entry is not read again under the parent's lock"
#define RUDE	    "a reader lets writers in while it is in"
#define TOP_ONLY    "what is below the covering node is not locked"

static const struct tree_error tree_errors[] = {
	{ NO_STRAY, NO_STRAY_CHECK, R7, 2, 0x1, { { &map_0 }, { &unmap_a } } },
	{ NO_STRAY, NO_STRAY_CHECK, R2, 2, 0x1, { { &map_0 }, { &unmap_a } } },
	{ NO_STRAY, NO_STRAY_CHECK, VIEW, 2, 0x1, { { &map_0 }, { &unmap_a } } },
	{ "a stray table is filled", FILL_STRAY_TABLES, R7, 3, 0x1, { { &map_2 }, { &unmap_a3 } } },
	{ LATE_STRAY, STRAY_AFTER_UNLOCK, R7, 2, 0x1, { { &map_0 }, { &unmap_a } } },
	{ LATE_STRAY, STRAY_AFTER_UNLOCK, VIEW, 2, 0x1, { { &map_0 }, { &unmap_a } } },
	{ UNLOCKED, BORN_UNLOCKED, R5, 2, 0x0, { { &map_in_a }, { &map_1 } } },
	{ UNLOCKED, BORN_UNLOCKED, R2, 2, 0x0, { { &map_in_a }, { &map_0 } } },
	{ UNGRACEFUL, NO_GRACE, R4, 2, 0x1, { { &walk_0 }, { &unmap_a } } },
	{ UNGRACEFUL, NO_GRACE, R7, 2, 0x1, { { &map_0 }, { &unmap_a, &map_2 } } },
	{ UNGRACEFUL, NO_GRACE, LOCKS, 2, 0x1, { { &map_0 }, { &unmap_a, &map_0 } } },
	{ UNGRACEFUL, NO_GRACE, WALKS, 2, 0x1, { { &walk_1 }, { &unmap_a, &map_3 } } },
	{ SHORT_GRACE, GRACE_OF_ONE, R4, 2, 0x1, { { &walk_0 }, { &unmap_a } } },
	{ SHORT_GRACE, GRACE_OF_ONE, R7, 2, 0x1, { { &map_0 }, { &unmap_a, &map_2 } } },
	{ SHORT_GRACE, GRACE_OF_ONE, WALKS, 2, 0x1, { { &walk_1 }, { &unmap_a, &map_3 } } },
	{ "a table is deferred with the epoch of its cursor's section",
	  OWN_EPOCH,
	  R4,
	  2,
	  0x1,
	  { { &walk_0 }, { &unmap_a } } },
	{ "a section is not announced",
	  NO_ANNOUNCEMENT,
	  R4,
	  2,
	  0x1,
	  { { &walk_0 }, { &unmap_a } } },
	{ "the epoch advances whoever is inside",
	  ADVANCE_UNSEEN,
	  R4,
	  2,
	  0x1,
	  { { &walk_0 }, { &unmap_a } } },
	{ "a table that was taken out is forgotten", NO_DEFER, END, 2, 0x1, { { &unmap_a } } },
	{ "the entry is cleared after its table was marked",
	  CLEAR_AFTER_RETIRE,
	  T5,
	  2,
	  0x1,
	  { { &unmap_a } } },
	{ "the entry is cleared after its table was deferred",
	  CLEAR_AFTER_DEFER,
	  R4,
	  2,
	  0x1,
	  { { &walk_0 }, { &unmap_a } } },
	{ BLIND_FILL, NO_SECOND_LOOK, R3, 2, 0x0, { { &map_0 }, { &map_0 } } },
	{ BLIND_FILL, NO_SECOND_LOOK, COUNTS, 2, 0x0, { { &map_0 }, { &map_1 } } },
	{ BLIND_FILL, NO_SECOND_LOOK, VIEW, 2, 0x0, { { &map_0 }, { &map_1 } } },
	{ RUDE, READERS_LET_WRITERS_IN, R2, 2, 0x1, { { &look_0 }, { &map_0 } } },
	{ RUDE, READERS_LET_WRITERS_IN, LOCKS, 2, 0x1, { { &look_0 }, { &map_0 } } },
	{ TOP_ONLY, NO_SUBTREE, R5, 2, 0x1, { { &map_in_a } } },
	{ TOP_ONLY, NO_SUBTREE, R2, 2, 0x1, { { &map_in_a }, { &map_0 } } },
	{ "a joined table is emptied while walks may be in it",
	  JOIN_EMPTIES,
	  WALKS,
	  2,
	  0x3,
	  { { &walk_0 }, { &join_a } } },
	{ "marks are gathered once when a table is joined",
	  JOIN_READS_ONCE,
	  MARKS,
	  2,
	  0x3,
	  { { &mark_0 }, { &join_a } } },
	{ "a mark is not looked after when its table has left the tree",
	  MARK_ONCE,
	  MARKS,
	  2,
	  0x3,
	  { { &mark_0 }, { &join_a } } },
	{ "a leaf is split by a store",
	  SPLIT_STORES,
	  MARKS,
	  2,
	  0x3,
	  { { &mark_0 }, { &join_a, &unmap_1 } } },
	{ "one thread locks a child before its parent",
	  CHILD_FIRST,
	  DEADLOCK,
	  2,
	  0x1,
	  { { &map_in_a }, { &unmap_a } } },
};

static void report_error(const char *model, const char *name, enum property breaks,
			 const struct model *m, bool show)
{
	struct verdict v;

	if (show)
		printf("%s: %s\n", model, name);
	explore(m, 1U << breaks, show, &v);
	report(v.broken == breaks, "%s: %s: %s %s, %llu states, %u steps", model, name,
	       property_name(breaks), v.broken == breaks ? "breaks" : "DOES NOT BREAK",
	       (unsigned long long)v.states, v.depth);
}

void tree_mutations(bool show)
{
	for (unsigned i = 0; i < COUNT(tree_errors); i++) {
		const struct tree_error *e = &tree_errors[i];

		setup = (struct tree_setup){
			.levels = e->levels,
			.nodes = 3 + 2 * (e->levels - 2),
			.threads = 2,
			.pollers = 1,
			.pages = e->pages,
			.busy = e->breaks != DEADLOCK, /* a busy poller can always step */
			.mutation = e->mutation,
		};
		for (unsigned t = 0; t < 2; t++)
			for (unsigned k = 0; k < 2; k++)
				setup.jobs[t][k] = e->jobs[t][k];
		report_error("locks", e->name, e->breaks, tree_model(), show);
	}
}

struct flush_error {
	const char *name;
	enum flush_mutation mutation;
	enum property breaks;
	enum errand a, b;
	bool restless;
};

#define NO_WAITING "the changer does not wait"

static const struct flush_error flush_errors[] = {
	{ "the generation is read before `inside` is set", GENERATION_FIRST, TLB2, TAKE_0, 0,
	  true },
	{ NO_WAITING, NO_WAIT, TLB2, TAKE_0, 0, true },
	{ NO_WAITING, NO_WAIT, TLB6, PROTECT_0, 0, true },
	{ "the bump comes before the entry is cleared", BUMP_FIRST, TLB2, TAKE_0, 0, true },
	{ "the frame is freed before the sync", PUT_BEFORE_SYNC, TLB2, TAKE_0, 0, true },
	{ "nobody is kicked", NO_KICK, STUCK, TAKE_0, 0, false },
	{ "a CPU forgets kicks after tlb_enter", KICK_CLEARED_LATE, STUCK, TAKE_0, 0, false },
	{ "a CPU does not flush when it has to", NO_FLUSH, TLB2, TAKE_0, 0, true },
	{ "`inside` is cleared before the CPU has left", LEAVE_EARLY, TLB2, TAKE_0, 0, true },
	{ "a CPU that enters leaves an odd generation odd", ODD_KEPT, TLB2, PROTECT_0, TAKE_0,
	  true },
	{ "who is inside is looked at before the bump", INSIDE_FIRST, TLB2, TAKE_0, 0, true },
	{ "the generation stays even", NEVER_BUMPED, TLB2, TAKE_0, 0, true },
	{ "the page is unlocked before the flush", UNLOCK_BEFORE_FLUSH, TLB1, TAKE_0, 0, true },
};

void flush_mutations(bool show)
{
	for (unsigned i = 0; i < COUNT(flush_errors); i++) {
		const struct flush_error *e = &flush_errors[i];

		flush_setup = (struct flush_setup){
			.cpus = 1,
			.pages = 1,
			.errands = { { e->a }, { e->b } },
			.restless = e->restless,
			.mutation = e->mutation,
		};
		report_error("flush", e->name, e->breaks, &flush_model, show);
	}
}
