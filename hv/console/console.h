/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The debug console on the first serial port. A command runs to its end on the boot CPU, between
 * two turns of that CPU's guests; the other CPUs' guests go on.
 *
 * In script mode ("console=script" on the boot command line) there is no echo, no prompt and no
 * editing: after each command a line "%ok" or "%error" follows, and `quit` reports failure to the
 * bed when any command failed. "%ready" comes once, before the first command.
 */
#ifndef HV_CONSOLE_CONSOLE_H
#define HV_CONSOLE_CONSOLE_H

#include <stdbool.h>

#include "base/print.h"
#include "guest/guest.h"

enum console_mode { CONSOLE_INTERACTIVE, CONSOLE_SCRIPT };

/* Takes over the output of log_* and of the guests, and sets itself as hv's poll. */
void console_start(enum console_mode mode);

/* What a command gets, and how it answers. */
struct command_call {
	struct print_sink *out;
	int argc;
	char **argv; /* argv[0] is the command; --json is taken out */
	bool json;
};

struct command {
	const char *name;
	const char *args;
	const char *summary;
	const char *help; /* what `help NAME` says beyond that */
	int min_args, max_args;
	/* 0, or -errno after a line that begins with "error: ". Outside any epoch section. */
	int (*run)(struct command_call *call);
};

/* The tables, each ending in a row without a name. */
extern const struct command guest_commands[], memory_commands[], change_commands[],
	device_commands[], gva_commands[], test_commands[], system_commands[];

/* The n-th command of all; NULL behind the last. */
const struct command *command_at(unsigned n);

/* Prints "error: " and the text; returns `err`. */
__attribute__((format(printf, 3, 4))) int command_error(struct command_call *call, int err,
							const char *fmt, ...);

/* The guest that an argument names; NULL after an error line. */
struct guest *command_guest(struct command_call *call, const char *name);

/* Brings a guest to rest for the time of a look at it; true: it has to go on afterwards
 * (hv_resume). */
bool command_rest(struct guest *g);

/* The number of a vCPU that argument `arg` gives. -EINVAL after an error line. */
int command_vcpu(struct command_call *call, int arg, const struct guest *g, unsigned *id);

/* The range that argument `arg` gives, in whole pages, which may not go beyond `top`. -EINVAL,
 * -ERANGE after an error line. */
int command_range(struct command_call *call, int arg, uint64_t top, uint64_t *start, uint64_t *end);

/* True when a command of a script has failed since the start: what `quit` reports. */
bool console_failed(void);

#endif
