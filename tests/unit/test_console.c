/* SPDX-License-Identifier: MPL-2.0 */
/* The console's parts that need no machine: the editor as a user sees it, arguments, JSON, and the
 * listing of mappings. */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/parse.h"
#include "ept/stage2.h"
#include "hv/console/args.h"
#include "hv/console/coalesce.h"
#include "hv/console/edit.h"
#include "hv/console/json.h"
#include "hv/console/sweep.h"
#include "mm/frame_alloc.h"
#include "mm/pt_ops.h"
#include "tests/host/arena.h"

/* --- a terminal: what is on the screen, and where the cursor is ------------------------------- */

#define ROWS 64
#define COLS 80

static struct terminal {
	struct print_sink sink;
	char rows[ROWS][COLS + 1];
	int row, col, bells;
	char escape[8];
	size_t escape_len;
} term;

static void term_escape(struct terminal *t, char c)
{
	t->escape[t->escape_len++] = c;
	if (t->escape_len == 1 || c == '[')
		return;
	CU_ASSERT_FATAL(t->escape_len == 3 && memcmp(t->escape, "\033[K", 3) == 0);
	memset(t->rows[t->row] + t->col, ' ', (size_t)(COLS - t->col));
	t->escape_len = 0;
}

static void term_put(struct print_sink *sink, char c)
{
	struct terminal *t = (struct terminal *)sink;

	if (t->escape_len != 0 || c == '\033') {
		term_escape(t, c);
	} else if (c == '\r') {
		t->col = 0;
	} else if (c == '\n') {
		CU_ASSERT_FATAL(++t->row < ROWS);
	} else if (c == '\b') {
		/* A terminal does not go back to the row above. */
		CU_ASSERT_FATAL(t->col-- > 0);
	} else if (c == '\a') {
		t->bells++;
	} else {
		CU_ASSERT_FATAL(c >= ' ' && c < 0x7f);
		/* The line being typed stays in its row. */
		CU_ASSERT_FATAL(t->col < COLS - 1);
		t->rows[t->row][t->col++] = c;
	}
}

static struct print_sink *term_reset(void)
{
	memset(&term, 0, sizeof(term));
	for (int i = 0; i < ROWS; i++)
		memset(term.rows[i], ' ', COLS);
	term.sink.put = term_put;
	return &term.sink;
}

/* A row without the blanks at its end. */
static const char *term_row(int row)
{
	static char text[COLS + 1];
	size_t n = COLS;

	memcpy(text, term.rows[row], COLS);
	while (n != 0 && text[n - 1] == ' ')
		n--;
	text[n] = '\0';
	return text;
}

/* --- the editor ------------------------------------------------------------------------------- */

#define UP    "\033[A"
#define DOWN  "\033[B"
#define RIGHT "\033[C"
#define LEFT  "\033[D"

static struct edit ed;

static const char *words_for(const char *before, const char *word, unsigned n)
{
	static const char *const commands[] = { "guest", "guests", "ept", NULL };
	static const char *const guests[] = { "tiny", "linux-a", "linux-b", NULL };

	for (const char *const *w = *before == '\0' ? commands : guests; *w != NULL; w++)
		if (strncmp(*w, word, strlen(word)) == 0 && n-- == 0)
			return *w;
	return NULL;
}

static void start(void)
{
	term_reset();
	edit_init(&ed, "> ", words_for);
	edit_show(&ed, &term.sink);
}

/* Types; returns how many lines were complete. Each starts the next one, as the console does. */
static char last_line[EDIT_LINE];

static int type(const char *keys)
{
	int lines = 0;

	for (; *keys != '\0'; keys++) {
		if (!edit_put(&ed, *keys, &term.sink))
			continue;
		lines++;
		strcpy(last_line, ed.line);
		edit_start(&ed);
		edit_show(&ed, &term.sink);
	}
	return lines;
}

