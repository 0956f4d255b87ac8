/* SPDX-License-Identifier: MPL-2.0 */
/* Opening a cursor, step by step: mm/engine_lock.h. */
#include "tests/protocol/tree_step.h"

unsigned entry_look(struct at *a, unsigned level, unsigned slot)
{
	unsigned n = node_in(a, level), raw = a->w->node[n].entry[slot];

	SAY("loads entry %u of node %u (%s): %s", slot, n, place_name(a->w->node[n].place),
	    entry_name(a->w, raw));
	return raw;
}

/* The first page of the node in hand at `level`, by the way that led there. */
static unsigned node_base(const struct at *a, unsigned level)
{
	return place_first(a->w->node[node_in(a, level)].place);
}

unsigned slot_first(const struct at *a, unsigned level)
{
	return a->job->first > node_base(a, level) ? slot_of(a->job->first, level) : 0;
}

unsigned slot_last(const struct at *a, unsigned level)
{
	unsigned end = node_base(a, level) + (1U << level);

	return a->job->end < end ? slot_of(a->job->end - 1U, level) : 1;
}

enum entered node_enter(struct at *a, unsigned level)
{
	return lock_enter(a->w, a->me, node_in(a, level), a->job->change);
}

void node_leave(struct at *a, unsigned level)
{
	lock_leave(a->w, a->me, node_in(a, level), a->job->change);
}

bool node_make(struct at *a, unsigned level, unsigned page)
{
	unsigned place = a->w->node[node_in(a, level)].place;
	unsigned n = node_take(a->w, a->me, 2 * place + 1 + slot_of(page, level));

	if (n == NODES) {
		SAY("finds no free node");
		return false;
	}
	SAY("takes node %u from the pool", n);
	hold(a, level - 1, n + ENTRY_TABLE);
	return true;
}

/* --- the section ----------------------------------------------------------------------------- */

void cover_begin(struct at *a)
{
	a->t->level = setup.levels;
	a->t->held = 0;
	hold(a, setup.levels, ENTRY_TABLE); /* the root is node 0 */
	a->t->pc = COVER_LOAD;
	if (a->job->deed == WALK || a->job->deed == MARK)
		walk_begin(a);
}

static void section_begin(struct at *a)
{
	if (a->t->section != OUTSIDE)
		cover_begin(a);
	else
		a->t->pc = ENTER_LOAD;
}

static bool enter_load(struct at *a)
{
	SAY("begins to %s; reads the epoch", a->job->name);
	a->t->seen = PRESENT;
	a->t->pc = ENTER_SAY;
	return true;
}

static bool enter_say(struct at *a)
{
	SAY("announces the epoch");
	a->t->section = mutated(NO_ANNOUNCEMENT) ? OUTSIDE : a->t->seen;
	a->t->seen = OUTSIDE;
	cover_begin(a);
	return true;
}

static void job_next(struct at *a)
{
	a->t->job++;
	a->job = job_of(a->w, a->me);
	a->t->level = a->t->guard = 0;
	a->t->va = a->t->raw = 0;
	a->t->deep = a->t->was = 0;
	for (unsigned level = 1; level <= LEVELS_MAX; level++)
		let_go(a, level);
	if (a->job != NULL)
		section_begin(a);
	else
		a->t->pc = DONE;
}

void thread_start(struct tree *w, unsigned me)
{
	struct at a = { w, &w->thread[me], job_of(w, me), me };

	if (a.job != NULL)
		section_begin(&a);
}

static bool exit_section(struct at *a)
{
	const struct thread *t = a->t;
	bool last = t->job + 1 >= CURSORS_MAX || setup.jobs[a->me][t->job + 1] == NULL;

	if (setup.nested && !last) {
		SAY("closes the cursor, stays in its section");
	} else {
		SAY("leaves its section");
		a->t->section = OUTSIDE;
	}
	job_next(a);
	return true;
}

/* --- the covering node ----------------------------------------------------------------------- */

/* cover_level: the level of the lowest node that covers the range, or holds it as one entry. */
static unsigned cover_level(const struct job *job)
{
	unsigned level = 1, span = 2;

	while (level < setup.levels && (((job->end - 1U) ^ job->first) & ~(span - 1)) != 0) {
		level++;
		span <<= 1;
	}
	if (level < setup.levels && job->end - job->first == (int)span)
		level++;
	return level;
}

static void descend(struct at *a, unsigned raw)
{
	let_go(a, a->t->level);
	a->t->level--;
	hold(a, a->t->level, raw);
}

