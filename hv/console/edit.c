/* SPDX-License-Identifier: MPL-2.0 */
#include "hv/console/edit.h"

#include "base/string.h"

#define CTRL(c) ((c)&0x1f)
#define ESCAPE	0x1b
#define DELETE	0x7f

static void put(struct print_sink *out, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out->put(out, text[i]);
}

static void put_text(struct print_sink *out, const char *text)
{
	put(out, text, strlen(text));
}

void edit_init(struct edit *e, const char *prompt, edit_complete complete)
{
	memset(e, 0, sizeof(*e));
	e->prompt = prompt;
	e->complete = complete;
}

void edit_start(struct edit *e)
{
	e->len = e->at = e->first = 0;
	e->line[0] = '\0';
	e->recall = 0;
	e->escape = 0;
}

/* How much of the line the window shows. */
static size_t shown(const struct edit *e)
{
	size_t rest = e->len - e->first;

	return rest < EDIT_WIDTH ? rest : EDIT_WIDTH;
}

void edit_hide(struct print_sink *out)
{
	put_text(out, "\r\033[K");
}

void edit_show(const struct edit *e, struct print_sink *out)
{
	size_t n = shown(e);

	put_text(out, e->prompt);
	put(out, e->line + e->first, n);
	for (size_t back = e->first + n - e->at; back != 0; back--)
		out->put(out, '\b');
}

/* Moves the window so that the cursor is in it, and draws it. */
static void redraw(struct edit *e, struct print_sink *out)
{
	if (e->len <= EDIT_WIDTH)
		e->first = 0;
	else if (e->at < e->first)
		e->first = e->at;
	else if (e->at > e->first + EDIT_WIDTH)
		e->first = e->at - EDIT_WIDTH;
	edit_hide(out);
	edit_show(e, out);
}

/* False: the line is full. */
static bool insert(struct edit *e, char c)
{
	if (e->len + 1 >= EDIT_LINE)
		return false;
	memmove(e->line + e->at + 1, e->line + e->at, e->len - e->at + 1);
	e->line[e->at++] = c;
	e->len++;
	return true;
}

/* Removes what is between `from` and the cursor, from <= at. */
static void erase(struct edit *e, size_t from)
{
	memmove(e->line + from, e->line + e->at, e->len - e->at + 1);
	e->len -= e->at - from;
	e->at = from;
}

/* Removes the character under the cursor. */
static void erase_here(struct edit *e)
{
	if (e->at == e->len)
		return;
	e->at++;
	erase(e, e->at - 1);
}

static void replace(struct edit *e, const char *text)
{
	e->len = e->at = strlen(text);
	memcpy(e->line, text, e->len + 1);
}

static void recall(struct edit *e, int step)
{
	unsigned kept = e->history_count < EDIT_HISTORY ? e->history_count : EDIT_HISTORY;

	if ((step > 0 && e->recall == kept) || (step < 0 && e->recall == 0))
		return;
	if (e->recall == 0)
		memcpy(e->typed, e->line, e->len + 1);
	e->recall = (unsigned)((int)e->recall + step);
	replace(e, e->recall == 0 ? e->typed
				  : e->history[(e->history_count - e->recall) % EDIT_HISTORY]);
}

/* Where the word before the cursor begins; blanks behind it belong to it. */
static size_t word_start(const struct edit *e)
{
	size_t at = e->at;

	while (at != 0 && e->line[at - 1] == ' ')
		at--;
	while (at != 0 && e->line[at - 1] != ' ')
		at--;
	return at;
}

static void list_candidates(const struct edit *e, const char *before, const char *word,
			    struct print_sink *out)
{
	const char *name;

	put_text(out, "\r\n");
	for (unsigned n = 0; (name = e->complete(before, word, n)) != NULL; n++) {
		put_text(out, name);
		put_text(out, "  ");
	}
	put_text(out, "\r\n");
}

/* Adds what all candidates have in common, and a blank behind the only one. When that adds nothing,
 * shows the candidates. */
