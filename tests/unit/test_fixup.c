/* SPDX-License-Identifier: MPL-2.0 */
/* Accesses that may fault: every length and alignment around a page that is not there. */
#include <CUnit/CUnit.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/fixup.h"
#include "tests/host/fault.h"

#define NONCANONICAL ((uint8_t *)UINT64_C(0x8000000000000000))
#define MARK	     0xee

/* A page with all rights, and behind it one with what the test wants. */
struct area {
	uint8_t *edge; /* where the second page starts */
};

static struct area source, target;
static struct sigaction old_segv, old_bus; /* the sanitizer's */

static struct area area_new(int rights)
{
	uint8_t *p = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);

	CU_ASSERT_FATAL(p != MAP_FAILED);
	for (unsigned i = 0; i < 2 * PAGE_SIZE; i++)
		p[i] = (uint8_t)(i % 251 + 1);
	mprotect(p + PAGE_SIZE, PAGE_SIZE, rights);
	return (struct area){ p + PAGE_SIZE };
}

static void begin(int source_rights, int target_rights)
{
	sigaction(SIGSEGV, NULL, &old_segv);
	sigaction(SIGBUS, NULL, &old_bus);
	host_fault_catch();
	source = area_new(source_rights);
	target = area_new(target_rights);
}

static void end(void)
{
	munmap(source.edge - PAGE_SIZE, 2 * PAGE_SIZE);
	munmap(target.edge - PAGE_SIZE, 2 * PAGE_SIZE);
	sigaction(SIGSEGV, &old_segv, NULL);
	sigaction(SIGBUS, &old_bus, NULL);
}

/* Copies n bytes of which `good` can be: that many arrive, and no other byte of the target. */
static bool copies(size_t (*copy)(void *, const void *, size_t), uint8_t *to, const uint8_t *from,
		   size_t n, size_t good)
{
	uint8_t *whole = target.edge - PAGE_SIZE;
	size_t room = PAGE_SIZE - (size_t)(to - whole);

	memset(whole, MARK, PAGE_SIZE);
	if (copy(to, from, n) != n - good || memcmp(to, from, good) != 0)
		return false;
	for (size_t i = good; i < room; i++)
		if (to[i] != MARK)
			return false;
	return to == whole || to[-1] == MARK;
}

