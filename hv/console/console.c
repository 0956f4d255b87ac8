/* SPDX-License-Identifier: MPL-2.0 */
#include "hv/console/console.h"

#include "base/err.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/string.h"
#include "base/x86/uart.h"
#include "hv/console/edit.h"
#include "hv/hv.h"

#define PROMPT	  "nestling> "
#define WORDS_MAX 16

static struct {
	struct spinlock lock; /* the port: whole lines, and the prompt (LOCK_LEAF) */
	enum console_mode mode;
	bool greeted;	/* the first prompt has been given */
	bool prompting; /* the prompt is on the screen */
	bool failed;	/* some command has */
	struct edit edit;
} console = { .lock = SPINLOCK_INIT(LOCK_LEAF) };

static void uart_sink_put(struct print_sink *sink, char c)
{
	(void)sink;
	if (c == '\n')
		uart_put('\r');
	uart_put(c);
}

static struct print_sink uart_sink = { uart_sink_put };

bool console_failed(void)
{
	return console.failed;
}

/* A line from elsewhere, between what is being typed. Any CPU. */
static void line_out(const char *mark, const char *sep, const char *text)
{
	spin_lock(&console.lock);
	if (console.prompting)
		edit_hide(&console.edit, PROMPT, &uart_sink);
	print_to(&uart_sink, "%s%s%s\n", mark, sep, text);
	if (console.prompting)
		edit_show(&console.edit, PROMPT, &uart_sink);
	spin_unlock(&console.lock);
}

static void log_line(enum log_level level, const char *text)
{
	static const char *const marks[] = { "error: ", "warning: ", "", "debug: " };

	line_out(marks[level], "", text);
}

static void guest_line(const struct guest *g, const char *text)
{
	line_out(g->config.name, "| ", text);
}

/* Output of a command: collected into lines, so that other CPUs' lines come between, not into. */
struct command_sink {
	struct print_sink sink;
	char line[512];
	size_t len;
};

static void command_flush(struct command_sink *s)
{
	s->line[s->len] = '\0';
	s->len = 0;
	line_out("", "", s->line);
}

static void command_put(struct print_sink *sink, char c)
{
	struct command_sink *s = (struct command_sink *)sink;

	if (c != '\n')
		s->line[s->len++] = c;
	if (c == '\n' || s->len == sizeof(s->line) - 1)
		command_flush(s);
}

int command_error(struct command_call *call, int err, const char *fmt, ...)
{
	va_list args;

	print_to(call->out, "error: ");
	va_start(args, fmt);
	vprint_to(call->out, fmt, args);
	va_end(args);
	print_to(call->out, "\n");
	return err;
}

struct guest *command_guest(struct command_call *call, const char *name)
{
	struct guest *g = guest_find(name);

	if (g == NULL)
		command_error(call, -ENOENT, "%s: no guest '%s': `guests` lists them",
			      call->argv[0], name);
	return g;
}

const struct command *command_at(unsigned n)
{
	static const struct command *const tables[] = { guest_commands, memory_commands,
							change_commands, system_commands };

	for (unsigned t = 0; t < 4; t++)
		for (const struct command *c = tables[t]; c->name != NULL; c++)
			if (n-- == 0)
				return c;
	return NULL;
}

static const struct command *command_find(const char *name)
{
	const struct command *c;

	for (unsigned n = 0; (c = command_at(n)) != NULL; n++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

static int unknown(struct command_call *call)
{
	const struct command *c, *best = NULL;
	unsigned least = 3;

	for (unsigned n = 0; (c = command_at(n)) != NULL; n++) {
		unsigned d = parse_distance(call->argv[0], c->name, least);

		if (d < least) {
			least = d;
			best = c;
		}
	}
	if (best != NULL)
		return command_error(call, -ENOENT, "unknown command '%s': did you mean '%s'?",
				     call->argv[0], best->name);
	return command_error(call, -ENOENT, "unknown command '%s': `help` lists the commands",
			     call->argv[0]);
}

static int dispatch_line(struct command_call *call)
{
	const struct command *c = command_find(call->argv[0]);

	if (c == NULL)
		return unknown(call);
	if (call->argc - 1 < c->min_args || call->argc - 1 > c->max_args)
		return command_error(call, -EINVAL, "usage: %s %s", c->name, c->args);
	return c->run(call);
}

static void run_line(char *line)
{
	struct command_sink sink = { .sink = { command_put } };
	char *words[WORDS_MAX];
	struct command_call call = { .out = &sink.sink, .argv = words };
	int n = parse_words(line, words, WORDS_MAX), err;

	if (n == 0)
		return;
	for (int i = 0; i < n; i++) {
		if (strcmp(words[i], "--json") == 0)
			call.json = true;
		else
			words[call.argc++] = words[i];
	}
	if (n < 0)
		err = command_error(&call, n, "more than %d words, or a quote that is not closed",
				    WORDS_MAX);
	else
		err = call.argc == 0 ? command_error(&call, -EINVAL, "--json goes with a command")
				     : dispatch_line(&call);
	if (sink.len != 0)
		command_flush(&sink);
	console.failed |= err != 0;
	if (console.mode == CONSOLE_SCRIPT)
		line_out(err == 0 ? "%ok" : "%error", "", "");
}

static const char *candidate(const char *line, const char *word, unsigned n)
{
	const struct command *c;
	bool first = line[0] == '\0' || strchr(line, ' ') == NULL;

	if (first) {
		for (unsigned i = 0; (c = command_at(i)) != NULL; i++)
			if (strncmp(c->name, word, strlen(word)) == 0 && n-- == 0)
				return c->name;
		return NULL;
	}
	for (unsigned i = 0; i < GUESTS_MAX; i++) {
		const struct guest *g = guest_at(i);

		if (g != NULL && strncmp(g->config.name, word, strlen(word)) == 0 && n-- == 0)
			return g->config.name;
	}
	return NULL;
}

static void prompt(bool on)
{
	spin_lock(&console.lock);
	console.prompting = on;
	if (on)
		edit_show(&console.edit, PROMPT, &uart_sink);
	spin_unlock(&console.lock);
}

static bool take_char(char c)
{
	bool complete;

	if (console.mode == CONSOLE_SCRIPT) {
		struct edit *e = &console.edit;

		complete = c == '\n' || c == '\r';
		if (!complete && e->len < EDIT_LINE - 1)
			e->line[e->len++] = c;
		e->line[e->len] = '\0';
		return complete;
	}
	spin_lock(&console.lock);
	complete = edit_put(&console.edit, c, &uart_sink);
	spin_unlock(&console.lock);
	return complete;
}

static void greet(void)
{
	console.greeted = true;
	if (console.mode == CONSOLE_INTERACTIVE)
		prompt(true);
	else
		line_out("%ready", "", "");
}

static bool console_poll(void)
{
	char line[EDIT_LINE];
	int c;

	if (!console.greeted)
		greet();
	c = uart_get();
	if (c < 0)
		return false;
	if (!take_char((char)c))
		return true;
	memcpy(line, console.edit.line, sizeof(line));
	if (console.mode == CONSOLE_INTERACTIVE)
		prompt(false);
	edit_start(&console.edit);
	run_line(line);
	if (console.mode == CONSOLE_INTERACTIVE)
		prompt(true);
	return true;
}

void console_start(enum console_mode mode)
{
	console.mode = mode;
	console.edit.complete = candidate;
	edit_start(&console.edit);
	log_set_output(log_line);
	guest_set_output(guest_line);
	hv_set_poll(console_poll);
}
