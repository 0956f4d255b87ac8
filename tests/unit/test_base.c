/* SPDX-License-Identifier: MPL-2.0 */
/* The formatter, the parser, messages, error names, lists, contracts, locks and their ledger. */
#include <CUnit/CUnit.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/contract.h"
#include "base/err.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/print.h"
#include "tests/host/arena.h"

/* --- print ----------------------------------------------------------------------------------- */

/* Formats with both formatters; no format attribute, as some formats are meant to be odd. */
static bool like_libc(const char *fmt, ...)
{
	char ours[256], theirs[256];
	va_list args;
	size_t len;
	int want;

	va_start(args, fmt);
	len = vformat(ours, sizeof(ours), fmt, args);
	va_end(args);
	va_start(args, fmt);
	want = vsnprintf(theirs, sizeof(theirs), fmt, args);
	va_end(args);
	if (len == (size_t)want && strcmp(ours, theirs) == 0)
		return true;
	fprintf(stderr, "format '%s': '%s' (%zu), libc '%s' (%d)\n", fmt, ours, len, theirs, want);
	return false;
}

static bool as_text(const char *want, const char *fmt, ...)
{
	char ours[256];
	va_list args;
	size_t len;

	va_start(args, fmt);
	len = vformat(ours, sizeof(ours), fmt, args);
	va_end(args);
	if (len == strlen(want) && strcmp(ours, want) == 0)
		return true;
	fprintf(stderr, "format '%s': '%s' (%zu), wanted '%s'\n", fmt, ours, len, want);
	return false;
}

static void print_integers(void)
{
	static const char *const flags[] = {
		"", "-", "0", "-0", "1", "7", "24", "-7", "-24", "024"
	};
	static const char *const sizes[] = { "hh", "h", "" };
	static const int values[] = { 0, 1, -1, 9, 10, 255, 256, -128, 65535, INT_MAX, INT_MIN };
	static const long longs[] = { 0, 1, -1, LONG_MAX, LONG_MIN, 0x123456789abcdef };
	char fmt[32];

	for (const char *c = "diuxXo"; *c != '\0'; c++)
		for (unsigned f = 0; f < sizeof(flags) / sizeof(flags[0]); f++) {
			for (unsigned s = 0; s < 3; s++)
				for (unsigned v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
					snprintf(fmt, sizeof(fmt), "<%%%s%s%c>", flags[f], sizes[s],
						 *c);
					CU_ASSERT(like_libc(fmt, values[v]));
				}
			for (unsigned v = 0; v < sizeof(longs) / sizeof(longs[0]); v++) {
				snprintf(fmt, sizeof(fmt), "<%%%sl%c>", flags[f], *c);
				CU_ASSERT(like_libc(fmt, longs[v]));
				snprintf(fmt, sizeof(fmt), "<%%%sll%c>", flags[f], *c);
				CU_ASSERT(like_libc(fmt, (long long)longs[v]));
				snprintf(fmt, sizeof(fmt), "<%%%sz%c>", flags[f], *c);
				CU_ASSERT(like_libc(fmt, (size_t)longs[v]));
			}
		}
}

static void print_strings(void)
{
	CU_ASSERT(like_libc("%s|%10s|%-10s|%.2s|%10.2s|%-10.2s|%.0s", "abc", "abc", "abc", "abc",
			    "abc", "abc", "abc"));
	CU_ASSERT(like_libc("%*s|%*s|%.*s|%.*s", 6, "abc", -6, "abc", 2, "abc", -1, "abc"));
	CU_ASSERT(like_libc("%*d|%*d|%0*d", 6, 42, -6, 42, 6, 42));
	CU_ASSERT(like_libc("%c|%3c|%-3c|%%", 'a', 'b', 'c'));
	CU_ASSERT(like_libc("%100s|", "far"));
	CU_ASSERT(like_libc("%0100d|", -5));
	CU_ASSERT(as_text("(null)", "%s", NULL));
	CU_ASSERT(as_text("0x12ab", "%p", (void *)0x12ab));
	CU_ASSERT(as_text("0x0", "%p", NULL));
}