/* As vmio does: a word, and what that cannot do byte by byte. */
static size_t inline_copy(void *to, const void *from, size_t n)
{
	return fixup_copy_word(to, from, n) ? 0 : fixup_copy_any(to, from, n);
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Every count that can be read before the edge, for every length, wherever the target lies. */
static void each_source(size_t (*copy)(void *, const void *, size_t))
{
	unsigned wrong = 0;

	for (size_t n = 0; n <= 40; n++)
		for (size_t left = 0; left <= 40; left++)
			for (size_t shift = 0; shift < 9; shift++)
				wrong += !copies(copy, target.edge - 128 + shift,
						 source.edge - left, n, least(n, left));
	CU_ASSERT_EQUAL(wrong, 0);
}

static void each_target(size_t (*copy)(void *, const void *, size_t))
{
	unsigned wrong = 0;

	for (size_t n = 0; n <= 40; n++)
		for (size_t left = 0; left <= 40; left++)
			for (size_t shift = 0; shift < 9; shift++)
				wrong += !copies(copy, target.edge - left,
						 source.edge - 128 + shift, n, least(n, left));
	CU_ASSERT_EQUAL(wrong, 0);
}

static void test_source_faults(void)
{
	begin(PROT_NONE, PROT_NONE);
	each_source(fixup_copy_any);
	each_source(inline_copy);
	end();
}

static void test_target_faults(void)
{
	begin(PROT_NONE, PROT_NONE);
	each_target(fixup_copy_any);
	each_target(inline_copy);
	end();
	begin(PROT_NONE, PROT_READ);
	each_target(inline_copy);
	end();
}

/* Both sides end, each at its own place; and whole pages, up to the very end. */
static void test_both_fault(void)
{
	unsigned wrong = 0;

	begin(PROT_NONE, PROT_NONE);
	for (size_t a = 0; a <= 24; a++)
		for (size_t b = 0; b <= 24; b++)
			wrong += !copies(inline_copy, target.edge - a, source.edge - b, 32,
					 least(a, b));
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(copies(inline_copy, target.edge - PAGE_SIZE, source.edge - PAGE_SIZE, PAGE_SIZE,
			 PAGE_SIZE));
	CU_ASSERT(copies(inline_copy, target.edge - PAGE_SIZE, source.edge - PAGE_SIZE,
			 2 * PAGE_SIZE, PAGE_SIZE));
	CU_ASSERT(copies(inline_copy, target.edge - PAGE_SIZE, source.edge - PAGE_SIZE + 1,
			 PAGE_SIZE, PAGE_SIZE - 1));
	end();
}

/* A word at every place around the edge: there or not there, never in part. */
#define CHECK_WORD(n, type)                                                          \
	do {                                                                         \
		for (size_t left = 0; left <= 2 * (n); left++) {                     \
			const uint8_t *from = source.edge - left;                    \
			uint8_t *to = target.edge - left;                            \
			type value = 0x5a, want = 0x5a;                              \
			int err = left >= (n) ? 0 : -EFAULT;                         \
                                                                                     \
			if (err == 0)                                                \
				memcpy(&want, from, n);                              \
			CU_ASSERT_EQUAL(fixup_load##n(from, &value), err);           \
			CU_ASSERT_EQUAL(value, want);                                \
			memset(target.edge - 64, MARK, 64);                          \
			want = (type)UINT64_C(0x0807060504030201);                   \
			CU_ASSERT_EQUAL(fixup_store##n(to, want), err);              \
			if (err == 0)                                                \
				CU_ASSERT_EQUAL(memcmp(to, &want, n), 0);            \
			CU_ASSERT_EQUAL(to[-1], MARK);                               \
		}                                                                    \
		CU_ASSERT_EQUAL(fixup_load##n(NONCANONICAL, &(type){ 0 }), -EFAULT); \
		CU_ASSERT_EQUAL(fixup_store##n(NONCANONICAL, 0), -EFAULT);           \
	} while (0)

static void test_words(void)
{
	begin(PROT_NONE, PROT_NONE);
	CHECK_WORD(8, uint64_t);
	CHECK_WORD(4, uint32_t);
	CHECK_WORD(2, uint16_t);
	CHECK_WORD(1, uint8_t);
	end();
}

static void test_not_canonical(void)
{
	uint8_t bytes[64] = { 0 };

	begin(PROT_NONE, PROT_NONE);
	for (size_t n = 0; n <= sizeof(bytes); n++) {
		CU_ASSERT_EQUAL(inline_copy(bytes, NONCANONICAL, n), n);
		CU_ASSERT_EQUAL(inline_copy(NONCANONICAL, bytes, n), n);
	}
	end();
}

static void test_table(void)
{
	uint64_t to = 5;

	CU_ASSERT_FALSE(fixup_find((uint64_t)(uintptr_t)&test_table, &to));
	CU_ASSERT_FALSE(fixup_find(0, &to));
	CU_ASSERT_EQUAL(to, 5);
}

/* An access that has no entry ends the process, whatever was survived before. */
static void test_others_die(void)
{
	int status = 0;
	pid_t child;

	begin(PROT_NONE, PROT_NONE);
	child = fork();
	if (child == 0) {
		uint64_t value;
		uint8_t byte;

		if (fixup_load8(source.edge, &value) != -EFAULT)
			_exit(1);
		__asm__ volatile("movb (%1), %0" : "=q"(byte) : "r"(source.edge) : "memory");
		_exit(byte);
	}
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	end();
}

static unsigned reports;

static void count_report(const char *text)
{
	(void)text;
	reports++;
}

/* The audit that the console offers holds on a host too. */
static void test_audit(void)
{
	begin(PROT_NONE, PROT_NONE);
	reports = 0;
	CU_ASSERT_EQUAL(fixup_audit(count_report), 0);
	CU_ASSERT_EQUAL(reports, 0);
	end();
}

void suite_fixup(void);
void suite_fixup(void)
{
	CU_pSuite s = CU_add_suite("fix-up", NULL, NULL);

	CU_add_test(s, "source faults", test_source_faults);
	CU_add_test(s, "target faults", test_target_faults);
	CU_add_test(s, "both fault", test_both_fault);
	CU_add_test(s, "words", test_words);
	CU_add_test(s, "not canonical", test_not_canonical);
	CU_add_test(s, "table", test_table);
	CU_add_test(s, "other accesses die", test_others_die);
	CU_add_test(s, "audit", test_audit);
}
