/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Messages for the owner of the machine, one line each, without a newline at the end of the text.
 *
 *   error  something the owner asked for was not done
 *   warn   it was done, but not as asked
 *   info   what a reader of the boot log wants to know
 *   debug  what a developer wants to know
 *
 * What a hostile guest does is never an error: it is the guest's business, told at info level by
 * the report of the stopped guest.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdarg.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Messages above this level are dropped. Starts at LOG_INFO. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* Where whole lines go (without newline). Until it is set they are dropped. May be NULL. */
void log_set_output(void (*line)(enum log_level level, const char *text));

__attribute__((format(printf, 2, 3))) void log_at(enum log_level level, const char *fmt, ...);

#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)

#endif
