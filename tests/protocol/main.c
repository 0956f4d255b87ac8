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

int main(void)
{
	const char *trace = getenv("TRACE");
	bool show = trace != NULL && trace[0] != '\0' && trace[0] != '0';

	tree_mixes();
	flush_mixes();
	tree_mutations(show);
	flush_mutations(show);
	printf("%u passed, %u failed, 0 skipped\n", passes, failures);
	return failures != 0;
}