/* The line in the editor, on the screen, and the cursor's place in both. */
static void line_is(const char *text, size_t at)
{
	char row[COLS + 1];

	CU_ASSERT_STRING_EQUAL(ed.line, text);
	CU_ASSERT_EQUAL(ed.len, strlen(text));
	CU_ASSERT_EQUAL(ed.at, at);
	snprintf(row, sizeof(row), "> %s", text);
	while (row[strlen(row) - 1] == ' ')
		row[strlen(row) - 1] = '\0';
	CU_ASSERT_STRING_EQUAL(term_row(term.row), row);
	CU_ASSERT_EQUAL((size_t)term.col, 2 + at);
}

static void test_edit_move(void)
{
	start();
	CU_ASSERT_EQUAL(type("walk 12"), 0);
	line_is("walk 12", 7);
	type(LEFT LEFT "x");
	line_is("walk x12", 6);
	type("\001" LEFT "a");
	line_is("awalk x12", 1);
	type("\005" RIGHT "z");
	line_is("awalk x12z", 10);
	type("\033[H" RIGHT "\033[3~");
	line_is("aalk x12z", 1);
	type("\033[F\b\177");
	line_is("aalk x1", 7);
	type("\033OH\033OF\033[1~\033[3~\033[4~\033[3~\033[7~\033[8~");
	line_is("alk x1", 6);
	type("\033[H\b\177");
	line_is("alk x1", 0);
}

static void test_edit_erase(void)
{
	start();
	type("ept  linux-a 0x1000");
	type("\027");
	line_is("ept  linux-a ", 13);
	type("\027");
	line_is("ept  ", 5);
	type("\027\027");
	line_is("", 0);
	type("one two three\033[D\033[D\033[D\033[D\033[D\013");
	line_is("one two ", 8);
	type(LEFT LEFT LEFT LEFT "\025");
	line_is("two ", 0);
	type("\013\025\027");
	line_is("", 0);
}

/* Keys that mean nothing here leave nothing behind: function keys, ctrl-right, alt-x, UTF-8. */
static void test_edit_other_keys(void)
{
	start();
	type("ab\033[15~\033[1;5D\033OP\033x\033[200~\303\244\a\f");
	line_is("ab", 1);
	type("c\033[1;5C\033[99999999999999~d");
	line_is("acbd", 4);
	/* A sequence that is broken off does not swallow the end of the line. */
	CU_ASSERT_EQUAL(type("\033[1\r"), 1);
	CU_ASSERT_STRING_EQUAL(last_line, "acbd");
}

static void test_edit_lines(void)
{
	start();
	CU_ASSERT_EQUAL(type("guests" LEFT LEFT "\r"), 1);
	CU_ASSERT_STRING_EQUAL(last_line, "guests");
	line_is("", 0);
	CU_ASSERT_EQUAL(type("stop tiny\003"), 1);
	CU_ASSERT_STRING_EQUAL(last_line, "");
	CU_ASSERT_STRING_EQUAL(term_row(1), "> stop tiny^C");
	CU_ASSERT_EQUAL(type("\r\n\r"), 3);
	/* What was dropped is not remembered. */
	type(UP);
	line_is("guests", 6);
}

static void test_edit_history(void)
{
	char key[16];

	start();
	type(UP DOWN);
	line_is("", 0);
	type("one\rtwo\rtwo\rhalf");
	type(UP);
	line_is("two", 3);
	type(UP);
	line_is("one", 3);
	type(UP UP);
	line_is("one", 3);
	type(DOWN DOWN);
	line_is("half", 4);
	type(DOWN);
	line_is("half", 4);
	type("\020\016");
	line_is("half", 4);
	/* What is called back can be changed, and the change does not touch the history. */
	type(UP "!\r" UP UP);
	CU_ASSERT_STRING_EQUAL(last_line, "two!");
	line_is("two", 3);
	/* Only the last ones are kept. */
	type("\025");
	for (int i = 0; i < 3 * EDIT_HISTORY; i++) {
		snprintf(key, sizeof(key), "%d\r", i);
		type(key);
	}
	for (int i = 0; i < EDIT_HISTORY + 5; i++)
		type(UP);
	CU_ASSERT_EQUAL(atoi(ed.line), 2 * EDIT_HISTORY);
}

