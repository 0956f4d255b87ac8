/* SPDX-License-Identifier: MPL-2.0 */
/* Nestling's own command line: "console=script log=debug". */
#ifndef BOOT_OPTIONS_H
#define BOOT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/log.h"

struct options {
	bool script;	    /* console=script; else console=interactive */
	enum log_level log; /* log=error|warn|info|debug */
};

/*
 * Reads the line. Each option that is wrong is told to `complain` in one line that names it, its
 * value and what was expected, and is left out; the others count. Returns how many were wrong.
 */
unsigned options_parse(const char *line, struct options *out, void (*complain)(const char *text));

#endif
