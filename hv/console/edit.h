/* SPDX-License-Identifier: MPL-2.0 */
/* The line editor: a pure state machine from characters that come in to characters that go out. */
#ifndef HV_CONSOLE_EDIT_H
#define HV_CONSOLE_EDIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/print.h"

#define EDIT_LINE    256
#define EDIT_HISTORY 16

struct edit {
	char line[EDIT_LINE];
	size_t len, at; /* at: the cursor, 0 .. len */
	char history[EDIT_HISTORY][EDIT_LINE];
	unsigned history_count; /* all lines ever kept */
	unsigned recall;	/* 0: the line being typed; n: n lines back */
	char escape;		/* state of an escape sequence: 0, 033, '[' or a digit */
	/* Offers what the word before the cursor may become: the n-th candidate, NULL when there
	 * are no more. May be NULL. */
	const char *(*complete)(const char *line, const char *word, unsigned n);
};

/* Takes a character. True: the line is complete (in `line`, kept in the history); the caller uses
 * it and calls edit_start. Output for the terminal goes to `out`. */
bool edit_put(struct edit *e, char c, struct print_sink *out);

/* An empty line. */
void edit_start(struct edit *e);

/* Takes what is shown off the screen, so that something else can be printed; and puts it back. */
void edit_hide(const struct edit *e, const char *prompt, struct print_sink *out);
void edit_show(const struct edit *e, const char *prompt, struct print_sink *out);

#endif
