/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The debug console on the first serial port. A command runs to its end on the boot CPU, between two
 * turns of that CPU's guests; the other CPUs' guests go on.
 *
 * With "console=script" on the boot command line there is no echo, no prompt and no editing: after
 * each command one line "%ok" or "%error" follows, and `quit` reports failure to the bed when any
 * command failed.
 */
#ifndef HV_CONSOLE_CONSOLE_H
#define HV_CONSOLE_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/print.h"
#include "guest/guest.h"

enum console_mode { CONSOLE_INTERACTIVE, CONSOLE_SCRIPT };

/* Takes over the output of log_* and of the guests, and sets itself as hv's poll. Prints the prompt. */
void console_start(enum console_mode mode);

/* Handles what has been typed. True: there was something. */
bool console_poll(void);

/* A line from elsewhere (log, guest); keeps the prompt and what is being typed whole. Any CPU. */
void console_line(const char *text);
void console_guest_line(const struct guest *g, const char *text);

/* What a command gets, and how it answers. */
struct command_call {
	struct print_sink *out;
	int argc;
	char **argv;	/* argv[0] is the command; options such as --json are taken out */
	bool json;
};

struct command {
	const char *name;
	const char *args; /* "GUEST [GPA[-GPA|+LEN]] [--json]" */
	const char *summary;
	const char *help; /* the paragraph of `help COMMAND` */
	int (*run)(struct command_call *call); /* 0 or -errno, after an "error: ..." line */
};

#endif
