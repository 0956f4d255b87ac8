/* SPDX-License-Identifier: MPL-2.0 */
#include "boot/options.h"

#include "base/err.h"
#include "base/parse.h"
#include "base/print.h"
#include "base/string.h"

#define WORDS_MAX 32

static bool take_console(const char *value, struct options *out)
{
	bool script = strcmp(value, "script") == 0;

	if (!script && strcmp(value, "interactive") != 0)
		return false;
	out->script = script;
	return true;
}

static bool take_log(const char *value, struct options *out)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };

	for (unsigned i = 0; i < 4; i++) {
		if (strcmp(value, names[i]) == 0) {
			out->log = (enum log_level)i;
			return true;
		}
	}
	return false;
}

static const struct {
	const char *name, *expected;
	bool (*take)(const char *value, struct options *out);
} known[] = {
	{ "console", "script or interactive", take_console },
	{ "log", "error, warn, info or debug", take_log },
};

static bool take_word(char *word, struct options *out, char *why, size_t size)
{
	char *value = strchr(word, '=');

	if (value != NULL)
		*value++ = '\0';
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(word, known[i].name) != 0)
			continue;
		if (value != NULL && known[i].take(value, out))
			return true;
		format(why, size, "command line: %s=%s: expected %s", word,
		       value != NULL ? value : "", known[i].expected);
		return false;
	}
	format(why, size, "command line: unknown option '%s': expected console= or log=", word);
	return false;
}

unsigned options_parse(const char *line, struct options *out, void (*complain)(const char *text))
{
	char copy[1024], why[256], *words[WORDS_MAX];
	unsigned wrong = 0;
	int n;

	*out = (struct options){ .log = LOG_INFO };
	format(copy, sizeof(copy), "%s", line);
	n = parse_words(copy, words, WORDS_MAX);
	if (n == -E2BIG) {
		complain("command line: more than 32 options: the rest is left out");
		wrong++;
		n = WORDS_MAX;
	} else if (n < 0) {
		complain("command line: a quote is not closed: no option counts");
		return 1;
	}
	for (int i = 0; i < n; i++) {
		if (!take_word(words[i], out, why, sizeof(why))) {
			complain(why);
			wrong++;
		}
	}
	return wrong;
}
