/* SPDX-License-Identifier: MPL-2.0 */
/* A table full of leaves becomes one leaf: mm/engine_collapse.h. */
#include "tests/protocol/tree_step.h"

static unsigned old_table(const struct at *a)
{
	return node_in(a, a->t->level - 1U);
}

static bool joinable(const struct node *n)
{
	return entry_leaf(n->entry[0]) && entry_leaf(n->entry[1]);
}

static bool join_load(struct at *a)
{
	unsigned raw = look_here(a);

	if (a->t->level > target_level(a->job) && entry_table(raw)) {
		step_down(a, raw);
	} else if (a->t->level == target_level(a->job) && entry_table(raw) &&
		   joinable(&a->w->node[raw - ENTRY_TABLE])) {
		hold(a, a->t->level - 1U, raw);
		a->t->pc = JOIN_READ;
	} else {
		deed_end(a);
	}
	return true;
}

/* Collects the marks, one leaf a step. False: there is one more. */
static bool marks_read(struct at *a)
{
	unsigned below = a->t->level - 1, slot = a->t->at[below - 1].slot;

	if (entry_look(a, below, slot) == ENTRY_MARKED)
		a->t->was = 1;
	a->t->at[below - 1].slot = slot == 0;
	return slot != 0;
}

static bool join_read(struct at *a)
{
	if (marks_read(a))
		a->t->pc = JOIN_PUT;
	return true;
}

/* The old table keeps its entries, for walks may still be in it. */
static void join_end(struct at *a)
{
	unsigned n = old_table(a);

	a->t->was = 0;
	a->t->at[a->t->level - 2].slot = 0;
	if (mutated(JOIN_EMPTIES))
		a->t->pc = JOIN_EMPTY;
	else
		detach_begin(a, n + ENTRY_TABLE);
}

/* The pages stay what they are. */
static bool join_put(struct at *a)
{
	put(a, a->t->was != 0 ? ENTRY_MARKED : ENTRY_LEAF, 0);
	a->t->was = 0;
	if (mutated(JOIN_READS_ONCE))
		join_end(a);
	else
		a->t->pc = JOIN_READ_AGAIN;
	return true;
}

static bool join_read_again(struct at *a)
{
	if (!marks_read(a))
		return true;
	if (a->t->was != 0)
		a->t->pc = JOIN_MARK;
	else
		join_end(a);
	return true;
}

/* Adds the marks that came late. */
static bool join_mark(struct at *a)
{
	put(a, ENTRY_MARKED, 0);
	join_end(a);
	return true;
}

static bool join_empty(struct at *a)
{
	unsigned n = old_table(a), slot = a->w->node[n].entry[0] == 0;

	SAY("clears entry %u of node %u", slot, n);
	entry_put(a->w, a->me, n, slot, 0, -1);
	if (slot == 1)
		detach_begin(a, n + ENTRY_TABLE);
	return true;
}

step_fn *const join_steps[PCS] = {
	[JOIN_LOAD] = join_load, [JOIN_READ] = join_read,
	[JOIN_PUT] = join_put,	 [JOIN_READ_AGAIN] = join_read_again,
	[JOIN_MARK] = join_mark, [JOIN_EMPTY] = join_empty,
};
