/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The protocol of mm/engine_lock.h and base/epoch.h as a model: threads that open cursors, change a
 * small tree and close them, a pool of nodes that are freed and used again, epochs.
 *
 *              root                    threads    each a short list of cursors
 *             [ 0 | 1 ]                           open ─ change or look ─ close, or a walk
 *              /     \                            without a lock
 *             a       b                pool       node 0 is the root; others are anywhere in
 *         [ 0 | 1 ] [ 0 | 1 ]                     the tree, or retired, or free
 *          /     \                     pollers    scan who is inside, advance the epoch, free
 *        aa       ab  ...                         what is ripe; run at any time
 *   (third level: optional)
 *
 * One step is one access to something shared: an entry is loaded or stored, a ticket drawn, a lock
 * entered or left, the stray mark read or set, an epoch announced, a table deferred, one CPU looked
 * at, the epoch advanced, a node freed or taken from the pool. `present` changes with its entry:
 * both belong to the holder of the lock. A ticket that is served at once is one step, for nobody
 * can come between.
 *
 * Epochs count from the present one, so that they need two bits: an announced epoch is the present
 * one or an older one, a retired node is 0, 1 or 2 epochs old.
 *
 * A node that is freed must not be in the hands of any thread: so a use after its freeing is found
 * before it happens.
 *
 * What the model does not show: orders of memory (all is sequentially consistent; tests/tsan looks
 * at those); more threads, cursors, levels, slots and nodes than it has; rights, reserves of nodes
 * and loops over many pages; the lists in which each CPU keeps what it deferred (here any poller
 * frees what is ripe); and whether the engine does what is written here, for the functions were
 * translated by hand. Siblings could be locked in any order as far as three threads can tell.
 */
#ifndef TESTS_PROTOCOL_TREE_H
#define TESTS_PROTOCOL_TREE_H

#include "tests/protocol/explore.h"

#define THREADS	    3
#define POLLERS	    2
#define LEVELS_MAX  3
#define PLACES	    7 /* a place's parts are places 2p + 1 and 2p + 2; the root is 0 */
#define NODES	    8
#define CURSORS_MAX 3

/* Entries: absent, a leaf with its mark or without, or the number of a table from ENTRY_TABLE on.
 */
#define ENTRY_LEAF   1
#define ENTRY_MARKED 2
#define ENTRY_TABLE  3

enum deed {
	WALK,  /* translates `first` without a lock */
	MARK,  /* marks `first` without a lock */
	LOOK,  /* reads `first` under the lock */
	MAP,   /* maps page `first` */
	LARGE, /* maps the whole range with one leaf */
	UNMAP, /* takes out everything in the range */
	JOIN,  /* makes one leaf of a table that is full of them */
};

/* What a thread does with one cursor over pages [first, end). */
struct job {
	enum deed deed;
	uint8_t first, end;
	bool change; /* opened by a changer */
	const char *name;
};

/* Errors that the explorer must find; see mutations.c. */
enum tree_mutation {
	TREE_SOUND,
	NO_STRAY_CHECK,
	FILL_STRAY_TABLES,
	STRAY_AFTER_UNLOCK,
	BORN_UNLOCKED,
	NO_GRACE,
	GRACE_OF_ONE,
	CLEAR_AFTER_RETIRE,
	CLEAR_AFTER_DEFER,
	NO_SECOND_LOOK,
	READERS_LET_WRITERS_IN,
	NO_SUBTREE,
	CHILD_FIRST,
	NO_ANNOUNCEMENT,
	ADVANCE_UNSEEN,
	OWN_EPOCH,
	NO_DEFER,
	JOIN_EMPTIES,
	JOIN_READS_ONCE,
	SPLIT_STORES,
	MARK_ONCE,
};

struct tree_setup {
	unsigned levels, nodes, threads, pollers;
	unsigned pages; /* bit i: page i is mapped at the start */
	bool busy;	/* epochs advance even when nothing is deferred in this tree */
	bool nested;	/* each thread has one section open around all of its cursors */
	const struct job *jobs[THREADS][CURSORS_MAX]; /* NULL ends a list */
	enum tree_mutation mutation;
};

enum node_state {
	NODE_FREE,
	NODE_USED,
	NODE_DEFERRED,
};