/* A precision bounds how far a string is read: it need not end. */
static void print_unterminated(void)
{
	char *text = malloc(3);

	memcpy(text, "abc", 3);
	CU_ASSERT(as_text("abc", "%.3s", text));
	CU_ASSERT(as_text("ab", "%.*s", 2, text));
	free(text);
}

/* What is not known is shown as it was written, and takes no argument. */
static void print_unknown(void)
{
	CU_ASSERT(as_text("%q", "%q"));
	CU_ASSERT(as_text("%+5d 7", "%+5d %d", 7));
	CU_ASSERT(as_text("100%", "100%"));
	CU_ASSERT(as_text("%5", "%5"));
	CU_ASSERT(as_text("%-07.3llq!", "%-07.3llq!"));
	CU_ASSERT(as_text("", ""));
}

static void print_sizes(void)
{
	char buf[8];

	memset(buf, '#', sizeof(buf));
	CU_ASSERT_EQUAL(format(buf, 4, "abcdef"), 6);
	CU_ASSERT_EQUAL(memcmp(buf, "abc\0####", 8), 0);
	memset(buf, '#', sizeof(buf));
	CU_ASSERT_EQUAL(format(buf, 1, "abcdef"), 6);
	CU_ASSERT_EQUAL(memcmp(buf, "\0#", 2), 0);
	memset(buf, '#', sizeof(buf));
	CU_ASSERT_EQUAL(format(buf, 0, "abcdef"), 6);
	CU_ASSERT_EQUAL(buf[0], '#');
	CU_ASSERT_EQUAL(format(buf, 7, "abcdef"), 6);
	CU_ASSERT_STRING_EQUAL(buf, "abcdef");
	CU_ASSERT_EQUAL(format(buf, 6, "abcdef"), 6);
	CU_ASSERT_STRING_EQUAL(buf, "abcde");
}

/* The caller's va_list is left where it was, as a sink that prints twice needs. */
static size_t print_twice(char *buf, size_t size, const char *fmt, ...)
{
	va_list args;
	size_t len;

	va_start(args, fmt);
	len = vformat(buf, size, fmt, args);
	len += vformat(buf + len, size - len, fmt, args);
	va_end(args);
	return len;
}

static void print_arguments_twice(void)
{
	char buf[32];

	CU_ASSERT_EQUAL(print_twice(buf, sizeof(buf), "%d,%s;", 5, "x"), 8);
	CU_ASSERT_STRING_EQUAL(buf, "5,x;5,x;");
}

/* --- parse ----------------------------------------------------------------------------------- */

#define UNTOUCHED UINT64_C(0xdeadbeef)

static void parse_numbers(void)
{
	static const struct {
		const char *text;
		int err;
		uint64_t value;
	} cases[] = {
		{ "0", 0, 0 },
		{ "007", 0, 7 },
		{ "42", 0, 42 },
		{ "0x0", 0, 0 },
		{ "0xfF", 0, 255 },
		{ "0XaB", 0, 0xab },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "0xffffffffffffffff", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, UNTOUCHED },
		{ "0x10000000000000000", -ERANGE, UNTOUCHED },
		{ "99999999999999999999999", -ERANGE, UNTOUCHED },
		{ "", -EINVAL, UNTOUCHED },
		{ "0x", -EINVAL, UNTOUCHED },
		{ "x1", -EINVAL, UNTOUCHED },
		{ "12a", -EINVAL, UNTOUCHED },
		{ "0x1g", -EINVAL, UNTOUCHED },
		{ "-1", -EINVAL, UNTOUCHED },
		{ "+1", -EINVAL, UNTOUCHED },
		{ " 1", -EINVAL, UNTOUCHED },
		{ "1 ", -EINVAL, UNTOUCHED },
		{ "1k", -EINVAL, UNTOUCHED },
		{ "\xff", -EINVAL, UNTOUCHED },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t got = UNTOUCHED;

		CU_ASSERT_EQUAL(parse_u64(cases[i].text, &got), cases[i].err);
		CU_ASSERT_EQUAL(got, cases[i].value);
	}
}

