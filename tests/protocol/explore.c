/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/protocol/explore.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAX_STATES   (5U << 20)
#define MAX_EDGES    (5U * MAX_STATES)
#define FIRST_SLOTS  (1U << 14)
#define NO_PARENT    UINT32_MAX
#define ACTOR_BITS   4
#define NOBODY	     EXPLORE_ACTORS
#define PARENT_LIMIT (1U << (32 - ACTOR_BITS))

_Static_assert(MAX_STATES < PARENT_LIMIT, "a state's number and an actor fit into 32 bits");
_Static_assert(EXPLORE_ACTORS <= 1 << ACTOR_BITS, "an actor's number fits");

bool explore_telling;

/* Reserved once and reused by each exploration; memory that no state reaches is never touched. */
static struct {
	uint8_t *states;  /* count times the model's size */
	uint32_t *parent; /* number of the state before << ACTOR_BITS | actor */
	uint32_t *first;  /* of a state: where its edges begin */
	uint32_t *edges;  /* the states that follow it */
	uint64_t *slots;  /* hash << 32 | number + 1; 0 is empty */
	uint8_t *good;	  /* an end can be reached from here */
	uint32_t count, edge_count, slot_count;
} heap;

static struct {
	enum property broken;
	unsigned watch;
	uint32_t from;	/* the state from which it was found */
	unsigned actor; /* with whose step; NOBODY: by the state itself */
	char text[160];
} found;

static const struct {
	const char *name, *text;
} properties[PROPERTIES] = {
	[HOLDS] = { "-", "nothing is wrong" },
	[R2] = { "R2", "locked ranges are disjoint, unless all are readers'" },
	[R3] = { "R3", "one node for a place, and the entry leads to it" },
	[R4] = { "R4", "nobody holds a node that was freed or is used for another place" },
	[R5] = { "R5", "a cursor has locked every node of its range" },
	[R7] = { "R7", "the covering node of a cursor is in the tree" },
	[VIEW] = { "view", "the tree maps what the cursors have mapped, and a reader finds it" },
	[WALKS] = { "walks", "a walk without a lock finds what was true while it lasted" },
	[MARKS] = { "marks", "a mark stays as long as its page" },
	[T5] = { "T5", "no stray node can be reached from the root" },
	[COUNTS] = { "counts", "a node knows how many entries it has" },
	[LOCKS] = { "locks", "a writer is alone, and who writes or unlocks holds the lock" },
	[TLB1] = { "TLB1", "at rest a TLB holds what the table says" },
	[TLB2] = { "TLB2", "no CPU can use a frame that the allocator has" },
	[TLB6] = { "TLB6", "no CPU can use a right that was taken away" },
	[END] = { "end", "at the end all locks are free, no node is lost" },
	[DEADLOCK] = { "deadlock", "somebody can always step" },
	[STUCK] = { "stuck", "an end can be reached from everywhere" },
	[SPACE] = { "space", "the states fit into memory" },
};

const char *property_name(enum property p)
{
	return properties[p].name;
}

const char *property_text(enum property p)
{
	return properties[p].text;
}

void explore_broken(enum property p, const char *fmt, ...)
{
	va_list args;

	if (found.broken != HOLDS || !(found.watch & 1U << p))
		return;
	found.broken = p;
	va_start(args, fmt);
	vsnprintf(found.text, sizeof(found.text), fmt, args);
	va_end(args);
}

void explore_say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
}

static void *reserve(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED) {
		perror("explore: no memory");
		exit(1);
	}
	return p;
}

static void heap_begin(void)
{
	if (heap.states == NULL) {
		heap.states = reserve((size_t)MAX_STATES * EXPLORE_STATE);
		heap.parent = reserve((size_t)MAX_STATES * sizeof(*heap.parent));
		heap.first = reserve((size_t)(MAX_STATES + 1) * sizeof(*heap.first));
		heap.edges = reserve((size_t)MAX_EDGES * sizeof(*heap.edges));
		heap.slots = reserve((size_t)MAX_STATES * 4 * sizeof(*heap.slots));
		heap.good = reserve(MAX_STATES);
	}
	heap.count = heap.edge_count = 0;
	heap.slot_count = FIRST_SLOTS;
	memset(heap.slots, 0, FIRST_SLOTS * sizeof(*heap.slots));
}

static void *state_at(const struct model *m, uint32_t n)
{
	return heap.states + (size_t)n * m->size;
}

static uint32_t hash(const void *state, size_t size)
{
	const uint64_t *words = state;
	uint64_t h = 0x9e3779b97f4a7c15;

	for (size_t i = 0; i < size / 8; i++) {
		h = (h ^ words[i]) * 0xff51afd7ed558ccd;
		h ^= h >> 32;
	}
	return (uint32_t)(h >> 16);
}

/* Where a number with this hash is, or belongs. */
static uint64_t *slot_find(const struct model *m, uint32_t h, const void *state)
{
	uint32_t i = h & (heap.slot_count - 1);

	for (; heap.slots[i] != 0; i = (i + 1) & (heap.slot_count - 1))
		if (heap.slots[i] >> 32 == h && state != NULL &&
		    memcmp(state_at(m, (uint32_t)heap.slots[i] - 1), state, m->size) == 0)
			break;
	return &heap.slots[i];
}

