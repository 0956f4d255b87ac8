/* SPDX-License-Identifier: MPL-2.0 */
/* Without a lock: engine_translate and engine_mark of mm/engine_walk.h. */
#include "tests/protocol/tree_step.h"

void walk_begin(struct at *a)
{
	a->t->pc = a->job->deed == WALK ? WALK_LOAD : MARK_LOAD;
	if (a->t->was == 0)
		a->t->was = 1U << (a->w->view >> a->job->first & 1);
}

static void walk_end(struct at *a, bool mapped)
{
	if (!(a->t->was >> mapped & 1))
		explore_broken(WALKS, "T%u finds page %u %s, which it never was", a->me,
			       a->job->first, mapped ? "mapped" : "absent");
	a->t->was = 0;
	a->t->raw = 0;
	for (unsigned level = 1; level <= setup.levels; level++)
		let_go(a, level);
	a->t->pc = EXIT;
}

static unsigned look(struct at *a, unsigned level)
{
	return entry_look(a, level, slot_of(a->job->first, level));
}

static bool walk_load(struct at *a)
{
	unsigned level = a->t->level, raw = look(a, level);

	if (entry_table(raw)) {
		let_go(a, level);
		a->t->level--;
		hold(a, level - 1, raw);
	} else {
		walk_end(a, raw != 0);
	}
	return true;
}

/* It returns true: the mark stays if its page has been the same all the time. */
static void mark_end(struct at *a)
{
	if (a->t->was == 2)
		a->w->marks |= 1U << a->job->first;
	a->t->was |= 2;
	walk_end(a, true);
}

/* In a table the mark counts only if the table has not left the tree. */
static void mark_made(struct at *a)
{
	a->t->raw = 0;
	if (a->t->level == setup.levels || mutated(MARK_ONCE))
		mark_end(a);
	else
		a->t->pc = MARK_AGAIN;
}

/* As walk_load, but the parent stays in hand. */
static bool mark_load(struct at *a)
{
	unsigned level = a->t->level, raw = look(a, level);

	if (entry_table(raw)) {
		if (level < setup.levels)
			let_go(a, level + 1);
		a->t->level--;
		hold(a, level - 1, raw);
	} else if (raw == ENTRY_LEAF) {
		a->t->raw = raw;
		a->t->pc = MARK_SWAP;
	} else if (raw == ENTRY_MARKED) {
		mark_made(a);
	} else {
		walk_end(a, false);
	}
	return true;
}

static bool mark_swap(struct at *a)
{
	unsigned n = node_in(a, a->t->level), slot = slot_of(a->job->first, a->t->level);

	if (a->w->node[n].entry[slot] == a->t->raw) {
		SAY("marks entry %u of node %u", slot, n);
		a->w->node[n].entry[slot] = ENTRY_MARKED;
		mark_made(a);
	} else {
		SAY("finds entry %u of node %u changed", slot, n);
		a->t->raw = 0;
		a->t->pc = MARK_LOAD;
	}
	return true;
}

static bool mark_again(struct at *a)
{
	unsigned level = a->t->level, raw = look(a, level + 1);

	if (raw == node_in(a, level) + ENTRY_TABLE) {
		mark_end(a);
	} else {
		let_go(a, level);
		let_go(a, level + 1);
		cover_begin(a);
	}
	return true;
}

step_fn *const walk_steps[PCS] = {
	[WALK_LOAD] = walk_load,
	[MARK_LOAD] = mark_load,
	[MARK_SWAP] = mark_swap,
	[MARK_AGAIN] = mark_again,
};
