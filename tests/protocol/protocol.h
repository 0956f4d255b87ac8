/* SPDX-License-Identifier: MPL-2.0 */
/* The tests: the two models as they are, every mix of what their actors can do, and with errors. */
#ifndef TESTS_PROTOCOL_PROTOCOL_H
#define TESTS_PROTOCOL_PROTOCOL_H

#include "tests/protocol/explore.h"

/* Counts a test and prints its line. */
__attribute__((format(printf, 2, 3))) void report(bool passed, const char *fmt, ...);

/* Sums over explorations. */
struct sum {
	unsigned mixes;
	uint64_t states;
	unsigned depth; /* the deepest */
	bool broken;
};

/* Explores one mix; a counter-example is printed. */
void sum_explore(struct sum *s, const struct model *m);

/* The models without an error. */
void tree_mixes(void);
void flush_mixes(void);

/* The models with errors, each of which must break its property. `show`: prints how. */
void tree_mutations(bool show);
void flush_mutations(bool show);

#endif