static void test_edit_complete(void)
{
	start();
	type("e\t");
	line_is("ept ", 4);
	type("\t");
	CU_ASSERT_STRING_EQUAL(term_row(1), "tiny  linux-a  linux-b");
	line_is("ept ", 4);
	type("l\t");
	line_is("ept linux-", 10);
	type("b\t");
	line_is("ept linux-b ", 12);
	type("zz\t");
	line_is("ept linux-b zz", 14);
	/* In the middle of a line: only what is before the cursor counts. */
	type("\001\033[3~\033[3~\033[3~g\t");
	line_is("guest linux-b zz", 5);
	type("\t");
	CU_ASSERT_STRING_EQUAL(term_row(3), "guest  guests");
	line_is("guest linux-b zz", 5);
	edit_init(&ed, "> ", NULL);
	type("\025\013g\t");
	CU_ASSERT_STRING_EQUAL(ed.line, "g");
}

/* A long line stays in its row, and the window shows the part around the cursor. */
static void test_edit_long(void)
{
	char text[EDIT_LINE + 10], want[COLS];

	start();
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		text[i] = (char)('a' + i % 26);
	text[sizeof(text) - 1] = '\0';
	type(text);
	CU_ASSERT_EQUAL(term.bells, 10);
	CU_ASSERT_EQUAL(ed.len, EDIT_LINE - 1);
	CU_ASSERT_EQUAL(memcmp(ed.line, text, EDIT_LINE - 1), 0);
	CU_ASSERT_EQUAL(term.row, 0);
	snprintf(want, sizeof(want), "> %.*s", EDIT_WIDTH, ed.line + EDIT_LINE - 1 - EDIT_WIDTH);
	CU_ASSERT_STRING_EQUAL(term_row(0), want);
	type("\001");
	snprintf(want, sizeof(want), "> %.*s", EDIT_WIDTH, ed.line);
	CU_ASSERT_STRING_EQUAL(term_row(0), want);
	CU_ASSERT_EQUAL(term.col, 2);
	for (int i = 0; i < EDIT_WIDTH + 20; i++)
		type(RIGHT);
	snprintf(want, sizeof(want), "> %.*s", EDIT_WIDTH, ed.line + 20);
	CU_ASSERT_STRING_EQUAL(term_row(0), want);
	type("\177\025");
	CU_ASSERT_EQUAL(ed.first, 0);
	CU_ASSERT_EQUAL(term.col, 2);
	CU_ASSERT_EQUAL(memcmp(ed.line, text + EDIT_WIDTH + 20, 100), 0);
	CU_ASSERT_EQUAL(type("\r"), 1);
	CU_ASSERT_EQUAL(term.row, 1);
}

/* Something else is printed in between: what is being typed is there again, cursor included. */
static void test_edit_interleave(void)
{
	start();
	type("read tiny" LEFT LEFT);
	edit_hide(&term.sink);
	print_to(&term.sink, "tiny| hello\r\n");
	edit_show(&ed, &term.sink);
	CU_ASSERT_STRING_EQUAL(term_row(0), "tiny| hello");
	line_is("read tiny", 7);
	type("X");
	line_is("read tiXny", 8);
}