struct node {
	uint8_t entry[2];
	uint8_t state : 2, age : 2, place : 3, stray : 1;
	uint8_t next : 2, read : 2, write : 2, present : 2; /* the lock's counters, modulo 4 */
	uint8_t holders : 3, writer : 1; /* who is in; the protocol does not know */
};

enum section {
	OUTSIDE,
	PRESENT, /* announced the present epoch */
	OLDER,
};

struct thread {
	uint8_t pc;
	uint8_t job : 2, section : 2, seen : 2, ticket : 2;
	uint8_t held : 1, locked : 1, waiting : 1, level : 2, guard : 2;
	uint8_t va : 4, raw : 4;
	/* By level - 1: node + 1 in hand, 0 none; a position in its entries. */
	struct {
		uint8_t node : 4, slot : 2;
	} at[LEVELS_MAX];
	uint8_t deep : 2; /* level at which a walk over a subtree is */
	/* A walk's page was absent (1), was mapped (2) since it began; a marker counts a new
	 * mapping as absence. Who joins: some leaf was marked (1). */
	uint8_t was : 2;
	uint8_t retired; /* the ledger: bit per node */
};

struct poller {
	uint8_t pc : 3, stale : 1; /* stale: the epoch that it loaded has passed */
};

struct tree {
	struct node node[NODES];
	struct thread thread[THREADS];
	struct poller poller[POLLERS];
	/* Bit per page: what the stores so far have meant. Nobody reads it. */
	uint8_t view, marks;
} __attribute__((aligned(8)));

_Static_assert(sizeof(struct tree) <= EXPLORE_STATE, "a state fits");

extern struct tree_setup setup;

/* The model of what is set up. Valid until the next call. */
const struct model *tree_model(void);

/* --- nodes, locks, epochs: tree_node.c ------------------------------------------------------- */

static inline bool entry_leaf(unsigned raw)
{
	return raw == ENTRY_LEAF || raw == ENTRY_MARKED;
}

static inline bool entry_table(unsigned raw)
{
	return raw >= ENTRY_TABLE;
}

static inline unsigned place_level(unsigned place)
{
	return setup.levels - (place > 2 ? 2 : place > 0 ? 1 : 0);
}

/* The pages [first, end) below a place. */
static inline unsigned place_first(unsigned place)
{
	static const uint8_t row[PLACES] = { 0, 0, 1, 0, 1, 2, 3 };

	return row[place] << place_level(place);
}

static inline unsigned place_end(unsigned place)
{
	return place_first(place) + (1U << place_level(place));
}

const char *place_name(unsigned place);
const char *entry_name(const struct tree *w, unsigned raw);

static inline const struct job *job_of(const struct tree *w, unsigned me)
{
	return w->thread[me].job < CURSORS_MAX ? setup.jobs[me][w->thread[me].job] : NULL;
}

/* A free node, for `place`, locked by `me` as the writer; NODES: there is none. */
unsigned node_take(struct tree *w, unsigned me, unsigned place);

/* Gives it back to the pool. Whoever has it in hand breaks R4. */
void node_give(struct tree *w, unsigned n);

/* Stores an entry; the count of entries changes by `count`. The thread must hold the node as its
 * writer. */
void entry_put(struct tree *w, unsigned me, unsigned n, unsigned slot, unsigned raw, int count);

/* A store has mapped `count` pages, or has taken them out. */
void view_set(struct tree *w, unsigned first, unsigned count, bool mapped);

enum entered {
	BLOCKED, /* the state is as before */
	QUEUED,
	ENTERED,
};

enum entered lock_enter(struct tree *w, unsigned me, unsigned n, bool write);
void lock_leave(struct tree *w, unsigned me, unsigned n, bool write);

bool poller_step(struct tree *w, unsigned who);
bool pollers_rest(const struct tree *w);

/* Frees a table and what is below it at once. */
void subtree_give(struct tree *w, unsigned n);

/* --- threads: tree_open.c and the others; properties: tree_check.c ------------------------ */

void thread_start(struct tree *w, unsigned me);
bool thread_step(struct tree *w, unsigned me);
bool thread_done(const struct tree *w, unsigned me);
void tree_check(const void *state);

#endif
