/* SPDX-License-Identifier: MPL-2.0 */
/* Looking and changing, step by step: mm/engine_change.h, mm/engine_unmap.h. */
#include "tests/protocol/tree_step.h"

unsigned target_level(const struct job *job)
{
	unsigned level = 1;

	while ((job->deed == LARGE || job->deed == JOIN) &&
	       1U << (level - 1) < (unsigned)job->end - job->first)
		level++;
	return level;
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
	case JOIN:
		a->t->pc = JOIN_LOAD;
		break;
	default:
		seat(a);
	}
}

void put(struct at *a, unsigned raw, int count)
{
	unsigned n = node_in(a, a->t->level), slot = slot_of(a->t->va, a->t->level);

	SAY("stores in entry %u of node %u: %s", slot, n, entry_name(a->w, raw));
	entry_put(a->w, a->me, n, slot, raw, count);
}

/* Stores what the deed is about: a leaf, or nothing, for all pages of the slot. */
static void put_pages(struct at *a, unsigned raw, int count)
{
	unsigned pages = 1U << (a->t->level - 1);

	put(a, raw, count);
	view_set(a->w, a->t->va & ~(pages - 1), pages, raw != 0);
}

static bool look_load(struct at *a)
{
	unsigned raw = look_here(a);

	if (entry_table(raw)) {
		step_down(a, raw);
		return true;
	}
	if ((raw != 0) != (a->w->view >> a->job->first & 1))
		explore_broken(VIEW, "T%u finds page %u %s under its lock", a->me, a->job->first,
			       raw != 0 ? "mapped" : "absent");
	deed_end(a);
	return true;
}

/* --- down to where something is put ---------------------------------------------------------- */

static bool seat_load(struct at *a)
{
	unsigned raw = look_here(a);

	if (entry_table(raw)) {
		step_down(a, raw);
		seat(a);
	} else {
		a->t->raw = raw;
		a->t->pc = SEAT_TAKE;
	}
	return true;
}

/* The parts of the leaf that a child will replace, if it is one. */
static void seat_fill(struct at *a, unsigned raw)
{
	struct node *child = &a->w->node[node_in(a, a->t->level - 1U)];

	a->t->raw = raw;
	child->entry[0] = child->entry[1] = raw;
	child->present = raw == 0 ? 0 : 2;
}

/* A new child: empty, or with the parts of the leaf that it replaces. */
static bool seat_take(struct at *a)
{
	if (!node_make(a, a->t->level, a->t->va)) {
		deed_end(a);
		return true;
	}
	seat_fill(a, a->t->raw);
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

/* An exchange where a leaf may be marked meanwhile; what was marked is filled in again. */
static bool seat_put(struct at *a)
{
	unsigned n = node_in(a, a->t->level);
	unsigned old = a->w->node[n].entry[slot_of(a->t->va, a->t->level)];

	if (old != a->t->raw && !mutated(SPLIT_STORES)) {
		SAY("finds the leaf marked, fills the child again");
		seat_fill(a, old);
		return true;
	}
	a->t->raw = 0;
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

/* --- out of the tree ------------------------------------------------------------------------- */

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

void taken(struct at *a)
{
	if (a->job->deed == UNMAP) {
		move_on(a);
		if (a->t->va == a->job->end)
			deed_end(a);
	} else {
		deed_end(a);
	}
}

static bool clear_late(struct at *a)
{
	if (a->job->deed == LARGE)
		put_pages(a, ENTRY_LEAF, 0);
	else
		put_pages(a, 0, -1);
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
		put_pages(a, ENTRY_LEAF, old == 0);
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
	unsigned raw = look_here(a);

	if (raw == 0) {
		taken(a);
	} else if (slot_whole(a)) {
		a->t->raw = raw;
		a->t->pc = UNMAP_CLEAR;
	} else if (entry_table(raw)) {
		step_down(a, raw);
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
		put_pages(a, 0, -1);
	if (entry_table(raw))
		detach_begin(a, raw);
	else
		taken(a);
	return true;
}

step_fn *const deed_steps[PCS] = {
	[LOOK_LOAD] = look_load,   [SEAT_LOAD] = seat_load,	[SEAT_TAKE] = seat_take,
	[SEAT_PUT] = seat_put,	   [SEAT_LOCK] = seat_lock,	[PUT] = put_leaf,
	[UNMAP_LOAD] = unmap_load, [UNMAP_CLEAR] = unmap_clear, [CLEAR_LATE] = clear_late,
};
