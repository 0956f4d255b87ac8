/* SPDX-License-Identifier: MPL-2.0 */
#include "base/log.h"

#include <stdatomic.h>
#include <stddef.h>

#include "base/print.h"

#define LOG_LINE 400

static _Atomic enum log_level log_level = LOG_INFO; /* the console changes it, all CPUs look */
static void (*log_line)(enum log_level level, const char *text);

void log_set_level(enum log_level level)
{
	log_level = level;
}

enum log_level log_get_level(void)
{
	return log_level;
}

void log_set_output(void (*line)(enum log_level level, const char *text))
{
	log_line = line;
}

void log_at(enum log_level level, const char *fmt, ...)
{
	char text[LOG_LINE];
	va_list args;

	if (level > log_level || log_line == NULL)
		return;
	va_start(args, fmt);
	vformat(text, sizeof(text), fmt, args);
	va_end(args);
	log_line(level, text);
}
