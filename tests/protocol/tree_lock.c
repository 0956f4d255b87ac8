/* SPDX-License-Identifier: MPL-2.0 */
/* Locking the covering node and what is below it: cover_lock, subtree_lock of mm/engine_lock.h. */
#include "tests/protocol/tree_step.h"

static bool child_load(struct at *a)
{
	unsigned level = a->t->level, raw = entry_look(a, level, slot_first(a, level));

	a->t->pc = entry_table(raw) ? CHILD_LOCK : COVER_LOCK;
	if (entry_table(raw))
		hold(a, level - 1, raw);
	return true;
}

static bool child_lock(struct at *a)
{
	enum entered e = node_enter(a, a->t->level - 1U);

	if (e == ENTERED)
		a->t->pc = COVER_LOCK;
	return e != BLOCKED;
}

static bool cover_lock(struct at *a)
{
	enum entered e = node_enter(a, a->t->level);

	if (e == ENTERED)
		a->t->pc = COVER_STRAY;
	return e != BLOCKED;
}

/* --- what is below it ------------------------------------------------------------------------ */

static void sub_end(struct at *a)
{
	a->t->deep = 0;
	for (unsigned level = 1; level <= a->t->guard; level++)
		a->t->at[level - 1].slot = 0;
	a->t->locked = 1;
	deed_begin(a);
}

/* To the next slot, up where a node's slots are through. */
static void sub_next(struct at *a)
{
	struct thread *t = a->t;

	while (t->at[t->deep - 1].slot == slot_last(a, t->deep)) {
		if (t->deep == t->guard) {
			sub_end(a);
			return;
		}
		let_go(a, t->deep);
		t->deep++;
	}
	t->at[t->deep - 1].slot++;
	t->pc = SUB_LOAD;
}

/* Into the node at `deep`, which is locked. There may be nothing below it. */
static void sub_down(struct at *a)
{
	struct thread *t = a->t;

	if (t->deep > 1 && a->w->node[node_in(a, t->deep)].present != 0) {
		t->at[t->deep - 1].slot = slot_first(a, t->deep);
		t->pc = SUB_LOAD;
	} else {
		t->at[t->deep - 1].slot = slot_last(a, t->deep);
		sub_next(a);
	}
}

static bool cover_stray(struct at *a)
{
	bool stray = a->w->node[node_in(a, a->t->level)].stray;

	SAY("finds node %u %sstray", node_in(a, a->t->level), stray ? "" : "not ");
	if (stray && !mutated(NO_STRAY_CHECK)) {
		a->t->pc = COVER_AGAIN;
		return true;
	}
	a->t->guard = a->t->level;
	a->t->deep = a->t->level;
	if (mutated(NO_SUBTREE))
		sub_end(a);
	else
		sub_down(a);
	return true;
}

static bool sub_load(struct at *a)
{
	unsigned raw = entry_look(a, a->t->deep, a->t->at[a->t->deep - 1].slot);

	if (!entry_table(raw)) {
		sub_next(a);
	} else {
		hold(a, a->t->deep - 1U, raw);
		a->t->deep--;
		a->t->pc = SUB_LOCK;
	}
	return true;
}

static bool sub_lock(struct at *a)
{
	unsigned n = node_in(a, a->t->deep);
	enum entered e = ENTERED;

	/* The mutation that locks a child first has this one already. */
	if (!mutated(CHILD_FIRST) || !(a->w->node[n].holders >> a->me & 1))
		e = node_enter(a, a->t->deep);
	if (e == ENTERED)
		sub_down(a);
	return e != BLOCKED;
}

step_fn *const lock_steps[PCS] = {
	[CHILD_LOAD] = child_load,   [CHILD_LOCK] = child_lock, [COVER_LOCK] = cover_lock,
	[COVER_STRAY] = cover_stray, [SUB_LOAD] = sub_load,	[SUB_LOCK] = sub_lock,
};
