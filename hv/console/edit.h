/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The line editor: a pure state machine from characters that come in to characters that go out.
 * It wants a terminal of 80 columns that knows CR, LF, BS, BEL and "erase to the end of the line"
 * (ESC [ K). A line that is longer than the window is shown in part, around the cursor: the line
 * being typed never takes more than one row, so it can be hidden and shown again at any time.
 *
 *      nestling> write touch 0x200000 0011
 *                ^first                   ^at        shown: first .. first + EDIT_WIDTH
 */
#ifndef HV_CONSOLE_EDIT_H
#define HV_CONSOLE_EDIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/print.h"

#define EDIT_LINE    256 /* with the NUL */
#define EDIT_HISTORY 16
#define EDIT_WIDTH   68 /* of the window, without the cursor behind the last character */

/*
 * What a word may become: the n-th candidate that begins with `word`, NULL when there are no more.
 * `before` is the text in front of the word.
 */
typedef const char *(*edit_complete)(const char *before, const char *word, unsigned n);

struct edit {
	const char *prompt;
	edit_complete complete; /* may be NULL */
	char line[EDIT_LINE];
	size_t len, at, first;		       /* 0 <= first <= at <= len < EDIT_LINE */
	char history[EDIT_HISTORY][EDIT_LINE]; /* a ring */
	unsigned history_count;		       /* all lines ever kept */
	unsigned recall;		       /* 0: the line being typed; n: n lines back */
	char typed[EDIT_LINE];		       /* the line being typed, while recall != 0 */
	char escape;			       /* an escape sequence: 0, ESC, '[' or 'O' */
	unsigned param;			       /* its first number */
	bool param_done;
};

/* An empty line and no history. */
void edit_init(struct edit *e, const char *prompt, edit_complete complete);

/*
 * Takes a character; output for the terminal goes to `out`. True: the line is complete. It is in
 * `line` and in the history; the caller uses it and calls edit_start. A line that was dropped with
 * ctrl-c is complete and empty.
 */
bool edit_put(struct edit *e, char c, struct print_sink *out);

/* An empty line. */
void edit_start(struct edit *e);

/* Takes the prompt and the line off the screen, so that something else can be printed; and puts
 * them back. */
void edit_hide(struct print_sink *out);
void edit_show(const struct edit *e, struct print_sink *out);

#endif
