/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Formatted output. The formatter knows %d %i %u %x %X %o %c %s %p %% with the flags '0' and '-',
 * a width and a precision for strings (numbers or '*'), and the sizes hh h l ll z. Anything else is
 * printed as it stands.
 */
#ifndef BASE_PRINT_H
#define BASE_PRINT_H

#include <stdarg.h>
#include <stddef.h>

/* Where characters go. `put` gets each character once, in order, and must not fail. */
struct print_sink {
	void (*put)(struct print_sink *sink, char c);
};

void vprint_to(struct print_sink *sink, const char *fmt, va_list args);
__attribute__((format(printf, 2, 3))) void print_to(struct print_sink *sink, const char *fmt, ...);

/*
 * Writes at most size - 1 characters and a NUL (nothing when size is 0). Returns the length that
 * the whole text has, as snprintf does, so a result >= size means that it was cut.
 */
size_t vformat(char *buf, size_t size, const char *fmt, va_list args);
__attribute__((format(printf, 3, 4))) size_t format(char *buf, size_t size, const char *fmt, ...);

#endif
