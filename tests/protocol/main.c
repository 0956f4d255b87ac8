/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The protocols of locks, epochs and flushes as models, explored exhaustively; what is modelled and
 * what is not is said in tree.h and flush.h.
 *
 *   TRACE=1   also prints the counter-examples of the deliberate errors
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/protocol/protocol.h"

static unsigned passes, failures;

void report(bool passed, const char *fmt, ...)
{
	va_list args;

	passes += passed;
	failures += !passed;
	printf("%s  ", passed ? "passed" : "FAILED");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
}

void sum_explore(struct sum *s, const struct model *m)
{
	struct verdict v;

	explore(m, WATCH_ALL, true, &v);
	s->mixes++;
	s->states += v.states;
	if (v.depth > s->depth)
		s->depth = v.depth;
	if (v.broken == HOLDS)
		return;
	s->broken = true;
	printf("  %s (%s) is broken: %s\n", property_name(v.broken), property_text(v.broken),
	       v.text);
}

/* --- the explorer itself: counters that do not meet have as many states as there are tuples -- */

#define COUNTERS 3
#define COUNT_TO 9

static void count_start(void *state)
{
	(void)state;
}

static bool count_step(void *state, unsigned actor)
{
	uint8_t *counter = state;

	if (counter[actor] == COUNT_TO)
		return false;
	counter[actor]++;
	return true;
}

static void count_check(const void *state)
{
	const uint8_t *counter = state;

	if (counter[0] + counter[1] + counter[2] == COUNTERS * COUNT_TO)
		explore_broken(R2, "the last state");
}

static bool count_end(const void *state)
{
	const uint8_t *counter = state;

	return counter[0] + counter[1] + counter[2] == COUNTERS * COUNT_TO;
}

static const char *count_name(unsigned actor)
{
	static const char *const names[COUNTERS] = { "A", "B", "C" };

	return names[actor];
}

static void explorer_itself(void)
{
	static const struct model m = {
		8, COUNTERS, count_start, count_step, count_check, count_end, count_name,
	};
	struct verdict v;

	explore(&m, 1U << STUCK | 1U << DEADLOCK, false, &v);
	report(v.broken == HOLDS && v.states == 1000 && v.steps == 2700 && v.depth == 27,
	       "explorer: 3 counters to 9: %llu states, %llu steps, %u deep",
	       (unsigned long long)v.states, (unsigned long long)v.steps, v.depth);
	explore(&m, WATCH_ALL, false, &v);
	report(v.broken == R2 && v.depth == 27, "explorer: the last state is found: %u steps",
	       v.depth);
}

int main(void)
{
	const char *trace = getenv("TRACE");
	bool show = trace != NULL && trace[0] != '\0' && trace[0] != '0';

	explorer_itself();
	tree_mixes();
	flush_mixes();
	tree_mutations(show);
	flush_mutations(show);
	printf("%u passed, %u failed, 0 skipped\n", passes, failures);
	return failures != 0;
}
