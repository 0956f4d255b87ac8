/* SPDX-License-Identifier: MPL-2.0 */
/* The module line: "tiny.elf name=tiny mem=16M cpus=1 page=4k cpu=auto start=yes cmdline=..." */
#include "base/err.h"
#include "base/parse.h"
#include "base/print.h"
#include "base/string.h"
#include "guest/guest.h"

#define WORDS_MAX 32
#define MEM_MIN	  (UINT64_C(1) << 20)
#define MEM_MAX	  (UINT64_C(1) << 40)

static bool take_name(const char *v, struct guest_config *c)
{
	size_t len = strlen(v);

	for (size_t i = 0; i < len; i++)
		if (!((v[i] >= 'a' && v[i] <= 'z') || (v[i] >= 'A' && v[i] <= 'Z') ||
		      (v[i] >= '0' && v[i] <= '9') || v[i] == '-' || v[i] == '_' || v[i] == '.'))
			return false;
	if (len == 0 || len >= GUEST_NAME_MAX)
		return false;
	memcpy(c->name, v, len + 1);
	return true;
}

static bool take_mem(const char *v, struct guest_config *c)
{
	return parse_size(v, &c->mem) == 0 && c->mem >= MEM_MIN && c->mem <= MEM_MAX &&
	       (c->mem & (PAGE_SIZE - 1)) == 0;
}

static bool take_cpus(const char *v, struct guest_config *c)
{
	uint64_t n;

	if (parse_u64(v, &n) != 0 || n == 0 || n > GUEST_VCPUS)
		return false;
	c->vcpus = (unsigned)n;
	return true;
}

static bool take_page(const char *v, struct guest_config *c)
{
	static const char *const names[] = { "4k", "2m", "1g" };

	for (unsigned i = 0; i < 3; i++) {
		if (strcmp(v, names[i]) == 0) {
			c->page = i + 1;
			return true;
		}
	}
	return false;
}

static bool take_cpu(const char *v, struct guest_config *c)
{
	uint64_t n;

	c->cpu = -1;
	if (strcmp(v, "auto") == 0)
		return true;
	if (parse_u64(v, &n) != 0 || n >= MAX_CPUS)
		return false;
	c->cpu = (int)n;
	return true;
}

static bool take_start(const char *v, struct guest_config *c)
{
	c->start = strcmp(v, "yes") == 0;
	return c->start || strcmp(v, "no") == 0;
}

static bool take_cmdline(const char *v, struct guest_config *c)
{
	if (strlen(v) >= sizeof(c->cmdline))
		return false;
	memcpy(c->cmdline, v, strlen(v) + 1);
	return true;
}

static const struct {
	const char *name, *expected;
	bool (*take)(const char *value, struct guest_config *c);
} known[] = {
	{ "name", "1 to 23 letters, digits, '-', '_' or '.'", take_name },
	{ "mem", "a size from 1M to 1T in whole 4 KiB pages, such as 16M", take_mem },
	{ "cpus", "a number from 1 to 8", take_cpus },
	{ "page", "4k, 2m or 1g", take_page },
	{ "cpu", "auto, or the number of a CPU from 0 to 63", take_cpu },
	{ "start", "yes or no", take_start },
	{ "cmdline", "at most 255 characters", take_cmdline },
};

static int take_word(char *word, struct guest_config *c, char *why, size_t why_size)
{
	char *value = strchr(word, '=');

	if (value != NULL)
		*value++ = '\0';
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(word, known[i].name) != 0)
			continue;
		if (value != NULL && known[i].take(value, c))
			return 0;
		format(why, why_size, "guest '%s': %s=%.80s: expected %s", c->name, word,
		       value != NULL ? value : "", known[i].expected);
		return -EINVAL;
	}
	format(why, why_size,
	       "guest '%s': unknown option '%.40s%s%.40s': expected name=, mem=, cpus=, page=, "
	       "cpu=, "
	       "start= or cmdline=",
	       c->name, word, value != NULL ? "=" : "", value != NULL ? value : "");
	return -EINVAL;
}

/* "/guests/tiny.elf" -> "tiny". Characters that a name may not have become '-'. */
static void default_name(const char *file, struct guest_config *c)
{
	size_t len = 0;

	for (const char *p = file; *p != '\0'; p++)
		if (*p == '/')
			file = p + 1;
	for (; file[len] != '\0' && file[len] != '.' && len < GUEST_NAME_MAX - 1; len++) {
		char one[2] = { file[len], '\0' };
		struct guest_config probe;

		c->name[len] = take_name(one, &probe) ? file[len] : '-';
	}
	c->name[len] = '\0';
	if (len == 0)
		memcpy(c->name, "guest", sizeof("guest"));
}

int guest_config_parse(const char *line, struct guest_config *out, char *why, size_t why_size)
{
	char copy[1024], *words[WORDS_MAX];
	int n;

	*out = (struct guest_config){
		.mem = 16 << 20, .vcpus = 1, .page = 1, .cpu = -1, .start = true
	};
	if (format(copy, sizeof(copy), "%s", line) >= sizeof(copy)) {
		format(why, why_size, "module line is longer than %zu characters: \"%.40s...\"",
		       sizeof(copy) - 1, line);
		return -EINVAL;
	}
	n = parse_words(copy, words, WORDS_MAX);
	if (n <= 0) {
		format(why, why_size,
		       "module line \"%.60s\": expected FILE and options, quotes closed, at most "
		       "%d words",
		       line, WORDS_MAX);
		return -EINVAL;
	}
	default_name(words[0], out);
	for (int i = 1; i < n; i++) {
		int err = take_word(words[i], out, why, why_size);

		if (err != 0)
			return err;
	}
	return 0;
}