static void slots_grow(const struct model *m)
{
	heap.slot_count *= 2;
	memset(heap.slots, 0, (size_t)heap.slot_count * sizeof(*heap.slots));
	for (uint32_t n = 0; n < heap.count; n++) {
		uint32_t h = hash(state_at(m, n), m->size);

		*slot_find(m, h, NULL) = (uint64_t)h << 32 | (n + 1);
	}
}

/* The number of `state`; a new one comes from `parent`. */
static uint32_t state_number(const struct model *m, const void *state, uint32_t parent)
{
	uint32_t h = hash(state, m->size);
	uint64_t *slot = slot_find(m, h, state);

	if (*slot != 0)
		return (uint32_t)*slot - 1;
	if (heap.count == MAX_STATES) {
		explore_broken(SPACE, "more than %u states", MAX_STATES);
		return 0;
	}
	memcpy(state_at(m, heap.count), state, m->size);
	heap.parent[heap.count] = parent;
	*slot = (uint64_t)h << 32 | (heap.count + 1);
	heap.count++;
	if (heap.count > heap.slot_count / 2)
		slots_grow(m);
	return heap.count - 1;
}

static unsigned depth_of(uint32_t n)
{
	unsigned depth = 0;

	for (; heap.parent[n] != NO_PARENT; n = heap.parent[n] >> ACTOR_BITS)
		depth++;
	return depth;
}

static void tell_step(const struct model *m, uint32_t n, unsigned actor)
{
	uint8_t state[EXPLORE_STATE] __attribute__((aligned(8)));

	memcpy(state, state_at(m, n), m->size);
	printf("    %-8s ", m->name(actor));
	explore_telling = true;
	m->step(state, actor);
	explore_telling = false;
}

/* Walks the way to state n again and lets each step say what it does. */
static void tell(const struct model *m, uint32_t n)
{
	uint32_t before = heap.parent[n] >> ACTOR_BITS;

	if (heap.parent[n] == NO_PARENT)
		return;
	tell(m, before);
	tell_step(m, before, heap.parent[n] & (EXPLORE_ACTORS - 1));
}

/* One actor's step from state n. False: it has none. */
static bool follow(const struct model *m, uint32_t n, unsigned actor)
{
	uint8_t state[EXPLORE_STATE] __attribute__((aligned(8)));
	uint32_t known = heap.count, next;

	memcpy(state, state_at(m, n), m->size);
	found.actor = actor;
	if (!m->step(state, actor))
		return false;
	next = state_number(m, state, n << ACTOR_BITS | actor);
	if (heap.count != known)
		m->check(state);
	if (heap.edge_count == MAX_EDGES)
		explore_broken(SPACE, "more than %u steps", MAX_EDGES);
	else
		heap.edges[heap.edge_count++] = next;
	return true;
}

/* All steps from state n, until something is broken. */
static void expand(const struct model *m, uint32_t n)
{
	bool moved = false;

	found.from = n;
	heap.first[n] = heap.edge_count;
	heap.good[n] = m->end(state_at(m, n));
	for (unsigned actor = 0; actor < m->actors && found.broken == HOLDS; actor++)
		moved |= follow(m, n, actor);
	heap.first[n + 1] = heap.edge_count;
	if (moved || heap.good[n])
		return;
	found.actor = NOBODY;
	explore_broken(DEADLOCK, "nobody can step, and not all have ended");
}

static bool good_follows(uint32_t n)
{
	for (uint32_t e = heap.first[n]; e < heap.first[n + 1]; e++)
		if (heap.good[heap.edges[e]])
			return true;
	return false;
}

/* Finds the first state from which no end can be reached. Marks backwards until nothing changes. */
static void find_stuck(void)
{
	bool changed = true;

	while (changed) {
		changed = false;
		for (uint32_t n = heap.count; n-- > 0;)
			if (!heap.good[n] && good_follows(n))
				heap.good[n] = changed = true;
	}
	found.actor = NOBODY;
	for (found.from = 0; found.from < heap.count; found.from++) {
		if (!heap.good[found.from]) {
			explore_broken(STUCK, "no end can be reached from here");
			return;
		}
	}
}

static void explore_begin(const struct model *m, unsigned watch)
{
	uint8_t state[EXPLORE_STATE] __attribute__((aligned(8))) = { 0 };

	found.broken = HOLDS;
	found.watch = watch | 1U << SPACE;
	found.from = 0;
	found.actor = NOBODY;
	found.text[0] = '\0';
	heap_begin();
	m->start(state);
	state_number(m, state, NO_PARENT);
	m->check(state);
}

void explore(const struct model *m, unsigned watch, bool show, struct verdict *v)
{
	explore_begin(m, watch);
	for (uint32_t n = 0; n < heap.count && found.broken == HOLDS; n++)
		expand(m, n);
	if (found.broken == HOLDS && watch & 1U << STUCK)
		find_stuck();
	v->broken = found.broken;
	v->states = heap.count;
	v->steps = heap.edge_count;
	memcpy(v->text, found.text, sizeof(v->text));
	if (found.broken == HOLDS) {
		v->depth = depth_of(heap.count - 1);
		return;
	}
	v->depth = depth_of(found.from) + (found.actor != NOBODY);
	if (!show)
		return;
	tell(m, found.from);
	if (found.actor != NOBODY)
		tell_step(m, found.from, found.actor);
}
