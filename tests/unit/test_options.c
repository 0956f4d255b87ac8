/* SPDX-License-Identifier: MPL-2.0 */
/* Nestling's own command line. */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot/options.h"

static char complaints[8][256];
static unsigned complaint_count;

static void complain(const char *text)
{
	if (complaint_count < 8)
		snprintf(complaints[complaint_count], sizeof(complaints[0]), "%s", text);
	complaint_count++;
}

static unsigned parse(const char *line, struct options *out)
{
	complaint_count = 0;
	/* Filled with other values: the defaults must come from the parser. */
	*out = (struct options){ .script = true, .log = LOG_ERROR };
	return options_parse(line, out, complain);
}

static void defaults(void)
{
	static const char *const lines[] = { "", " ", " \t  " };
	struct options o;

	for (unsigned i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(parse(lines[i], &o), 0);
		CU_ASSERT_FALSE(o.script);
		CU_ASSERT_EQUAL(o.log, LOG_INFO);
		CU_ASSERT_EQUAL(complaint_count, 0);
	}
}

static void each_value(void)
{
	static const struct {
		const char *line;
		bool script;
		enum log_level log;
	} good[] = {
		{ "console=script", true, LOG_INFO },
		{ "console=interactive", false, LOG_INFO },
		{ "log=error", false, LOG_ERROR },
		{ "log=warn", false, LOG_WARN },
		{ "log=info", false, LOG_INFO },
		{ "log=debug", false, LOG_DEBUG },
		{ "  log=debug\tconsole=script ", true, LOG_DEBUG },
		{ "log=debug log=warn", false, LOG_WARN },
		{ "console=script console=interactive", false, LOG_INFO },
		{ "\"log=debug\" console=\"script\"", true, LOG_DEBUG },
	};
	struct options o;

	for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		CU_ASSERT_EQUAL(parse(good[i].line, &o), 0);
		CU_ASSERT_EQUAL(o.script, good[i].script);
		CU_ASSERT_EQUAL(o.log, good[i].log);
	}
}

/* One line that names the option, its value and what was expected. */
static void one_complaint(const char *line, const char *option, const char *value,
			  const char *expected)
{
	struct options o;

	CU_ASSERT_EQUAL(parse(line, &o), 1);
	CU_ASSERT_EQUAL_FATAL(complaint_count, 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(complaints[0], option));
	CU_ASSERT_PTR_NOT_NULL(strstr(complaints[0], value));
	CU_ASSERT_PTR_NOT_NULL(strstr(complaints[0], expected));
	CU_ASSERT_PTR_NULL(strchr(complaints[0], '\n'));
	CU_ASSERT_FALSE(o.script);
	CU_ASSERT_EQUAL(o.log, LOG_INFO);
}

static void wrong(void)
{
	one_complaint("console=loud", "console", "loud", "script or interactive");
	one_complaint("console=", "console", "=", "script or interactive");
	one_complaint("console", "console", "", "script or interactive");
	one_complaint("console=Script", "console", "Script", "script or interactive");
	one_complaint("console=script=", "console", "script=", "script or interactive");
	one_complaint("log=4", "log", "4", "error, warn, info or debug");
	one_complaint("log=debugging", "log", "debugging", "error, warn, info or debug");
	one_complaint("colour=blue", "colour", "", "console= or log=");
	one_complaint("=", "unknown", "''", "console= or log=");
	one_complaint("consolescript", "consolescript", "", "console= or log=");
}

static void the_others_count(void)
{
	struct options o;

	CU_ASSERT_EQUAL(parse("log=debug colour=blue log=loud console=script console=no x", &o), 4);
	CU_ASSERT_EQUAL(complaint_count, 4);
	CU_ASSERT_TRUE(o.script);
	CU_ASSERT_EQUAL(o.log, LOG_DEBUG);
	CU_ASSERT_PTR_NOT_NULL(strstr(complaints[0], "colour"));
	CU_ASSERT_PTR_NOT_NULL(strstr(complaints[1], "log=loud"));
	CU_ASSERT_PTR_NOT_NULL(strstr(complaints[2], "console=no"));
	CU_ASSERT_PTR_NOT_NULL(strstr(complaints[3], "'x'"));
}

static void not_a_line_of_words(void)
{
	static char many[128];
	struct options o;

	one_complaint("\"log=debug", "quote", "", "");
	for (unsigned i = 0; i < 33; i++)
		strcat(many, "x ");
	memcpy(many, "log=warn ", 9);
	CU_ASSERT_EQUAL(parse(many, &o), 28);
	CU_ASSERT_EQUAL(o.log, LOG_WARN);
	strcat(many, "x x x y");
	CU_ASSERT_EQUAL(parse(many, &o), 32);
	CU_ASSERT_PTR_NOT_NULL(strstr(complaints[0], "32 options"));
	CU_ASSERT_EQUAL(o.log, LOG_WARN);
}

/* As long a line as the boot information holds; a long value does not make a long message. */
static void long_line(void)
{
	static char line[1024];
	struct options o;

	memset(line, 'x', sizeof(line) - 1);
	CU_ASSERT_EQUAL(parse(line, &o), 1);
	CU_ASSERT(strlen(complaints[0]) < 256);
	memset(line, ' ', sizeof(line) - 1);
	memcpy(line + sizeof(line) - 1 - 14, "console=script", 14);
	CU_ASSERT_EQUAL(parse(line, &o), 0);
	CU_ASSERT_TRUE(o.script);
}

/* Words of the alphabet that matters, at random: what a word means does not depend on the others.
 */
static void random_lines(void)
{
	static const char *const words[] = { "log=debug",      "log=",	   "log",
					     "console=script", "x=y",	   "console=interactive",
					     "log=error",      "console=x" };
	unsigned seed = 7;

	printf("[seed %u] ", seed);
	srand(seed);
	for (unsigned round = 0; round < 5000; round++) {
		struct options want = { .log = LOG_INFO }, o;
		unsigned wrong_count = 0;
		char line[512] = "";

		for (int n = rand() % 20; n > 0; n--) {
			unsigned w = (unsigned)rand() % 8;

			strcat(strcat(line, words[w]), " ");
			if (w == 0 || w == 6)
				want.log = w == 0 ? LOG_DEBUG : LOG_ERROR;
			else if (w == 3 || w == 5)
				want.script = w == 3;
			else
				wrong_count++;
		}
		CU_ASSERT_EQUAL(parse(line, &o), wrong_count);
		CU_ASSERT_EQUAL(complaint_count, wrong_count);
		CU_ASSERT_EQUAL(o.script, want.script);
		CU_ASSERT_EQUAL(o.log, want.log);
	}
}

void suite_options(void);

void suite_options(void)
{
	CU_pSuite s = CU_add_suite("options", NULL, NULL);

	CU_ADD_TEST(s, defaults);
	CU_ADD_TEST(s, each_value);
	CU_ADD_TEST(s, wrong);
	CU_ADD_TEST(s, the_others_count);
	CU_ADD_TEST(s, not_a_line_of_words);
	CU_ADD_TEST(s, long_line);
	CU_ADD_TEST(s, random_lines);
}
