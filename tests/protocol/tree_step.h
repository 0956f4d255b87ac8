/* SPDX-License-Identifier: MPL-2.0 */
/* Where a thread is in its cursor, and what the files of its steps share. */
#ifndef TESTS_PROTOCOL_TREE_STEP_H
#define TESTS_PROTOCOL_TREE_STEP_H

#include "tests/protocol/tree.h"

enum pc {
	DONE,
	ENTER_LOAD, /* epoch_enter: load the epoch, */
	ENTER_SAY,  /* announce it */
	WALK_LOAD,
	MARK_LOAD, /* engine_mark */
	MARK_SWAP,
	MARK_AGAIN, /* does the table still belong to the tree? */
	COVER_LOAD, /* down to the covering node without a lock */
	GROW_LOAD,  /* cover_grow */
	FILL_LOCK,  /* cover_fill */
	FILL_STRAY,
	FILL_LOOK,
	FILL_TAKE,
	FILL_PUT,
	FILL_LEAVE,
	FILL_AGAIN, /* stray: unlock, start again */
	FILL_FAIL,  /* no memory: unlock, give up */
	CHILD_LOAD, /* the mutation that locks a child first */
	CHILD_LOCK,
	COVER_LOCK,
	COVER_STRAY,
	COVER_AGAIN,
	SUB_LOAD, /* subtree_lock */
	SUB_LOCK,
	LOOK_LOAD,
	SEAT_LOAD, /* cursor_descend_to */
	SEAT_TAKE,
	SEAT_PUT,
	SEAT_LOCK, /* the mutation that publishes an unlocked child */
	PUT,	   /* a new leaf */
	UNMAP_LOAD,
	UNMAP_CLEAR,
	JOIN_LOAD, /* engine_collapse */
	JOIN_READ,
	JOIN_PUT,
	JOIN_READ_AGAIN,
	JOIN_MARK,
	JOIN_EMPTY, /* the mutation that empties the old table */
	DETACH_LOAD,
	DETACH_MARK,
	DETACH_LEAVE,
	CLEAR_LATE, /* the mutations that clear too late */
	DEFER,
	CLOSE_LOAD, /* subtree_unlock */
	CLOSE_LEAVE,
	EXIT, /* epoch_exit */
	PCS,
};

/* A thread about to step. */
struct at {
	struct tree *w;
	struct thread *t;
	const struct job *job;
	unsigned me;
};

static inline bool mutated(enum tree_mutation m)
{
	return setup.mutation == m;
}

static inline unsigned slot_of(unsigned page, unsigned level)
{
	return page >> (level - 1) & 1;
}

/* The node in hand at a level. */
static inline unsigned node_in(const struct at *a, unsigned level)
{
	return a->t->at[level - 1].node - 1U;
}

static inline void hold(struct at *a, unsigned level, unsigned raw)
{
	a->t->at[level - 1].node = raw - ENTRY_TABLE + 1;
}

static inline void let_go(struct at *a, unsigned level)
{
	a->t->at[level - 1].node = 0;
	a->t->at[level - 1].slot = 0;
}

/* To the table `raw`, one level down; the parent stays in hand. */
static inline void step_down(struct at *a, unsigned raw)
{
	a->t->level--;
	hold(a, a->t->level, raw);
}

/* Loads an entry of the node in hand at `level`. */
unsigned entry_look(struct at *a, unsigned level, unsigned slot);

/* Loads the entry at which the cursor stands. */
static inline unsigned look_here(struct at *a)
{
	return entry_look(a, a->t->level, slot_of(a->t->va, a->t->level));
}

/* Stores there; the node's count changes by `count`. */
void put(struct at *a, unsigned raw, int count);

/* The level whose slot is what the deed wants to change. */
unsigned target_level(const struct job *job);

/* First and last slot of the node in hand at `level` that overlap the range. */
unsigned slot_first(const struct at *a, unsigned level);
unsigned slot_last(const struct at *a, unsigned level);

/* Takes the lock of the node in hand at `level`. ENTERED: go on. */
enum entered node_enter(struct at *a, unsigned level);
void node_leave(struct at *a, unsigned level);

/* A node for the slot of `page` in the node in hand at `level`: into the hand one level below.
 * False: there is none. */
bool node_make(struct at *a, unsigned level, unsigned page);

/* From the root, for the first time or again; a walk begins there: tree_walk.c. */
void cover_begin(struct at *a);
void walk_begin(struct at *a);

/* What follows when all is locked, and when a table or a leaf was taken out: tree_deed.c. */
void deed_begin(struct at *a);
void taken(struct at *a);

/* What follows when table `raw`, below the node at `level`, has left the tree; and when the deed is
 * done: tree_close.c. */
void detach_begin(struct at *a, unsigned raw);
void deed_end(struct at *a);

/* The steps, by pc; each pc is in one of the tables. */
typedef bool step_fn(struct at *a);
extern step_fn *const open_steps[PCS], *const lock_steps[PCS];
extern step_fn *const deed_steps[PCS], *const close_steps[PCS];
extern step_fn *const walk_steps[PCS], *const join_steps[PCS];

#endif
