/* SPDX-License-Identifier: MPL-2.0 */
#include "hv/console/args.h"

#include "base/err.h"
#include "base/parse.h"
#include "base/string.h"

static int whole_pages(uint64_t a, uint64_t b, uint64_t *start, uint64_t *end)
{
	if (a >= b)
		return -EINVAL;
	if (b > UINT64_MAX - PAGE_SIZE)
		return -ERANGE;
	*start = round_down(a, PAGE_SIZE);
	*end = round_up(b, PAGE_SIZE);
	return 0;
}

int args_range(const char *text, uint64_t *start, uint64_t *end)
{
	char first[32];
	size_t n = 0;
	uint64_t a, b;
	int err;

	while (text[n] != '\0' && text[n] != '-' && text[n] != '+' && n < sizeof(first) - 1) {
		first[n] = text[n];
		n++;
	}
	first[n] = '\0';
	err = parse_size(first, &a);
	if (err != 0)
		return err;
	if (text[n] == '\0')
		return a < UINT64_MAX ? whole_pages(a, a + 1, start, end) : -ERANGE;
	err = parse_size(text + n + 1, &b);
	if (err != 0)
		return err;
	if (text[n] == '+' && __builtin_add_overflow(a, b, &b))
		return -ERANGE;
	return text[n] == '-' || text[n] == '+' ? whole_pages(a, b, start, end) : -EINVAL;
}

int args_rights(const char *text, pt_attr_t *rights)
{
	static const char letters[] = "rwx";

	*rights = 0;
	if (*text == '\0')
		return -EINVAL;
	for (; *text != '\0'; text++) {
		const char *at = strchr(letters, *text);

		if (*text == '-')
			continue;
		if (at == NULL || (*rights & 1u << (at - letters)) != 0)
			return -EINVAL;
		*rights |= 1u << (at - letters);
	}
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int args_bytes(const char *text, uint8_t *out, unsigned max)
{
	unsigned n = 0;

	for (; *text != '\0'; text += 2) {
		int high = hex_digit(text[0]), low = high < 0 ? -1 : hex_digit(text[1]);

		if (low < 0)
			return -EINVAL;
		if (n == max)
			return -E2BIG;
		out[n++] = (uint8_t)(high << 4 | low);
	}
	return n != 0 ? (int)n : -EINVAL;
}
