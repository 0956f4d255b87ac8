/* SPDX-License-Identifier: MPL-2.0 */
/* Changing and closing, step by step: mm/engine_change.h, engine_unmap.h, engine_close. */
#include "tests/protocol/tree_step.h"

/* The level whose slot is what the deed wants to change. */
static unsigned target_level(const struct job *job)
{
	unsigned level = 1;

	while (job->deed == LARGE && 1U << (level - 1) < (unsigned)job->end - job->first)
		level++;
	return level;
}

static void deed_end(struct at *a)
{
	/* Below the guard nothing is in hand but what is found again. */
	for (unsigned level = 1; level < a->t->guard; level++)
		let_go(a, level);
	a->t->level = 0;
	a->t->va = a->t->raw = 0;
	a->t->pc = a->t->retired != 0 ? DEFER : CLOSE_LOAD;
	a->t->deep = a->t->guard;
	a->t->at[a->t->guard - 1].slot = slot_last(a, a->t->guard) + 1;
	if (a->t->pc == CLOSE_LOAD && a->t->guard == 1)
		a->t->pc = CLOSE_LEAVE;
}

/* cursor_seat: which step comes next on the way to `target`. */
static void seat(struct at *a)
{
	a->t->pc = a->t->level == target_level(a->job) ? PUT : SEAT_LOAD;
}

void deed_begin(struct at *a)
{
	a->t->level = a->t->guard;
	a->t->va = a->job->first;
	switch (a->job->deed) {
	case LOOK:
		a->t->pc = LOOK_LOAD;
		break;
	case UNMAP:
		a->t->pc = UNMAP_LOAD;
		break;
	default:
		seat(a);
	}
}

static void descend(struct at *a, unsigned raw)
{
	a->t->level--;
	hold(a, a->t->level, raw);
}

static unsigned look(struct at *a)
{
	return entry_look(a, a->t->level, slot_of(a->t->va, a->t->level));
}

static void put(struct at *a, unsigned raw, int count)
{
	unsigned n = node_in(a, a->t->level), slot = slot_of(a->t->va, a->t->level);

	SAY("stores in entry %u of node %u: %s", slot, n, entry_name(a->w, raw));
	entry_put(a->w, a->me, n, slot, raw, count);
}

static bool look_load(struct at *a)
{
	unsigned raw = look(a);

	if (entry_table(raw))
		descend(a, raw);
	else
		deed_end(a);
	return true;
}

/* --- down to where something is put ------------------------------------------------------------
 */

static bool seat_load(struct at *a)
{
	unsigned raw = look(a);

	if (entry_table(raw)) {
		descend(a, raw);
		seat(a);
	} else {
		a->t->raw = raw;
		a->t->pc = SEAT_TAKE;
	}
	return true;
}

/* A new child: empty, or with the parts of the leaf that it replaces. */
static bool seat_take(struct at *a)
{
	if (!node_make(a, a->t->level, a->t->va)) {
		deed_end(a);
		return true;
	}
	if (a->t->raw == ENTRY_LEAF) {
		struct node *child = &a->w->node[node_in(a, a->t->level - 1U)];

		child->entry[0] = child->entry[1] = ENTRY_LEAF;
		child->present = 2;
	}
	a->t->raw = 0;
	a->t->pc = SEAT_PUT;
	return true;
}

static void seated(struct at *a)
{
	a->t->level--;
	if (a->job->deed == UNMAP)
		a->t->pc = UNMAP_LOAD;
	else
		seat(a);
}

static bool seat_put(struct at *a)
{
	unsigned n = node_in(a, a->t->level);
	unsigned old = a->w->node[n].entry[slot_of(a->t->va, a->t->level)];

	put(a, node_in(a, a->t->level - 1U) + ENTRY_TABLE, old == 0);
	if (mutated(BORN_UNLOCKED))
		a->t->pc = SEAT_LOCK;
	else
		seated(a);
	return true;
}

static bool seat_lock(struct at *a)
{
	enum entered e = node_enter(a, a->t->level - 1U);

	if (e == ENTERED)
		seated(a);
	return e != BLOCKED;
}

/* --- out of the tree ---------------------------------------------------------------------------
 */

/* cursor_move past the slot: up to the node that has the next page. */
static void move_on(struct at *a)
{
	struct thread *t = a->t;
	unsigned next = ((t->va >> (t->level - 1)) + 1U) << (t->level - 1), across = t->va ^ next;

	while (t->level < t->guard && across >> t->level != 0) {
		let_go(a, t->level);
		t->level++;
	}
	t->va = next < a->job->end ? next : a->job->end;
	t->pc = UNMAP_LOAD;
}

/* After a table or a leaf was taken out or replaced. */
static void taken(struct at *a)
{
	if (a->job->deed == UNMAP) {
		move_on(a);
		if (a->t->va == a->job->end)
			deed_end(a);
	} else {
		deed_end(a);
	}
}