static void complete(struct edit *e, struct print_sink *out)
{
	char before[EDIT_LINE], word[EDIT_LINE];
	const char *first, *other;
	size_t start = e->at, common;
	bool only, added = false;

	while (start != 0 && e->line[start - 1] != ' ')
		start--;
	memcpy(before, e->line, start);
	before[start] = '\0';
	memcpy(word, e->line + start, e->at - start);
	word[e->at - start] = '\0';
	first = e->complete != NULL ? e->complete(before, word, 0) : NULL;
	if (first == NULL)
		return;
	common = strlen(first);
	for (unsigned n = 1; (other = e->complete(before, word, n)) != NULL; n++)
		while (strncmp(first, other, common) != 0)
			common--;
	only = e->complete(before, word, 1) == NULL;
	for (size_t i = strlen(word); i < common; i++)
		added |= insert(e, first[i]);
	if (only)
		insert(e, ' ');
	else if (!added)
		list_candidates(e, before, word, out);
}

/* The end of a sequence: ESC [ number character, or ESC O character. */
static void on_key(struct edit *e, char c)
{
	unsigned number = c == '~' ? e->param : 0;

	if (c == 'A')
		recall(e, 1);
	else if (c == 'B')
		recall(e, -1);
	else if (c == 'C')
		e->at += e->at < e->len;
	else if (c == 'D')
		e->at -= e->at > 0;
	else if (c == 'H' || number == 1 || number == 7)
		e->at = 0;
	else if (c == 'F' || number == 4 || number == 8)
		e->at = e->len;
	else if (number == 3)
		erase_here(e);
}

/* A character within an escape sequence. Those that mean nothing here are taken in whole. */
static void on_escape(struct edit *e, char c)
{
	if (e->escape == ESCAPE) {
		e->escape = c == '[' || c == 'O' ? c : 0;
		e->param = 0;
		e->param_done = false;
	} else if (c >= '0' && c <= '9') {
		if (!e->param_done && e->param < 100)
			e->param = e->param * 10 + (unsigned)(c - '0');
	} else if (c >= ' ' && c < '@') {
		e->param_done = true;
	} else {
		e->escape = 0;
		on_key(e, c);
	}
}

static void on_control(struct edit *e, char c, struct print_sink *out)
{
	switch (c) {
	case '\b':
	case DELETE:
		erase(e, e->at - (e->at > 0));
		break;
	case '\t':
		complete(e, out);
		break;
	case CTRL('a'):
		e->at = 0;
		break;
	case CTRL('e'):
		e->at = e->len;
		break;
	case CTRL('k'):
		e->len = e->at;
		e->line[e->len] = '\0';
		break;
	case CTRL('u'):
		erase(e, 0);
		break;
	case CTRL('w'):
		erase(e, word_start(e));
		break;
	case CTRL('p'):
		recall(e, 1);
		break;
	case CTRL('n'):
		recall(e, -1);
		break;
	case ESCAPE:
		e->escape = ESCAPE;
		break;
	default:
		break;
	}
}

static bool finish(struct edit *e, struct print_sink *out)
{
	const char *last = e->history[(e->history_count - 1) % EDIT_HISTORY];

	put_text(out, "\r\n");
	if (e->len != 0 && (e->history_count == 0 || strcmp(last, e->line) != 0))
		memcpy(e->history[e->history_count++ % EDIT_HISTORY], e->line, e->len + 1);
	return true;
}

/* A character that stands for itself. The common case, at the end of the line, costs one. */
static void on_text(struct edit *e, char c, struct print_sink *out)
{
	if (!insert(e, c))
		out->put(out, '\a');
	else if (e->at == e->len && e->len - e->first <= EDIT_WIDTH)
		out->put(out, c);
	else
		redraw(e, out);
}

bool edit_put(struct edit *e, char c, struct print_sink *out)
{
	if (e->escape == 0 && c >= ' ' && c != DELETE) {
		on_text(e, c, out);
		return false;
	}
	if (c == '\r' || c == '\n')
		return finish(e, out);
	if (c == CTRL('c')) {
		put_text(out, "^C");
		edit_start(e);
		return finish(e, out);
	}
	if (e->escape != 0)
		on_escape(e, c);
	else
		on_control(e, c, out);
	if (e->escape == 0)
		redraw(e, out);
	return false;
}
