/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The freestanding string functions against the C library's. They are compiled here under other
 * names, as a program has room for one memcpy only.
 */
#define memcpy	our_memcpy
#define memmove our_memmove
#define memset	our_memset
#define memcmp	our_memcmp
#define strlen	our_strlen
#define strnlen our_strnlen
#define strcmp	our_strcmp
#define strncmp our_strncmp
#define strchr	our_strchr
#define strstr	our_strstr
#include "base/x86/string.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef strlen
#undef strnlen
#undef strcmp
#undef strncmp
#undef strchr
#undef strstr

#include <CUnit/CUnit.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define ROOM 96

static uint8_t ours[ROOM], theirs[ROOM];

static void fill(void)
{
	for (unsigned i = 0; i < ROOM; i++)
		ours[i] = theirs[i] = (uint8_t)(i * 7 + 1);
}

static bool alike(void)
{
	return memcmp(ours, theirs, ROOM) == 0;
}

static void string_copy(void)
{
	for (unsigned n = 0; n <= 40; n++)
		for (unsigned at = 0; at < 9; at++) {
			fill();
			CU_ASSERT_PTR_EQUAL(our_memcpy(ours + at, ours + 50, n), ours + at);
			memcpy(theirs + at, theirs + 50, n);
			CU_ASSERT(alike());
		}
}

/* Every distance, both ways, overlapping and not. */
static void string_move(void)
{
	for (unsigned n = 0; n <= 40; n++)
		for (unsigned from = 0; from <= ROOM - 40; from += 3)
			for (unsigned to = 0; to <= ROOM - 40; to++) {
				fill();
				CU_ASSERT_PTR_EQUAL(our_memmove(ours + to, ours + from, n),
						    ours + to);
				memmove(theirs + to, theirs + from, n);
				CU_ASSERT(alike());
			}
}

static void string_set(void)
{
	for (unsigned n = 0; n <= 40; n++)
		for (unsigned at = 0; at < 9; at++) {
			fill();
			CU_ASSERT_PTR_EQUAL(our_memset(ours + at, (int)(0x1200 + n), n), ours + at);
			memset(theirs + at, (int)(0x1200 + n), n);
			CU_ASSERT(alike());
		}
}

static int sign(int x)
{
	return (x > 0) - (x < 0);
}

static void string_compare(void)
{
	static const char *const texts[] = { "", "a", "b", "ab", "abc", "abd", "ab\xff", "\x80" };
	const unsigned count = sizeof(texts) / sizeof(texts[0]);

	for (unsigned i = 0; i < count; i++)
		for (unsigned j = 0; j < count; j++) {
			CU_ASSERT_EQUAL(sign(our_strcmp(texts[i], texts[j])),
					sign(strcmp(texts[i], texts[j])));
			for (size_t n = 0; n < 5; n++)
				CU_ASSERT_EQUAL(sign(our_strncmp(texts[i], texts[j], n)),
						sign(strncmp(texts[i], texts[j], n)));
		}
	CU_ASSERT_EQUAL(our_memcmp("a\0b", "a\0b", 3), 0);
	CU_ASSERT(our_memcmp("a\0b", "a\0c", 3) < 0);
	CU_ASSERT(our_memcmp("\xff", "\1", 1) > 0);
	CU_ASSERT_EQUAL(our_memcmp("x", "y", 0), 0);
}

/* On memory that ends where the function has to stop: one byte too far is seen. */
static void string_bounds(void)
{
	char *text = malloc(3);

	memcpy(text, "abc", 3);
	CU_ASSERT_EQUAL(our_strnlen(text, 3), 3);
	CU_ASSERT_EQUAL(our_strnlen(text, 0), 0);
	CU_ASSERT_EQUAL(our_strncmp(text, "abcd", 3), 0);
	text[2] = '\0';
	CU_ASSERT_EQUAL(our_strlen(text), 2);
	CU_ASSERT_EQUAL(our_strnlen(text, 10), 2);
	free(text);
}

static void string_find(void)
{
	char text[] = "one two two";

	CU_ASSERT_PTR_EQUAL(our_strchr(text, 't'), text + 4);
	CU_ASSERT_PTR_EQUAL(our_strchr(text, '\0'), text + 11);
	CU_ASSERT_PTR_NULL(our_strchr(text, 'x'));
	CU_ASSERT_PTR_EQUAL(our_strstr(text, "two"), text + 4);
	CU_ASSERT_PTR_EQUAL(our_strstr(text, ""), text);
	CU_ASSERT_PTR_EQUAL(our_strstr(text + 11, ""), text + 11);
	CU_ASSERT_PTR_NULL(our_strstr(text, "twos"));
	CU_ASSERT_PTR_NULL(our_strstr("", "a"));
	CU_ASSERT_PTR_EQUAL(our_strstr(text, "o two"), text + 6);
}

#define ALL(X)            \
	X(string_copy)    \
	X(string_move)    \
	X(string_set)     \
	X(string_compare) \
	X(string_bounds)  \
	X(string_find)

void suite_string(void);
void suite_string(void)
{
	CU_pSuite s = CU_add_suite("string", NULL, NULL);

#define ADD(name) CU_add_test(s, #name, name);
	ALL(ADD)
}