static void cover_end(struct at *a)
{
	if (a->t->held)
		a->t->pc = COVER_STRAY;
	else if (mutated(CHILD_FIRST) && a->me == 1 && a->t->level > 1)
		a->t->pc = CHILD_LOAD;
	else
		a->t->pc = COVER_LOCK;
	a->t->held = 0;
}

static bool cover_load(struct at *a)
{
	unsigned raw;

	if (a->t->level == cover_level(a->job)) {
		cover_end(a); /* only the root comes here: nothing to load */
		return lock_steps[a->t->pc](a);
	}
	raw = entry_look(a, a->t->level, slot_of(a->job->first, a->t->level));
	if (entry_table(raw)) {
		descend(a, raw);
		if (a->t->level == cover_level(a->job))
			cover_end(a);
	} else if (raw == 0 && a->job->change) {
		a->t->pc = GROW_LOAD;
	} else {
		cover_end(a);
	}
	return true;
}

static bool grow_load(struct at *a)
{
	unsigned raw = entry_look(a, a->t->level, slot_of(a->job->first, a->t->level));

	if (entry_table(raw)) {
		if (a->t->held)
			explore_broken(LOCKS, "T%u's own new node is not empty", a->me);
		descend(a, raw);
		if (a->t->level == cover_level(a->job))
			cover_end(a);
	} else if (raw != 0) {
		cover_end(a);
	} else {
		a->t->pc = a->t->held ? FILL_STRAY : FILL_LOCK;
	}
	return true;
}

static bool fill_lock(struct at *a)
{
	enum entered e = node_enter(a, a->t->level);

	if (e == ENTERED)
		a->t->pc = FILL_STRAY;
	return e != BLOCKED;
}

static bool fill_stray(struct at *a)
{
	bool stray = a->w->node[node_in(a, a->t->level)].stray;

	SAY("finds node %u %sstray", node_in(a, a->t->level), stray ? "" : "not ");
	if (stray && !mutated(FILL_STRAY_TABLES))
		a->t->pc = FILL_AGAIN;
	else
		a->t->pc = mutated(NO_SECOND_LOOK) ? FILL_TAKE : FILL_LOOK;
	return true;
}

static bool fill_look(struct at *a)
{
	unsigned raw = entry_look(a, a->t->level, slot_of(a->job->first, a->t->level));

	a->t->pc = raw == 0 ? FILL_TAKE : FILL_LEAVE;
	return true;
}

static bool fill_take(struct at *a)
{
	a->t->pc = node_make(a, a->t->level, a->job->first) ? FILL_PUT : FILL_FAIL;
	return true;
}

static bool fill_put(struct at *a)
{
	unsigned n = node_in(a, a->t->level), child = node_in(a, a->t->level - 1U);

	SAY("stores node %u in node %u", child, n);
	entry_put(a->w, a->me, n, slot_of(a->job->first, a->t->level), child + ENTRY_TABLE, 1);
	a->t->pc = FILL_LEAVE;
	return true;
}

static bool fill_leave(struct at *a)
{
	unsigned level = a->t->level;

	node_leave(a, level);
	a->t->held = a->t->at[level - 2].node != 0;
	a->t->pc = GROW_LOAD;
	if (!a->t->held)
		return true;
	let_go(a, level);
	a->t->level = level - 1;
	a->t->held = !mutated(BORN_UNLOCKED);
	if (a->t->level == cover_level(a->job))
		cover_end(a);
	return true;
}

static bool open_again(struct at *a)
{
	node_leave(a, a->t->level);
	let_go(a, a->t->level);
	cover_begin(a);
	return true;
}

static bool fill_fail(struct at *a)
{
	node_leave(a, a->t->level);
	let_go(a, a->t->level);
	a->t->pc = EXIT;
	return true;
}

step_fn *const open_steps[PCS] = {
	[ENTER_LOAD] = enter_load,  [ENTER_SAY] = enter_say,   [COVER_LOAD] = cover_load,
	[GROW_LOAD] = grow_load,    [FILL_LOCK] = fill_lock,   [FILL_STRAY] = fill_stray,
	[FILL_LOOK] = fill_look,    [FILL_TAKE] = fill_take,   [FILL_PUT] = fill_put,
	[FILL_LEAVE] = fill_leave,  [FILL_AGAIN] = open_again, [FILL_FAIL] = fill_fail,
	[COVER_AGAIN] = open_again, [EXIT] = exit_section,
};