/* Whatever is typed: the screen shows what the editor has. */
static void test_edit_random(void)
{
	static const char *const keys[] = {
		"a",	   "b",	   " ",	   "\t",     "\b",
		LEFT,	   RIGHT,  UP,	   DOWN,     "\001",
		"\005",	   "\013", "\025", "\027",   "\r",
		"\003",	   "e",	   "l",	   "\033[H", "\033[F",
		"\033[3~", "x",	   "y",	   "z",	     "0123456789abcdef"
	};
	unsigned seed = 1;

	start();
	for (int i = 0; i < 60000; i++) {
		char row[COLS + 1];
		size_t n = ed.len - ed.first;

		seed = seed * 1103515245 + 12345;
		type(keys[(seed >> 16) % (sizeof(keys) / sizeof(keys[0]))]);
		n = ed.len - ed.first < EDIT_WIDTH ? ed.len - ed.first : EDIT_WIDTH;
		CU_ASSERT_FATAL(ed.first <= ed.at && ed.at <= ed.len && ed.len < EDIT_LINE);
		CU_ASSERT_EQUAL_FATAL(strlen(ed.line), ed.len);
		CU_ASSERT_EQUAL_FATAL((size_t)term.col, 2 + ed.at - ed.first);
		snprintf(row, sizeof(row), "> %-*.*s", COLS - 2, (int)n, ed.line + ed.first);
		CU_ASSERT_EQUAL_FATAL(memcmp(row, term.rows[term.row], COLS), 0);
		if (term.row > ROWS / 2) {
			term_reset();
			edit_show(&ed, &term.sink);
		}
	}
}

/* --- arguments -------------------------------------------------------------------------------- */

static void range_is(const char *text, uint64_t start_want, uint64_t end_want)
{
	uint64_t from = 1, to = 1;

	CU_ASSERT_EQUAL(args_range(text, &from, &to), 0);
	CU_ASSERT_EQUAL(from, start_want);
	CU_ASSERT_EQUAL(to, end_want);
}

static void test_args_range(void)
{
	static const char *const bad[] = { "",
					   "-",
					   "+",
					   "x",
					   "0x",
					   "12q",
					   "1-",
					   "-1",
					   "1+",
					   "+4K",
					   "1 2",
					   "1-2-3",
					   "0x1000-0x1000",
					   "0x2000-0x1000",
					   "8+0",
					   "0x1000+4KB",
					   "0x1000:4K",
					   "1--2",
					   "1+-2",
					   "4K4",
					   "00000000000000000000000000000000000000000001",
					   "0b101",
					   "0x1000..2000" };
	static const char *const large[] = { "0xffffffffffffffff", "0x10000000000000000",
					     "0xffffffffffffff00+0x1000", "17179869184G",
					     "0-0xffffffffffffffff" };
	uint64_t from = 77, to = 77;

	range_is("0", 0, 0x1000);
	range_is("0x1fff", 0x1000, 0x2000);
	range_is("4096", 0x1000, 0x2000);
	range_is("0x1000-0x3000", 0x1000, 0x3000);
	range_is("0x1001-0x2001", 0x1000, 0x3000);
	range_is("0x1000+1", 0x1000, 0x2000);
	range_is("0+2M", 0, 0x200000);
	range_is("1M+1g", 0x100000, 0x40100000);
	range_is("16M-1G", 0x1000000, 0x40000000);
	range_is("0xfffffffffffe000", 0xfffffffffffe000, 0xffffffffffff000);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_EQUAL(args_range(bad[i], &from, &to), -EINVAL);
	for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++)
		CU_ASSERT_EQUAL(args_range(large[i], &from, &to), -ERANGE);
	CU_ASSERT(from == 77 && to == 77);
}

