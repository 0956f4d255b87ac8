/* SPDX-License-Identifier: MPL-2.0 */
/*
 * An explorer of small models: every interleaving of the atomic steps of a few actors, breadth
 * first, so that a counter-example is one of the shortest.
 *
 *   start ──step of A──▶ s1 ──step of B──▶ s3 ─▶ ...     every state once: hashed, kept whole
 *     └─────step of B──▶ s2 ──step of A──▶ s3            after each step: check()
 *                                                        no step left, not an end: deadlock
 *                                                        no way from a state to an end: stuck
 *
 * A model is a state without pointers and without padding that differs, and a few functions. A step
 * is one access to something shared, with the private computing that follows it; whatever is chosen
 * freely (which page a CPU touches next) is an actor more.
 *
 * What an exploration does not show: memory orders (all is sequentially consistent), and anything
 * beyond the threads, programs, levels and nodes of the model.
 */
#ifndef TESTS_PROTOCOL_EXPLORE_H
#define TESTS_PROTOCOL_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What can be wrong. The names and what they mean are in explore.c. */
enum property {
	HOLDS, /* nothing is wrong */
	R2,
	R3,
	R4,
	R5,
	R7,
	VIEW,
	WALKS,
	MARKS,
	T5,
	COUNTS,
	LOCKS,
	TLB1,
	TLB2,
	TLB6,
	END,
	DEADLOCK,
	STUCK,
	SPACE,
	PROPERTIES,
};

#define WATCH_ALL (~0U)

struct model {
	size_t size;	 /* of a state in bytes: a multiple of 8, at most EXPLORE_STATE */
	unsigned actors; /* at most EXPLORE_ACTORS */
	/* `state` is zeroed. */
	void (*start)(void *state);
	/* The next step of `actor`, in place. False: it cannot step now; `state` is thrown away. */
	bool (*step)(void *state, unsigned actor);
	/* Calls explore_broken for each property that the state breaks. */
	void (*check)(const void *state);
	/* Has everybody done all that they had to do? */
	bool (*end)(const void *state);
	/* The name of an actor, for the trace. */
	const char *(*name)(unsigned actor);
};

#define EXPLORE_STATE  80
#define EXPLORE_ACTORS 16

struct verdict {
	enum property broken; /* HOLDS, or the property of the counter-example */
	unsigned depth;	      /* steps of the counter-example, or of the longest shortest way */
	uint64_t states, steps;
	char text[160]; /* what is wrong */
};

/*
 * Explores everything that `m` can reach, until a property of `watch` (1 << property) is broken.
 * When one is, and `show`, prints the steps that lead there. Not reentrant.
 */
void explore(const struct model *m, unsigned watch, bool show, struct verdict *v);

/* To be called from step and check: `p` does not hold. The text says who and where. */
__attribute__((format(printf, 2, 3))) void explore_broken(enum property p, const char *fmt, ...);

/* To be called from step: what it does, for the trace. */
#define SAY(...)                                  \
	do {                                      \
		if (explore_telling)              \
			explore_say(__VA_ARGS__); \
	} while (0)

extern bool explore_telling;
__attribute__((format(printf, 1, 2))) void explore_say(const char *fmt, ...);

/* "R2", and what it means. */
const char *property_name(enum property p);
const char *property_text(enum property p);

#endif