static void parse_sizes(void)
{
	static const struct {
		const char *text;
		int err;
		uint64_t value;
	} cases[] = {
		{ "4096", 0, 4096 },
		{ "1K", 0, 1024 },
		{ "1k", 0, 1024 },
		{ "16m", 0, 16 << 20 },
		{ "0x10M", 0, 16 << 20 },
		{ "3G", 0, UINT64_C(3) << 30 },
		{ "2t", 0, UINT64_C(2) << 40 },
		{ "0T", 0, 0 },
		{ "16777215T", 0, UINT64_C(16777215) << 40 },
		{ "16777216T", -ERANGE, UNTOUCHED },
		{ "K", -EINVAL, UNTOUCHED },
		{ "", -EINVAL, UNTOUCHED },
		{ "1P", -EINVAL, UNTOUCHED },
		{ "1KB", -EINVAL, UNTOUCHED },
		{ "1KK", -EINVAL, UNTOUCHED },
		{ "1.5G", -EINVAL, UNTOUCHED },
		{ "1+", -EINVAL, UNTOUCHED },
		{ "1-", -EINVAL, UNTOUCHED },
		{ "1\xeb", -EINVAL, UNTOUCHED },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t got = UNTOUCHED;

		CU_ASSERT_EQUAL(parse_size(cases[i].text, &got), cases[i].err);
		CU_ASSERT_EQUAL(got, cases[i].value);
	}
}

/* Splits a copy that is exactly as long as the text, so that a sanitizer sees each overrun. */
static int split(const char *text, size_t max, const char *want)
{
	char *line = strdup(text), *words[8], joined[128] = "";
	int n = parse_words(line, words, max);

	for (int i = 0; i < n; i++) {
		strcat(joined, words[i]);
		strcat(joined, "|");
	}
	CU_ASSERT_STRING_EQUAL(joined, want);
	free(line);
	return n;
}

static void parse_word_lists(void)
{
	CU_ASSERT_EQUAL(split("", 8, ""), 0);
	CU_ASSERT_EQUAL(split(" \t ", 8, ""), 0);
	CU_ASSERT_EQUAL(split("one", 8, "one|"), 1);
	CU_ASSERT_EQUAL(split("  one\ttwo   three ", 8, "one|two|three|"), 3);
	CU_ASSERT_EQUAL(split("a \"b c\" d", 8, "a|b c|d|"), 3);
	CU_ASSERT_EQUAL(split("cmdline=\"a b\"c d", 8, "cmdline=a bc|d|"), 2);
	CU_ASSERT_EQUAL(split("\"\" x \"\"", 8, "|x||"), 3);
	CU_ASSERT_EQUAL(split("\"\"", 8, "|"), 1);
	CU_ASSERT_EQUAL(split("\"it\\'s \\\"so\\\" \\\\ c:\\d\" e", 8, "it's \"so\" \\ c:\\d|e|"),
			2);
	CU_ASSERT_EQUAL(split("a\\", 8, "a\\|"), 1);
	CU_ASSERT_EQUAL(split("\"a\\\"", 8, ""), -EINVAL);
	CU_ASSERT_EQUAL(split("a b c", 3, "a|b|c|"), 3);
	CU_ASSERT_EQUAL(split("a b c ", 3, "a|b|c|"), 3);
	CU_ASSERT_EQUAL(split("a b c d", 3, ""), -E2BIG);
	CU_ASSERT_EQUAL(split("a", 0, ""), -E2BIG);
	CU_ASSERT_EQUAL(split("a \"b", 8, ""), -EINVAL);
	CU_ASSERT_EQUAL(split("\"", 8, ""), -EINVAL);
}

