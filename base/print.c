/* SPDX-License-Identifier: MPL-2.0 */
#include "base/print.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/string.h"

struct spec {
	bool left, zero;
	int width, precision; /* width >= 0; precision < 0: none */
	int longs;	      /* -2 hh, -1 h, 0, 1 l, 2 ll/z */
	char conversion;
};

static void put_run(struct print_sink *sink, char c, size_t n)
{
	while (n-- != 0)
		sink->put(sink, c);
}

static void put_text(struct print_sink *sink, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sink->put(sink, text[i]);
}

/* How much `len` characters lack to fill the width. */
static size_t padding(const struct spec *s, size_t len)
{
	return (size_t)s->width > len ? (size_t)s->width - len : 0;
}

static void put_padded(struct print_sink *sink, const char *text, size_t len, const struct spec *s)
{
	size_t pad = padding(s, len);

	put_run(sink, ' ', s->left ? 0 : pad);
	put_text(sink, text, len);
	put_run(sink, ' ', s->left ? pad : 0);
}

static void put_number(struct print_sink *sink, uint64_t value, bool negative, unsigned base,
		       bool upper, const struct spec *s)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	char text[24]; /* 22 octal digits and a sign */
	size_t at = sizeof(text);

	do {
		text[--at] = digits[value % base];
		value /= base;
	} while (value != 0);
	if (s->zero && !s->left) {
		put_run(sink, '-', negative);
		put_run(sink, '0', padding(s, sizeof(text) - at + negative));
		put_text(sink, text + at, sizeof(text) - at);
		return;
	}
	if (negative)
		text[--at] = '-';
	put_padded(sink, text + at, sizeof(text) - at, s);
}

static uint64_t take_unsigned(va_list *args, int longs)
{
	switch (longs) {
	case -2:
		return (unsigned char)va_arg(*args, unsigned);
	case -1:
		return (unsigned short)va_arg(*args, unsigned);
	case 0:
		return va_arg(*args, unsigned);
	default:
		return va_arg(*args, unsigned long);
	}
}

static int64_t take_signed(va_list *args, int longs)
{
	switch (longs) {
	case -2:
		return (signed char)va_arg(*args, int);
	case -1:
		return (short)va_arg(*args, int);
	case 0:
		return va_arg(*args, int);
	default:
		return va_arg(*args, long);
	}
}

static int parse_number(const char **p, va_list *args)
{
	int n = 0;

	if (**p == '*') {
		(*p)++;
		return va_arg(*args, int);
	}
	while (**p >= '0' && **p <= '9' && n < 100000)
		n = n * 10 + (*(*p)++ - '0');
	return n;
}

static void parse_spec(const char **p, va_list *args, struct spec *s)
{
	*s = (struct spec){ .precision = -1 };
	for (;; (*p)++) {
		if (**p == '-')
			s->left = true;
		else if (**p == '0')
			s->zero = true;
		else
			break;
	}
	s->width = parse_number(p, args);
	if (s->width < 0) {
		s->left = true;
		s->width = s->width == INT_MIN ? INT_MAX : -s->width;
	}
	if (**p == '.') {
		(*p)++;
		s->precision = parse_number(p, args);
	}
	for (;; (*p)++) {
		if (**p == 'l')
			s->longs++;
		else if (**p == 'h')
			s->longs--;
		else if (**p == 'z')
			s->longs = 2;
		else
			break;
	}
	s->conversion = **p;
	if (s->conversion != '\0')
		(*p)++;
}

static void put_string(struct print_sink *sink, const char *text, const struct spec *s)
{
	if (text == NULL)
		text = "(null)";
	put_padded(sink, text,
		   s->precision >= 0 ? strnlen(text, (size_t)s->precision) : strlen(text), s);
}

static void put_signed(struct print_sink *sink, int64_t v, const struct spec *s)
{
	put_number(sink, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, v < 0, 10, false, s);
}

/* False: no such conversion; nothing is put, no argument taken. */
static bool put_conversion(struct print_sink *sink, const struct spec *s, va_list *args)
{
	char c;

	switch (s->conversion) {
	case 'd':
	case 'i':
		put_signed(sink, take_signed(args, s->longs), s);
		break;
	case 'u':
		put_number(sink, take_unsigned(args, s->longs), false, 10, false, s);
		break;
	case 'o':
		put_number(sink, take_unsigned(args, s->longs), false, 8, false, s);
		break;
	case 'x':
	case 'X':
		put_number(sink, take_unsigned(args, s->longs), false, 16, s->conversion == 'X', s);
		break;
	case 'p':
		sink->put(sink, '0');
		sink->put(sink, 'x');
		put_number(sink, (uintptr_t)va_arg(*args, void *), false, 16, false, s);
		break;
	case 'c':
		c = (char)va_arg(*args, int);
		put_padded(sink, &c, 1, s);
		break;
	case 's':
		put_string(sink, va_arg(*args, const char *), s);
		break;
	case '%':
		sink->put(sink, '%');
		break;
	default:
		return false;
	}
	return true;
}

void vprint_to(struct print_sink *sink, const char *fmt, va_list args)
{
	va_list copy;

	va_copy(copy, args);
	while (*fmt != '\0') {
		const char *start = fmt;
		struct spec s;

		if (*fmt != '%') {
			sink->put(sink, *fmt++);
			continue;
		}
		fmt++;
		parse_spec(&fmt, &copy, &s);
		if (!put_conversion(sink, &s, &copy))
			put_text(sink, start, (size_t)(fmt - start));
	}
	va_end(copy);
}

void print_to(struct print_sink *sink, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vprint_to(sink, fmt, args);
	va_end(args);
}

struct buffer_sink {
	struct print_sink sink;
	char *buf;
	size_t size, len;
};

static void buffer_put(struct print_sink *sink, char c)
{
	struct buffer_sink *b = (struct buffer_sink *)sink;

	if (b->len + 1 < b->size)
		b->buf[b->len] = c;
	b->len++;
}

size_t vformat(char *buf, size_t size, const char *fmt, va_list args)
{
	struct buffer_sink b = { { buffer_put }, buf, size, 0 };

	vprint_to(&b.sink, fmt, args);
	if (size != 0)
		buf[b.len < size ? b.len : size - 1] = '\0';
	return b.len;
}

size_t format(char *buf, size_t size, const char *fmt, ...)
{
	va_list args;
	size_t len;

	va_start(args, fmt);
	len = vformat(buf, size, fmt, args);
	va_end(args);
	return len;
}
