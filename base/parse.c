/* SPDX-License-Identifier: MPL-2.0 */
#include "base/parse.h"

#include <stdbool.h>

#include "base/err.h"
#include "base/string.h"

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 99;
}

/* Reads digits; *text moves past them. -EINVAL: not one digit. */
static int parse_digits(const char **text, uint64_t *out)
{
	unsigned base = 10;
	uint64_t value = 0;
	const char *start;

	if ((*text)[0] == '0' && ((*text)[1] == 'x' || (*text)[1] == 'X')) {
		base = 16;
		*text += 2;
	}
	for (start = *text; digit_value(**text) < (int)base; (*text)++)
		if (__builtin_mul_overflow(value, base, &value) ||
		    __builtin_add_overflow(value, (unsigned)digit_value(**text), &value))
			return -ERANGE;
	if (*text == start)
		return -EINVAL;
	*out = value;
	return 0;
}

int parse_u64(const char *text, uint64_t *out)
{
	uint64_t value;
	int err = parse_digits(&text, &value);

	if (err != 0)
		return err;
	if (*text != '\0')
		return -EINVAL;
	*out = value;
	return 0;
}

int parse_size(const char *text, uint64_t *out)
{
	static const char units[] = "KMGT";
	uint64_t value;
	int err = parse_digits(&text, &value);

	if (err != 0)
		return err;
	if (*text != '\0') {
		const char *unit = strchr(units, *text >= 'a' ? *text - 'a' + 'A' : *text);

		if (unit == NULL || text[1] != '\0')
			return -EINVAL;
		if (__builtin_mul_overflow(value, UINT64_C(1) << (10 * (unit - units + 1)), &value))
			return -ERANGE;
	}
	*out = value;
	return 0;
}

static bool escapes(const char *p)
{
	return p[0] == '\\' && (p[1] == '\\' || p[1] == '"' || p[1] == '\'');
}

/* Copies one word down over its quotes; returns where the scan goes on, NULL for an open quote. */
static char *take_word(char *p)
{
	char *to = p;
	int quoted = 0;

	for (; *p != '\0' && (quoted || (*p != ' ' && *p != '\t')); p++) {
		if (escapes(p))
			*to++ = *++p;
		else if (*p == '"')
			quoted = !quoted;
		else
			*to++ = *p;
	}
	if (quoted)
		return NULL;
	if (*p != '\0')
		p++;
	*to = '\0';
	return p;
}

int parse_words(char *line, char **words, size_t max)
{
	size_t n = 0;

	for (;;) {
		while (*line == ' ' || *line == '\t')
			line++;
		if (*line == '\0')
			return (int)n;
		if (n == max)
			return -E2BIG;
		words[n++] = line;
		line = take_word(line);
		if (line == NULL)
			return -EINVAL;
	}
}

#define DISTANCE_MAX 32

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

unsigned parse_distance(const char *a, const char *b, unsigned bound)
{
	size_t n = strnlen(a, DISTANCE_MAX + 1), m = strnlen(b, DISTANCE_MAX + 1);
	unsigned row[DISTANCE_MAX + 1];

	if (n > DISTANCE_MAX || m > DISTANCE_MAX)
		return bound + 1;
	for (size_t j = 0; j <= m; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			unsigned above = row[j];

			row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[m];
}