/* Into a node that leaves the tree; what is below it first. */
static void detach_down(struct at *a)
{
	if (a->t->deep > 1)
		a->t->pc = DETACH_LOAD;
	else
		a->t->pc = mutated(STRAY_AFTER_UNLOCK) ? DETACH_LEAVE : DETACH_MARK;
}

static void detach_begin(struct at *a, unsigned raw)
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

static bool detach_mark(struct at *a)
{
	SAY("marks node %u as stray", node_in(a, a->t->deep));
	a->w->node[node_in(a, a->t->deep)].stray = 1;
	a->t->pc = DETACH_LEAVE;
	return true;
}

/* The table is out and unlocked: up, or on. */
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

static bool detach_leave(struct at *a)
{
	node_leave(a, a->t->deep);
	if (mutated(STRAY_AFTER_UNLOCK))
		a->t->pc = DETACH_LATE;
	else
		detach_up(a);
	return true;
}

static bool detach_late(struct at *a)
{
	SAY("marks node %u as stray", node_in(a, a->t->deep));
	a->w->node[node_in(a, a->t->deep)].stray = 1;
	detach_up(a);
	return true;
}

static bool clear_late(struct at *a)
{
	if (a->job->deed == LARGE)
		put(a, ENTRY_LEAF, 0);
	else
		put(a, 0, -1);
	taken(a);
	return true;
}

static bool clear_comes_late(void)
{
	return mutated(CLEAR_AFTER_RETIRE) || mutated(CLEAR_AFTER_DEFER);
}

/* engine_map: stores, then takes care of what was there. */
static bool put_leaf(struct at *a)
{
	unsigned n = node_in(a, a->t->level);
	unsigned old = a->w->node[n].entry[slot_of(a->t->va, a->t->level)];

	if (!entry_table(old) || !clear_comes_late())
		put(a, ENTRY_LEAF, old == 0);
	else
		SAY("retires %s before it is replaced", entry_name(a->w, old));
	if (entry_table(old))
		detach_begin(a, old);
	else
		deed_end(a);
	return true;
}

static bool slot_whole(const struct at *a)
{
	unsigned size = 1U << (a->t->level - 1);

	return (a->t->va & (size - 1)) == 0 && size <= (unsigned)a->job->end - a->t->va;
}

static bool unmap_load(struct at *a)
{
	unsigned raw = look(a);

	if (raw == 0) {
		taken(a);
	} else if (slot_whole(a)) {
		a->t->raw = raw;
		a->t->pc = UNMAP_CLEAR;
	} else if (entry_table(raw)) {
		descend(a, raw);
	} else {
		a->t->raw = raw;
		a->t->pc = SEAT_TAKE;
	}
	return true;
}

static bool unmap_clear(struct at *a)
{
	unsigned raw = a->t->raw;

	a->t->raw = 0;
	if (entry_table(raw) && clear_comes_late())
		SAY("retires %s before it is cleared", entry_name(a->w, raw));
	else
		put(a, 0, -1);
	if (entry_table(raw))
		detach_begin(a, raw);
	else
		taken(a);
	return true;
}

/* --- closing -----------------------------------------------------------------------------------
 */

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
		a->t->pc = a->t->guard == 1 ? CLOSE_LEAVE : CLOSE_LOAD;
	return true;
}

/* To the slot before, to the node's lock where there is none. `slot` counts what is still to do. */
static void close_next(struct at *a)
{
	struct thread *t = a->t;

	if (t->deep > 1 && t->at[t->deep - 1].slot > slot_first(a, t->deep))
		t->pc = CLOSE_LOAD;
	else
		t->pc = CLOSE_LEAVE;
}

static bool close_load(struct at *a)
{
	struct thread *t = a->t;
	unsigned raw = entry_look(a, t->deep, --t->at[t->deep - 1].slot);

	if (entry_table(raw)) {
		t->deep--;
		hold(a, t->deep, raw);
		t->at[t->deep - 1].slot = slot_last(a, t->deep) + 1;
	}
	close_next(a);
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

step_fn *const deed_steps[PCS] = {
	[LOOK_LOAD] = look_load,       [SEAT_LOAD] = seat_load,
	[SEAT_TAKE] = seat_take,       [SEAT_PUT] = seat_put,
	[SEAT_LOCK] = seat_lock,       [PUT] = put_leaf,
	[UNMAP_LOAD] = unmap_load,     [UNMAP_CLEAR] = unmap_clear,
	[DETACH_LOAD] = detach_load,   [DETACH_MARK] = detach_mark,
	[DETACH_LEAVE] = detach_leave, [DETACH_LATE] = detach_late,
	[CLEAR_LATE] = clear_late,     [DEFER] = defer,
	[CLOSE_LOAD] = close_load,     [CLOSE_LEAVE] = close_leave,
};

bool thread_step(struct tree *w, unsigned me)
{
	struct at a = { w, &w->thread[me], job_of(w, me), me };
	unsigned pc = a.t->pc;

	if (pc == DONE)
		return false;
	return open_steps[pc] != NULL ? open_steps[pc](&a) : deed_steps[pc](&a);
}

bool thread_done(const struct tree *w, unsigned me)
{
	return w->thread[me].pc == DONE;
}
