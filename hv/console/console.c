/* SPDX-License-Identifier: MPL-2.0 */
#include "hv/console/console.h"

#include "base/err.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/string.h"
#include "base/x86/uart.h"
#include "hv/console/args.h"
#include "hv/console/edit.h"
#include "hv/hv.h"

#define PROMPT	     "nestling> "
#define CTRL_C	     3
#define WORDS_MAX    16
/* One line of a command's answer; regs --json is the longest. Longer ones would be broken. */
#define COMMAND_LINE 2048
/* Characters taken at a time: a terminal that never stops must not keep the guests waiting. */
#define BURST	     64

static struct {
	struct spinlock lock; /* the port: whole lines, and the prompt (LOCK_LEAF) */
	enum console_mode mode;
	bool greeted;		      /* the first prompt has been given */
	bool prompting;		      /* the prompt is on the screen */
	bool failed;		      /* some command of a script has */
	bool cut;		      /* the script's line is too long */
	bool dropped;		      /* ctrl-c: the rest of the answer is not shown */
	char ahead[EDIT_LINE];	      /* typed while a command ran, a ring */
	unsigned ahead_in, ahead_out; /* ever put and taken; they wrap */
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
		edit_hide(&uart_sink);
	print_to(&uart_sink, "%s%s%s\n", mark, sep, text);
	if (console.prompting)
		edit_show(&console.edit, &uart_sink);
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
	char line[COMMAND_LINE];
	size_t len;
};

/* Looks for ctrl-c; what else is typed is kept for later, what finds no room stays in the port. */
static void watch_keys(void)
{
	int c;

	while (console.ahead_in - console.ahead_out < EDIT_LINE && (c = uart_get()) >= 0) {
		if (c == CTRL_C) {
			console.dropped = true;
			console.ahead_out = console.ahead_in;
		} else {
			console.ahead[console.ahead_in++ % EDIT_LINE] = (char)c;
		}
	}
}

static int next_char(void)
{
	if (console.ahead_out != console.ahead_in)
		return (uint8_t)console.ahead[console.ahead_out++ % EDIT_LINE];
	return uart_get();
}

static void command_flush(struct command_sink *s)
{
	s->line[s->len] = '\0';
	s->len = 0;
	if (console.mode == CONSOLE_INTERACTIVE)
		watch_keys();
	if (!console.dropped)
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

int command_range(struct command_call *call, int arg, uint64_t top, uint64_t *start, uint64_t *end)
{
	const char *text = call->argv[arg];
	int err = args_range(text, start, end);

	if (err == 0 && *end > top)
		err = -ERANGE;
	if (err == -ERANGE)
		return command_error(call, err, "%s: '%s': too high: what there is ends at 0x%llx",
				     call->argv[0], text, (unsigned long long)top);
	if (err != 0)
		return command_error(call, err,
				     "%s: '%s': expected an address, START-END or START+LENGTH",
				     call->argv[0], text);
	return 0;
}

const struct command *command_at(unsigned n)
{
	static const struct command *const tables[] = { guest_commands,	 memory_commands,
							gva_commands,	 change_commands,
							device_commands, test_commands,
							system_commands };

	for (unsigned t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
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

/* Splits the line into the call's words, without --json, and runs it. */
static int run_words(struct command_call *call, char *line)
{
	int n = parse_words(line, call->argv, WORDS_MAX);

	if (n < 0)
		return command_error(call, n, "%s",
				     n == -EINVAL ? "a quote is not closed"
						  : "more words than any command takes");
	for (int i = 0; i < n; i++) {
		if (strcmp(call->argv[i], "--json") == 0)
			call->json = true;
		else
			call->argv[call->argc++] = call->argv[i];
	}
	if (call->argc == 0)
		return command_error(call, -EINVAL, "--json goes with a command");
	return dispatch_line(call);
}

static bool is_blank(const char *line)
{
	while (*line == ' ' || *line == '\t')
		line++;
	return *line == '\0';
}

static void run_line(char *line)
{
	struct command_sink sink = { .sink = { command_put } };
	char *words[WORDS_MAX];
	struct command_call call = { .out = &sink.sink, .argv = words };
	int err;

	if (is_blank(line))
		return;
	if (console.cut)
		err = command_error(&call, -E2BIG, "the line has more than %d characters",
				    EDIT_LINE - 1);
	else
		err = run_words(&call, line);
	console.cut = false;
	if (sink.len != 0)
		command_flush(&sink);
	if (console.dropped)
		line_out("^C", "", "");
	console.dropped = false;
	if (console.mode == CONSOLE_SCRIPT) {
		console.failed |= err != 0;
		line_out(err == 0 ? "%ok" : "%error", "", "");
	}
}

static const char *command_candidate(const char *word, unsigned n)
{
	const struct command *c;

	for (unsigned i = 0; (c = command_at(i)) != NULL; i++)
		if (strncmp(c->name, word, strlen(word)) == 0 && n-- == 0)
			return c->name;
	return NULL;
}

static const char *guest_candidate(const char *word, unsigned n)
{
	for (unsigned i = 0; i < GUESTS_MAX; i++) {
		const struct guest *g = guest_at(i);

		if (g != NULL && strncmp(g->config.name, word, strlen(word)) == 0 && n-- == 0)
			return g->config.name;
	}
	return NULL;
}

/* Commands where a command is expected; else guests. */
static const char *candidate(const char *before, const char *word, unsigned n)
{
	while (*before == ' ')
		before++;
	if (*before == '\0' || strcmp(before, "help ") == 0)
		return command_candidate(word, n);
	return guest_candidate(word, n);
}

static void prompt(void)
{
	spin_lock(&console.lock);
	console.prompting = true;
	edit_show(&console.edit, &uart_sink);
	spin_unlock(&console.lock);
}

/* True: console.edit.line is complete. The prompt is not on the screen any more then. */
static bool take_typed(char c)
{
	bool complete;

	spin_lock(&console.lock);
	complete = edit_put(&console.edit, c, &uart_sink);
	console.prompting = !complete;
	spin_unlock(&console.lock);
	return complete;
}

static bool take_scripted(char c)
{
	struct edit *e = &console.edit;

	if (c == '\n' || c == '\r')
		return true;
	if (e->len == EDIT_LINE - 1) {
		console.cut = true;
		return false;
	}
	e->line[e->len++] = c;
	e->line[e->len] = '\0';
	return false;
}

static bool take_char(char c)
{
	return console.mode == CONSOLE_SCRIPT ? take_scripted(c) : take_typed(c);
}

static void greet(void)
{
	console.greeted = true;
	if (console.mode == CONSOLE_INTERACTIVE)
		prompt();
	else
		line_out("%ready", "", "");
}

static void line_complete(void)
{
	char line[EDIT_LINE];

	memcpy(line, console.edit.line, sizeof(line));
	edit_start(&console.edit);
	run_line(line);
	if (console.mode == CONSOLE_INTERACTIVE)
		prompt();
}

static bool console_poll(void)
{
	bool busy = false;
	int c;

	if (!console.greeted)
		greet();
	for (unsigned i = 0; i < BURST && (c = next_char()) >= 0; i++) {
		busy = true;
		if (take_char((char)c)) {
			line_complete();
			break;
		}
	}
	return busy;
}

void console_start(enum console_mode mode)
{
	console.mode = mode;
	edit_init(&console.edit, PROMPT, candidate);
	log_set_output(log_line);
	guest_set_output(guest_line);
	hv_set_poll(console_poll);
}