static void test_args_rights(void)
{
	static const char *const bad[] = { "", "q", "rr", "rwxr", "RWX", "r w" };
	pt_attr_t rights;

	CU_ASSERT(args_rights("rwx", &rights) == 0 && rights == PT_RWX);
	CU_ASSERT(args_rights("r-x", &rights) == 0 && rights == PT_RX);
	CU_ASSERT(args_rights("xr", &rights) == 0 && rights == PT_RX);
	CU_ASSERT(args_rights("w", &rights) == 0 && rights == PT_WRITE);
	CU_ASSERT(args_rights("-", &rights) == 0 && rights == 0);
	CU_ASSERT(args_rights("---", &rights) == 0 && rights == 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_EQUAL(args_rights(bad[i], &rights), -EINVAL);
}

static void test_args_bytes(void)
{
	uint8_t bytes[4] = { 0 };

	CU_ASSERT_EQUAL(args_bytes("00ffA5", bytes, 4), 3);
	CU_ASSERT(bytes[0] == 0 && bytes[1] == 0xff && bytes[2] == 0xa5 && bytes[3] == 0);
	CU_ASSERT_EQUAL(args_bytes("01020304", bytes, 4), 4);
	CU_ASSERT_EQUAL(args_bytes("0102030405", bytes, 4), -E2BIG);
	CU_ASSERT_EQUAL(args_bytes("", bytes, 4), -EINVAL);
	CU_ASSERT_EQUAL(args_bytes("1", bytes, 4), -EINVAL);
	CU_ASSERT_EQUAL(args_bytes("123", bytes, 4), -EINVAL);
	CU_ASSERT_EQUAL(args_bytes("0g", bytes, 4), -EINVAL);
	CU_ASSERT_EQUAL(args_bytes("0x12", bytes, 4), -EINVAL);
}

/* A typed line becomes words: blanks, quotes, too many. */
static void test_words(void)
{
	char line[64], *words[3];

	strcpy(line, "  ept \t tiny 0x1000+4K ");
	CU_ASSERT_EQUAL(parse_words(line, words, 3), 3);
	CU_ASSERT_STRING_EQUAL(words[0], "ept");
	CU_ASSERT_STRING_EQUAL(words[1], "tiny");
	CU_ASSERT_STRING_EQUAL(words[2], "0x1000+4K");
	strcpy(line, "help \"a b\"c");
	CU_ASSERT_EQUAL(parse_words(line, words, 3), 2);
	CU_ASSERT_STRING_EQUAL(words[1], "a bc");
	strcpy(line, " \t ");
	CU_ASSERT_EQUAL(parse_words(line, words, 3), 0);
	strcpy(line, "a b c d");
	CU_ASSERT_EQUAL(parse_words(line, words, 3), -E2BIG);
	strcpy(line, "a \"b c");
	CU_ASSERT_EQUAL(parse_words(line, words, 3), -EINVAL);
}

/* --- JSON ------------------------------------------------------------------------------------- */

static struct text_sink {
	struct print_sink sink;
	char text[512];
	size_t len;
} text_out;

static void text_put(struct print_sink *sink, char c)
{
	struct text_sink *t = (struct text_sink *)sink;

	CU_ASSERT_FATAL(t->len < sizeof(t->text) - 1);
	t->text[t->len++] = c;
	t->text[t->len] = '\0';
}

static struct print_sink *text_reset(void)
{
	memset(&text_out, 0, sizeof(text_out));
	text_out.sink.put = text_put;
	return &text_out.sink;
}

static void test_json(void)
{
	struct json j;

	json_begin(&j, text_reset());
	json_end(&j);
	CU_ASSERT_STRING_EQUAL(text_out.text, "{}\n");
	json_begin(&j, text_reset());
	json_text(&j, "guest", "tiny");
	json_address(&j, "gpa", 0);
	json_address(&j, "hpa", UINT64_MAX);
	json_number(&j, "len", UINT64_MAX);
	json_bool(&j, "r", true);
	json_bool(&j, "w", false);
	json_null(&j, "user_x");
	json_end(&j);
	CU_ASSERT_STRING_EQUAL(text_out.text,
			       "{\"guest\":\"tiny\",\"gpa\":\"0x0\",\"hpa\":\"0xffffffffffffffff\","
			       "\"len\":18446744073709551615,\"r\":true,\"w\":false,"
			       "\"user_x\":null}\n");
}

static void test_json_escapes(void)
{
	struct json j;

	json_begin(&j, text_reset());
	json_text(&j, "why", "a\"b\\c\nd\te\001f\033[2Jg\177h\377%s/");
	json_text(&j, "\"", "");
	json_end(&j);
	CU_ASSERT_STRING_EQUAL(text_out.text,
			       "{\"why\":\"a\\\"b\\\\c\\u000ad\\u0009e\\u0001f\\u001b[2Jg\\u007fh"
			       "\\u00ff%s/\",\"\\\"\":\"\"}\n");
}

/* --- mappings --------------------------------------------------------------------------------- */

#define RWX (PT_RWX | PT_MEM_WB | PT_TRACKED)

static struct pt_leaf leaf_of(uint64_t va, uint64_t at, uint64_t size, pt_attr_t attr)
{
	return (struct pt_leaf){ va, hpa(at), size, attr };
}

static void test_coalesce(void)
{
	struct extent e = { 0 }, before;
	const struct pt_leaf first = leaf_of(0x1000, 0x9000, 0x1000, RWX);
	const struct pt_leaf next = leaf_of(0x2000, 0xa000, 0x1000, RWX);
	const struct pt_leaf others[] = {
		leaf_of(0x4000, 0xb000, 0x1000, RWX),		    /* a hole in the guest */
		leaf_of(0x3000, 0xc000, 0x1000, RWX),		    /* elsewhere in the host */
		leaf_of(0x3000, 0xb000, 0x200000, RWX),		    /* another page size */
		leaf_of(0x3000, 0xb000, 0x1000, RWX & ~PT_WRITE),   /* other rights */
		leaf_of(0x3000, 0xb000, 0x1000, RWX | PT_DIRTY),    /* other marks */
		leaf_of(0x3000, 0xb000, 0x1000, RWX & ~PT_TRACKED), /* not counted */
		leaf_of(0x3000, 0xb000, 0x1000, PT_RWX | PT_MEM_UC | PT_TRACKED),
	};

	CU_ASSERT_TRUE(extent_add(&e, &first));
	CU_ASSERT_TRUE(extent_add(&e, &next));
	CU_ASSERT(e.va == 0x1000 && e.hpa == 0x9000 && e.len == 0x2000 && e.page == 0x1000 &&
		  e.attr == RWX);
	before = e;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		CU_ASSERT_FALSE(extent_add(&e, &others[i]));
		CU_ASSERT_EQUAL(memcmp(&e, &before, sizeof(e)), 0);
	}
	/* Guest neighbours only: all but the one behind a hole. */
	CU_ASSERT_FALSE(extent_add_any(&e, &others[0]));
	CU_ASSERT_EQUAL(memcmp(&e, &before, sizeof(e)), 0);
	CU_ASSERT_TRUE(extent_add_any(&e, &others[2]));
	CU_ASSERT_EQUAL(e.len, 0x2000 + 0x200000);
	e.len = 0;
	CU_ASSERT_TRUE(extent_add(&e, &others[2]));
	CU_ASSERT(e.va == 0x3000 && e.page == 0x200000 && e.len == 0x200000);
}

void suite_console(void);
void suite_console(void)
{
	CU_pSuite s = CU_add_suite("console", NULL, NULL);

	CU_add_test(s, "edit_move", test_edit_move);
	CU_add_test(s, "edit_erase", test_edit_erase);
	CU_add_test(s, "edit_other_keys", test_edit_other_keys);
	CU_add_test(s, "edit_lines", test_edit_lines);
	CU_add_test(s, "edit_history", test_edit_history);
	CU_add_test(s, "edit_complete", test_edit_complete);
	CU_add_test(s, "edit_long", test_edit_long);
	CU_add_test(s, "edit_interleave", test_edit_interleave);
	CU_add_test(s, "edit_random", test_edit_random);
	CU_add_test(s, "args_range", test_args_range);
	CU_add_test(s, "args_rights", test_args_rights);
	CU_add_test(s, "args_bytes", test_args_bytes);
	CU_add_test(s, "words", test_words);
	CU_add_test(s, "json", test_json);
	CU_add_test(s, "json_escapes", test_json_escapes);
	CU_add_test(s, "coalesce", test_coalesce);
}
