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

static void back(struct print_sink *out, size_t n)
{
	while (n-- != 0)
		out->put(out, '\b');
}

void edit_start(struct edit *e)
{
	e->len = e->at = 0;
	e->line[0] = '\0';
	e->recall = 0;
	e->escape = 0;
}

/* Prints the line from the cursor on, blanks over `gone` old characters, returns to the cursor. */
static void redraw_tail(const struct edit *e, size_t gone, struct print_sink *out)
{
	put(out, e->line + e->at, e->len - e->at);
	for (size_t i = 0; i < gone; i++)
		out->put(out, ' ');
	back(out, e->len - e->at + gone);
}

static void insert(struct edit *e, char c, struct print_sink *out)
{
	if (e->len + 1 >= EDIT_LINE) {
		out->put(out, '\a');
		return;
	}
	memmove(e->line + e->at + 1, e->line + e->at, e->len - e->at + 1);
	e->line[e->at] = c;
	e->len++;
	out->put(out, c);
	e->at++;
	redraw_tail(e, 0, out);
}

/* Removes n characters in front of the cursor. */
static void erase(struct edit *e, size_t n, struct print_sink *out)
{
	if (n > e->at)
		n = e->at;
	memmove(e->line + e->at - n, e->line + e->at, e->len - e->at + 1);
	e->at -= n;
	e->len -= n;
	back(out, n);
	redraw_tail(e, n, out);
}

static void move_to(struct edit *e, size_t at, struct print_sink *out)
{
	if (at > e->len)
		return;
	if (at < e->at)
		back(out, e->at - at);
	else
		put(out, e->line + e->at, at - e->at);
	e->at = at;
}

static void replace(struct edit *e, const char *text, struct print_sink *out)
{
	move_to(e, e->len, out);
	erase(e, e->len, out);
	for (; *text != '\0'; text++)
		insert(e, *text, out);
}

static void recall(struct edit *e, int step, struct print_sink *out)
{
	unsigned kept = e->history_count < EDIT_HISTORY ? e->history_count : EDIT_HISTORY;

	if ((step > 0 && e->recall == kept) || (step < 0 && e->recall == 0))
		return;
	e->recall = (unsigned)((int)e->recall + step);
	replace(e, e->recall == 0 ? "" : e->history[(e->history_count - e->recall) % EDIT_HISTORY],
		out);
}

static size_t word_start(const struct edit *e)
{
	size_t at = e->at;

	while (at != 0 && e->line[at - 1] == ' ')
		at--;
	while (at != 0 && e->line[at - 1] != ' ')
		at--;
	return at;
}

/* Adds what all candidates have in common; a blank behind the only one. */
static void complete(struct edit *e, struct print_sink *out)
{
	char word[EDIT_LINE];
	const char *first, *other;
	size_t start = e->at, len, common;

	while (start != 0 && e->line[start - 1] != ' ')
		start--;
	len = e->at - start;
	memcpy(word, e->line + start, len);
	word[len] = '\0';
	first = e->complete != NULL ? e->complete(e->line, word, 0) : NULL;
	if (first == NULL)
		return;
	common = strlen(first);
	for (unsigned n = 1; (other = e->complete(e->line, word, n)) != NULL; n++)
		while (strncmp(first, other, common) != 0)
			common--;
	for (size_t i = len; i < common; i++)
		insert(e, first[i], out);
	if (e->complete(e->line, word, 1) == NULL)
		insert(e, ' ', out);
}

static void on_escape(struct edit *e, char c, struct print_sink *out)
{
	char state = e->escape;

	e->escape = 0;
	if (state == ESCAPE) {
		if (c == '[' || c == 'O')
			e->escape = '[';
		return;
	}
	if (state != '[') { /* a digit, ended by '~' */
		if (c != '~')
			return;
		if (state == '3' && e->at < e->len) {
			move_to(e, e->at + 1, out);
			erase(e, 1, out);
		} else if (state == '1' || state == '7') {
			move_to(e, 0, out);
		} else if (state == '4' || state == '8') {
			move_to(e, e->len, out);
		}
		return;
	}
	if (c >= '0' && c <= '9')
		e->escape = c;
	else if (c == 'A')
		recall(e, 1, out);
	else if (c == 'B')
		recall(e, -1, out);
	else if (c == 'C')
		move_to(e, e->at + 1, out);
	else if (c == 'D' && e->at != 0)
		move_to(e, e->at - 1, out);
	else if (c == 'H')
		move_to(e, 0, out);
	else if (c == 'F')
		move_to(e, e->len, out);
}

static bool finish(struct edit *e, struct print_sink *out)
{
	put(out, "\r\n", 2);
	if (e->len != 0)
		memcpy(e->history[e->history_count++ % EDIT_HISTORY], e->line, e->len + 1);
	return true;
}

static void on_control(struct edit *e, char c, struct print_sink *out)
{
	switch (c) {
	case '\b':
	case DELETE:
		erase(e, 1, out);
		break;
	case '\t':
		complete(e, out);
		break;
	case CTRL('a'):
		move_to(e, 0, out);
		break;
	case CTRL('e'):
		move_to(e, e->len, out);
		break;
	case CTRL('k'):
		redraw_tail(e, 0, out);
		while (e->len > e->at) {
			size_t at = e->at;

			move_to(e, e->len, out);
			erase(e, e->len - at, out);
		}
		break;
	case CTRL('u'):
		erase(e, e->at, out);
		break;
	case CTRL('w'):
		erase(e, e->at - word_start(e), out);
		break;
	case CTRL('p'):
		recall(e, 1, out);
		break;
	case CTRL('n'):
		recall(e, -1, out);
		break;
	case ESCAPE:
		e->escape = ESCAPE;
		break;
	default:
		break;
	}
}

bool edit_put(struct edit *e, char c, struct print_sink *out)
{
	if (e->escape != 0) {
		on_escape(e, c, out);
		return false;
	}
	if (c == '\r' || c == '\n')
		return finish(e, out);
	if (c == CTRL('c')) {
		put(out, "^C", 2);
		edit_start(e);
		return finish(e, out);
	}
	if (c >= ' ' && c != DELETE)
		insert(e, c, out);
	else
		on_control(e, c, out);
	return false;
}

void edit_hide(const struct edit *e, const char *prompt, struct print_sink *out)
{
	size_t width = strlen(prompt) + e->len;

	out->put(out, '\r');
	for (size_t i = 0; i < width; i++)
		out->put(out, ' ');
	out->put(out, '\r');
}

void edit_show(const struct edit *e, const char *prompt, struct print_sink *out)
{
	put(out, prompt, strlen(prompt));
	put(out, e->line, e->len);
	back(out, e->len - e->at);
}