static void parse_distances(void)
{
	char deep[64];

	CU_ASSERT_EQUAL(parse_distance("", "", 3), 0);
	CU_ASSERT_EQUAL(parse_distance("guests", "guests", 3), 0);
	CU_ASSERT_EQUAL(parse_distance("gests", "guests", 3), 1);
	CU_ASSERT_EQUAL(parse_distance("guests", "gests", 3), 1);
	CU_ASSERT_EQUAL(parse_distance("guezts", "guests", 3), 1);
	CU_ASSERT_EQUAL(parse_distance("kitten", "sitting", 3), 3);
	CU_ASSERT_EQUAL(parse_distance("", "abc", 3), 3);
	CU_ASSERT(parse_distance("quit", "walk", 2) > 2);
	memset(deep, 'a', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	CU_ASSERT(parse_distance(deep, "a", 3) > 3);
	CU_ASSERT(parse_distance("a", deep, 3) > 3);
	deep[32] = '\0';
	CU_ASSERT_EQUAL(parse_distance(deep, deep, 3), 0);
}

/* --- log and err ----------------------------------------------------------------------------- */

static char log_text[512];
static enum log_level log_got;
static unsigned log_count;

static void log_take(enum log_level level, const char *text)
{
	snprintf(log_text, sizeof(log_text), "%s", text);
	log_got = level;
	log_count++;
}

static void log_levels(void)
{
	enum log_level before = log_get_level();

	log_count = 0;
	log_set_output(log_take);
	log_set_level(LOG_WARN);
	CU_ASSERT_EQUAL(log_get_level(), LOG_WARN);
	log_info("no");
	log_debug("no");
	CU_ASSERT_EQUAL(log_count, 0);
	log_warn("%d of %s", 3, "them");
	CU_ASSERT_EQUAL(log_count, 1);
	CU_ASSERT_EQUAL(log_got, LOG_WARN);
	CU_ASSERT_STRING_EQUAL(log_text, "3 of them");
	log_error("worse");
	CU_ASSERT_EQUAL(log_got, LOG_ERROR);
	log_set_level(LOG_DEBUG);
	log_debug("all");
	CU_ASSERT_EQUAL(log_count, 3);
	log_set_output(NULL);
	log_error("into nothing");
	CU_ASSERT_EQUAL(log_count, 3);
	log_set_level(before);
}

/* A line has a bound; what exceeds it is cut, not written elsewhere. */
static void log_long_line(void)
{
	log_set_output(log_take);
	log_error("%0*d", 450, 1);
	CU_ASSERT_EQUAL(strlen(log_text), 399);
	log_set_output(NULL);
}

static void err_names(void)
{
	CU_ASSERT_STRING_EQUAL(err_name(EINVAL), "EINVAL");
	CU_ASSERT_STRING_EQUAL(err_name(-EINVAL), "EINVAL");
	CU_ASSERT_STRING_EQUAL(err_name(-ENOMEM), "ENOMEM");
	CU_ASSERT_STRING_EQUAL(err_name(-ETIMEDOUT), "ETIMEDOUT");
	CU_ASSERT_STRING_EQUAL(err_name(0), "E?");
	CU_ASSERT_STRING_EQUAL(err_name(9999), "E?");
	CU_ASSERT_STRING_EQUAL(err_name(INT_MIN), "E?");
	CU_ASSERT_STRING_EQUAL(err_name(INT_MAX), "E?");
}

/* --- list ------------------------------------------------------------------------------------ */

struct item {
	int value;
	struct list link;
};

static int list_digits(struct list *head)
{
	int digits = 0;

	list_for_each(i, head, struct item, link) digits = digits * 10 + i->value;
	return digits;
}

static void list_order(void)
{
	struct list head = LIST_INIT(head);
	struct item items[4] = { { .value = 1 }, { .value = 2 }, { .value = 3 }, { .value = 4 } };

	CU_ASSERT(list_empty(&head));
	CU_ASSERT_EQUAL(list_digits(&head), 0);
	for (unsigned i = 0; i < 4; i++)
		list_add_tail(&head, &items[i].link);
	CU_ASSERT(!list_empty(&head));
	CU_ASSERT_EQUAL(list_digits(&head), 1234);
	list_del(&items[1].link);
	CU_ASSERT_EQUAL(list_digits(&head), 134);
	list_del(&items[1].link);
	CU_ASSERT_EQUAL(list_digits(&head), 134);
	CU_ASSERT(list_empty(&items[1].link));
	list_del(&items[0].link);
	list_del(&items[3].link);
	CU_ASSERT_EQUAL(list_digits(&head), 3);
	list_add_tail(&head, &items[1].link);
	CU_ASSERT_EQUAL(list_digits(&head), 32);
	list_del(&items[2].link);
	list_del(&items[1].link);
	CU_ASSERT(list_empty(&head));
	CU_ASSERT_PTR_EQUAL(head.prev, &head);
}

/* --- contracts ------------------------------------------------------------------------------- */

static void break_requires(void *context)
{
	REQUIRES(context == NULL);
}

static void break_ensures(void *context)
{
	ENSURES(context == NULL);
}

static void break_invariant(void *context)
{
	INVARIANT(context == NULL);
}

static void break_must(void *context)
{
	MUST(context == NULL, "the answer is %d", 42);
}

static void contracts(void)
{
	int x;

	CU_ASSERT(panics(break_requires, &x, "precondition failed: context == NULL"));
	CU_ASSERT(panics(break_requires, &x, "break_requires, tests/unit/test_base.c:"));
	CU_ASSERT(panics(break_ensures, &x, "postcondition failed"));
	CU_ASSERT(panics(break_invariant, &x, "invariant failed"));
	CU_ASSERT(panics(break_must, &x, "break_must: the answer is 42"));
	CU_ASSERT(!panics(break_requires, NULL, ""));
	CU_ASSERT(!panics(break_must, NULL, ""));
}

/* --- the lock ledger ------------------------------------------------------------------------- */

struct pair {
	enum lock_class first, second;
};

static void take_pair(void *context)
{
	const struct pair *p = context;
	struct spinlock a = SPINLOCK_INIT(p->first), b = SPINLOCK_INIT(p->second);

	spin_lock(&a);
	spin_lock(&b);
	spin_unlock(&b);
	spin_unlock(&a);
}

/* Every pair of classes: downwards is allowed, a node in a node is, all else panics. */
static void ledger_order(void)
{
	for (int first = 0; first < LOCK_CLASSES; first++)
		for (int second = 0; second < LOCK_CLASSES; second++) {
			struct pair p = { (enum lock_class)first, (enum lock_class)second };
			bool allowed = first < second ||
				       (first == LOCK_NODE && second == LOCK_NODE);
			char text[64];

			snprintf(text, sizeof(text), "lock of class %d taken while one of class %d",
				 second, first);
			CU_ASSERT_EQUAL(panics(take_pair, &p, text), !allowed);
			if (allowed)
				take_pair(&p);
		}
	CU_ASSERT_EQUAL(lock_held(), 0);
}

static void release_unheld(void *context)
{
	(void)context;
	lock_order_exit(LOCK_ALLOC);
}

static void release_twice(void *context)
{
	struct spinlock *l = context;

	spin_lock(l);
	spin_unlock(l);
	spin_unlock(l);
}

static void ledger_release(void)
{
	struct spinlock l = SPINLOCK_INIT(LOCK_LEAF);

	CU_ASSERT(panics(release_unheld, NULL, "released but not held"));
	CU_ASSERT(panics(release_twice, &l, "released but not held"));
}

/* A cursor over a large space holds more nodes than 16 bits count. */
static void ledger_many(void)
{
	for (unsigned i = 0; i < 70000; i++)
		lock_order_enter(LOCK_NODE);
	CU_ASSERT_EQUAL(lock_held(), 70000);
	for (unsigned i = 0; i < 70000; i++)
		lock_order_exit(LOCK_NODE);
	CU_ASSERT_EQUAL(lock_held(), 0);
}

/* What one CPU holds does not bind another. */
static void ledger_per_cpu(void)
{
	struct spinlock inner = SPINLOCK_INIT(LOCK_LEAF), outer = SPINLOCK_INIT(LOCK_GUESTS);

	spin_lock(&inner);
	CU_ASSERT_EQUAL(lock_held(), 1);
	host_cpu = 1;
	CU_ASSERT_EQUAL(lock_held(), 0);
	spin_lock(&outer);
	CU_ASSERT_EQUAL(lock_held(), 1);
	spin_unlock(&outer);
	host_cpu = 0;
	spin_unlock(&inner);
	CU_ASSERT_EQUAL(lock_held(), 0);
}

/* --- the locks themselves -------------------------------------------------------------------- */

#define THREADS 4
#define ROUNDS	3000

static struct {
	struct spinlock spin;
	union rwlock rw;
	unsigned long count, copy; /* spin, or rw as a writer */
	_Atomic unsigned torn, readers, together;
} shared = { .spin = SPINLOCK_INIT(LOCK_LEAF) };

static void *spin_many(void *arg)
{
	host_cpu = (unsigned)(uintptr_t)arg;
	for (unsigned i = 0; i < ROUNDS; i++) {
		spin_lock(&shared.spin);
		shared.count++;
		spin_unlock(&shared.spin);
	}
	return NULL;
}

static void rw_write_once(void)
{
	rw_write_lock(&shared.rw);
	if (atomic_load(&shared.readers) != 0)
		atomic_fetch_add(&shared.torn, 1);
	shared.count++;
	shared.copy++;
	rw_write_unlock(&shared.rw);
}

static void rw_read_once(void)
{
	rw_read_lock(&shared.rw);
	if (atomic_fetch_add(&shared.readers, 1) != 0)
		atomic_fetch_add(&shared.together, 1);
	if (shared.count != shared.copy)
		atomic_fetch_add(&shared.torn, 1);
	atomic_fetch_sub(&shared.readers, 1);
	rw_read_unlock(&shared.rw);
}

static void *rw_many(void *arg)
{
	host_cpu = (unsigned)(uintptr_t)arg;
	for (unsigned i = 0; i < ROUNDS; i++)
		if ((i + host_cpu) % 4 == 0)
			rw_write_once();
		else
			rw_read_once();
	return NULL;
}

static void run_threads(void *(*f)(void *))
{
	pthread_t threads[THREADS];

	shared.count = shared.copy = 0;
	for (uintptr_t i = 0; i < THREADS; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, f, (void *)(i + 1)), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void spin_excludes(void)
{
	run_threads(spin_many);
	CU_ASSERT_EQUAL(shared.count, THREADS * ROUNDS);
}

static void rw_excludes(void)
{
	rw_init(&shared.rw);
	run_threads(rw_many);
	CU_ASSERT_EQUAL(shared.torn, 0);
	CU_ASSERT_EQUAL(shared.count, THREADS * ROUNDS / 4);
	CU_ASSERT(!rw_is_held(&shared.rw));
}

/* Counters wrap at 16 bits; readers and writers go on across it, and the user's bytes stay. */
static void rw_wraps(void)
{
	union rwlock l;

	rw_init(&l);
	l.user[0] = 0xa5;
	l.user[1] = 0x5a;
	for (unsigned i = 0; i < 70000; i++) {
		rw_read_lock(&l);
		rw_read_lock(&l);
		CU_ASSERT_FATAL(rw_is_held(&l));
		rw_read_unlock(&l);
		rw_read_unlock(&l);
		rw_write_lock(&l);
		CU_ASSERT_FATAL(rw_is_held(&l));
		rw_write_unlock(&l);
		CU_ASSERT_FATAL(!rw_is_held(&l));
	}
	CU_ASSERT_EQUAL(l.user[0], 0xa5);
	CU_ASSERT_EQUAL(l.user[1], 0x5a);
}

static void rw_born_locked(void)
{
	union rwlock l;

	rw_init_write_locked(&l);
	CU_ASSERT(rw_is_held(&l));
	rw_write_unlock(&l);
	CU_ASSERT(!rw_is_held(&l));
	rw_read_lock(&l);
	rw_read_unlock(&l);
	rw_write_lock(&l);
	rw_write_unlock(&l);
	CU_ASSERT(!rw_is_held(&l));
}

#define ALL(X)                   \
	X(print_integers)        \
	X(print_strings)         \
	X(print_unterminated)    \
	X(print_unknown)         \
	X(print_sizes)           \
	X(print_arguments_twice) \
	X(parse_numbers)         \
	X(parse_sizes)           \
	X(parse_word_lists)      \
	X(parse_distances)       \
	X(log_levels)            \
	X(log_long_line)         \
	X(err_names)             \
	X(list_order)            \
	X(contracts)             \
	X(ledger_order)          \
	X(ledger_release)        \
	X(ledger_many)           \
	X(ledger_per_cpu)        \
	X(spin_excludes)         \
	X(rw_excludes)           \
	X(rw_wraps)              \
	X(rw_born_locked)

void suite_base(void);
void suite_base(void)
{
	CU_pSuite s = CU_add_suite("base", NULL, NULL);

#define ADD(name) CU_add_test(s, #name, name);
	ALL(ADD)
}
