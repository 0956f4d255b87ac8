/* SPDX-License-Identifier: MPL-2.0 */
/* Numbers and words as people type them: on the boot command line, in the console, in a menu. */
#ifndef BASE_PARSE_H
#define BASE_PARSE_H

#include <stddef.h>
#include <stdint.h>

/*
 * parse_u64 takes decimal or 0x-hexadecimal digits; parse_size takes the same with a suffix K, M, G
 * or T (upper or lower case, powers of 1024). The whole of `text` must be used up.
 * 0, or -EINVAL (not a number), or -ERANGE (does not fit 64 bits); *out is set only on 0.
 */
int parse_u64(const char *text, uint64_t *out);
int parse_size(const char *text, uint64_t *out);

/*
 * Splits `line` in place into at most `max` words at blanks; a part in double quotes is one word
 * without its quotes, and a quote or backslash behind a backslash is itself (GRUB writes module
 * lines so). Returns the number of words, or -E2BIG (more than max), -EINVAL (a quote is
 * not closed). `line` is changed in all cases; the words point into it.
 */
int parse_words(char *line, char **words, size_t max);

/* Edit distance with a bound: a result > `bound` only means "more than bound". */
unsigned parse_distance(const char *a, const char *b, unsigned bound);

#endif
