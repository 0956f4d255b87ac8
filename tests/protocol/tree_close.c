/* SPDX-License-Identifier: MPL-2.0 */
/* Tables on their way out, and closing: detach of mm/engine_change.h, vm_cursor_close. */
#include "tests/protocol/tree_step.h"

/* --- out of the tree ------------------------------------------------------------------------- */

/* Into a node that leaves the tree; what is below it first. */
static void detach_down(struct at *a)
{
	if (a->t->deep > 1 && a->w->node[node_in(a, a->t->deep)].present != 0)
		a->t->pc = DETACH_LOAD;
	else
		a->t->pc = mutated(STRAY_AFTER_UNLOCK) ? DETACH_LEAVE : DETACH_MARK;
}

void detach_begin(struct at *a, unsigned raw)
{
	a->t->deep = a->t->level - 1;
	hold(a, a->t->deep, raw);
	a->t->retired |= 1U << (raw - ENTRY_TABLE);
	detach_down(a);
}

static void detach_next(struct at *a)
{
	struct thread *t = a->t;

	if (t->at[t->deep - 1].slot++ == 0)
		t->pc = DETACH_LOAD;
	else
		t->pc = mutated(STRAY_AFTER_UNLOCK) ? DETACH_LEAVE : DETACH_MARK;
}

static bool detach_load(struct at *a)
{
	unsigned raw = entry_look(a, a->t->deep, a->t->at[a->t->deep - 1].slot);

	if (entry_table(raw)) {
		a->t->deep--;
		hold(a, a->t->deep, raw);
		detach_down(a);
	} else {
		detach_next(a);
	}
	return true;
}

/* The table is marked and unlocked: up, or on. */
static void detach_up(struct at *a)
{
	bool top = a->t->deep + 1 == a->t->level;

	let_go(a, a->t->deep);
	a->t->deep++;
	if (!top) {
		detach_next(a);
		return;
	}
	a->t->deep = 0;
	if (mutated(CLEAR_AFTER_RETIRE))
		a->t->pc = CLEAR_LATE;
	else if (mutated(CLEAR_AFTER_DEFER))
		a->t->pc = DEFER;
	else
		taken(a);
}

static bool detach_mark(struct at *a)
{
	SAY("marks node %u as stray", node_in(a, a->t->deep));
	a->w->node[node_in(a, a->t->deep)].stray = 1;
	if (mutated(STRAY_AFTER_UNLOCK))
		detach_up(a);
	else
		a->t->pc = DETACH_LEAVE;
	return true;
}

static bool detach_leave(struct at *a)
{
	node_leave(a, a->t->deep);
	if (mutated(STRAY_AFTER_UNLOCK))
		a->t->pc = DETACH_MARK;
	else
		detach_up(a);
	return true;
}

/* --- closing --------------------------------------------------------------------------------- */

/* To the slot before, to the node's lock where there is none. `slot` counts what is still to do. */
static void close_next(struct at *a)
{
	struct thread *t = a->t;

	if (t->deep > 1 && t->at[t->deep - 1].slot > slot_first(a, t->deep))
		t->pc = CLOSE_LOAD;
	else
		t->pc = CLOSE_LEAVE;
}

/* Into the node at `deep`: what is below it is unlocked first. */
static void close_down(struct at *a)
{
	unsigned deep = a->t->deep;

	if (deep > 1 && a->w->node[node_in(a, deep)].present != 0) {
		a->t->at[deep - 1].slot = slot_last(a, deep) + 1;
		a->t->pc = CLOSE_LOAD;
	} else {
		a->t->pc = CLOSE_LEAVE;
	}
}

void deed_end(struct at *a)
{
	/* Below the guard nothing is in hand but what is found again. */
	for (unsigned level = 1; level < a->t->guard; level++)
		let_go(a, level);
	a->t->level = 0;
	a->t->va = a->t->raw = 0;
	a->t->deep = a->t->guard;
	if (a->t->retired != 0)
		a->t->pc = DEFER;
	else
		close_down(a);
}

static bool defer(struct at *a)
{
	unsigned n = (unsigned)__builtin_ctz(a->t->retired);

	a->t->retired &= ~(1U << n);
	if (mutated(NO_GRACE)) {
		SAY("frees node %u at once", n);
		subtree_give(a->w, n);
	} else if (mutated(NO_DEFER)) {
		SAY("forgets node %u", n);
	} else {
		SAY("reads the epoch, defers node %u", n);
		a->w->node[n].state = NODE_DEFERRED;
		a->w->node[n].age = mutated(OWN_EPOCH) && a->t->section == OLDER;
	}
	if (mutated(CLEAR_AFTER_DEFER))
		a->t->pc = CLEAR_LATE;
	else if (a->t->retired == 0)
		close_down(a);
	return true;
}

static bool close_load(struct at *a)
{
	struct thread *t = a->t;
	unsigned raw = entry_look(a, t->deep, --t->at[t->deep - 1].slot);

	if (entry_table(raw)) {
		t->deep--;
		hold(a, t->deep, raw);
		close_down(a);
	} else {
		close_next(a);
	}
	return true;
}

static bool close_leave(struct at *a)
{
	struct thread *t = a->t;

	t->locked = 0;
	node_leave(a, t->deep);
	let_go(a, t->deep);
	if (t->deep == t->guard) {
		t->deep = 0;
		t->pc = EXIT;
	} else {
		t->deep++;
		close_next(a);
	}
	return true;
}

step_fn *const close_steps[PCS] = {
	[DETACH_LOAD] = detach_load,   [DETACH_MARK] = detach_mark,
	[DETACH_LEAVE] = detach_leave, [DEFER] = defer,
	[CLOSE_LOAD] = close_load,     [CLOSE_LEAVE] = close_leave,
};

bool thread_step(struct tree *w, unsigned me)
{
	static step_fn *const *const tables[] = { open_steps, walk_steps, lock_steps,
						  deed_steps, join_steps, close_steps };
	struct at a = { w, &w->thread[me], job_of(w, me), me };
	unsigned pc = a.t->pc;

	for (unsigned i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		if (tables[i][pc] != NULL)
			return tables[i][pc](&a);
	return false; /* done */
}

bool thread_done(const struct tree *w, unsigned me)
{
	return w->thread[me].pc == DONE;
}
