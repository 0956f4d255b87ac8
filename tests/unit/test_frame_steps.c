/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One CPU between any two instructions of another. The CPU under test runs with the trap flag set,
 * so that after each of its instructions a signal handler can do what the other CPU does: once, at
 * the first instruction, then at the second, and so on; or something that can be undone, at each.
 * What this does not show is both halves in progress; that is for the tests with threads.
 */
#define _GNU_SOURCE
#include <CUnit/CUnit.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#include "base/err.h"
#include "mm/buddy.h"
#include "mm/frame_alloc.h"
#include "mm/frame_block.h"
#include "mm/frame_unique.h"
#include "tests/host/arena.h"

#define ARENA	  (UINT64_C(16) << 20)
#define TRAP_FLAG 0x100

static struct {
	unsigned at, now; /* at 0: the other at each instruction */
	void (*other)(void);
} step;

static void tell(const char *text)
{
	fprintf(stderr, "audit: %s\n", text);
}

static void on_trap(int sig, siginfo_t *info, void *context)
{
	ucontext_t *u = context;

	(void)sig;
	(void)info;
	step.now++;
	if (step.at != 0 && step.now != step.at)
		return;
	step.other();
	if (step.at != 0)
		u->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
}

static void set_trap_flag(void)
{
	__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; orq %0, (%%rsp); popfq;"
			 "lea 128(%%rsp), %%rsp" ::"i"(TRAP_FLAG)
			 : "memory", "cc");
}

static void clear_trap_flag(void)
{
	__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; andq %0, (%%rsp); popfq;"
			 "lea 128(%%rsp), %%rsp" ::"i"(~TRAP_FLAG)
			 : "memory", "cc");
}

/* Runs `mine`, and `other` at its instruction `at`, or at each. False: it has not as many. */
static bool run_stepped(unsigned at, void (*mine)(void), void (*other)(void))
{
	struct sigaction action = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO }, old;

	step.at = at;
	step.now = 0;
	step.other = other;
	sigaction(SIGTRAP, &action, &old);
	set_trap_flag();
	mine();
	clear_trap_flag();
	sigaction(SIGTRAP, &old, NULL);
	return step.now >= at;
}

/* --- blocks that change their shape ------------------------------------------------------------
 */

static struct frame *block, *seen, *got;
static bool starts_split;
static unsigned wrong;

/* Where it is allowed, and nobody else holds a part at this moment. */
static void split(void)
{
	if (frame_size(block) == SIZE_2M)
		frame_split(block);
}

static void join(void)
{
	if (frame_size(block) == PAGE_SIZE)
		frame_join(block);
}

static void split_join(void)
{
	split();
	join();
}

static void join_split(void)
{
	join();
	split();
}

static void look_head(void)
{
	struct frame *head = frame_head(seen);

	wrong += head != seen && head != block;
}

static void look_state(void)
{
	enum frame_state state = frame_state(seen);

	wrong += state == FRAME_STATE_UNUSED || state == FRAME_STATE_FREE;
}

static void look_in_use(void)
{
	int err = frame_from_in_use(frame_hpa(seen), &got);

	wrong += err != 0 && err != -EBUSY;
	if (err != 0)
		return;
	wrong += got > seen || seen >= got + frame_size(got) / PAGE_SIZE;
	wrong += frame_refs(got) < 2;
	frame_put(got);
}

static void look_unused(void)
{
	wrong += frame_from_unused(frame_hpa(seen), FRAME_KERNEL, &got) == 0;
}

static void reset_shape(void)
{
	bool is_split = frame_size(block) == PAGE_SIZE;

	if (is_split != starts_split) {
		if (is_split)
			join();
		else
			split();
	}
	CU_ASSERT_EQUAL(frame_size(block), starts_split ? PAGE_SIZE : SIZE_2M);
}

/* The observer is interrupted by changes of shape, whole ones, one after the other. */
static void observe_changes(void (*look)(void))
{
	static void (*const changes[2][2])(void) = { { split, split_join }, { join, join_split } };

	for (unsigned i = 0; i < 4; i++) {
		unsigned at = 1;

		starts_split = i >= 2;
		for (;; at++) {
			reset_shape();
			if (!run_stepped(at, look, changes[i / 2][i % 2]))
				break;
		}
		CU_ASSERT(at > 10);
	}
	CU_ASSERT_EQUAL(wrong, 0);
}

static void shapes_init(void)
{
	arena_init(ARENA);
	block = frame_alloc(FRAME_ORDER_2M, FRAME_GUEST, 0);
	seen = block + 1; /* the last part to become a head */
	wrong = 0;
}

static void shapes_fini(void)
{
	starts_split = false;
	reset_shape();
	CU_ASSERT_EQUAL(frame_refs(block), 1);
	frame_put(block);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

static void test_head_meanwhile(void)
{
	shapes_init();
	observe_changes(look_head);
	shapes_fini();
}

static void test_state_meanwhile(void)
{
	shapes_init();
	observe_changes(look_state);
	shapes_fini();
}

static void test_in_use_meanwhile(void)
{
	shapes_init();
	observe_changes(look_in_use);
	shapes_fini();
}

/* At each instruction of a change of shape all answers are true, and nothing is unused. */
static void test_each_instant(void)
{
	static void (*const looks[])(void) = { look_head, look_state, look_unused };

	shapes_init();
	for (unsigned i = 0; i < 3; i++) {
		for (seen = block + 1; seen < block + FRAME_PARTS; seen += 510) {
			run_stepped(0, split, looks[i]);
			CU_ASSERT_EQUAL(frame_size(block), PAGE_SIZE);
			CU_ASSERT(step.now > FRAME_PARTS);
			run_stepped(0, join, looks[i]);
			CU_ASSERT_EQUAL(frame_size(block), SIZE_2M);
		}
	}
	CU_ASSERT_EQUAL(wrong, 0);
	shapes_fini();
}

/* --- the last reference ------------------------------------------------------------------------
 */

static struct frame *last;
static unsigned ended;

static void note_end(struct frame *f)
{
	wrong += atomic_load(&f->refs) != FRAME_BUSY;
	ended++;
}

static void put_last(void)
{
	frame_put(last);
}

static void meet_last(void)
{
	int err = frame_from_in_use(frame_hpa(last), &got);

	wrong += err != 0 && err != -EBUSY && err != -EPERM && err != -EEXIST;
	if (err == 0)
		frame_put(got);
}

static void ends_init(unsigned refs)
{
	last = frame_alloc(0, FRAME_GUEST, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(last);
	frame_get_n(last, refs - 1);
	ended = 0;
}

/*
 * Asterinas #671: the last two references go at the same time, or one goes while somebody asks for
 * one more. The destructor runs once, whoever comes first.
 */
static void last_put_with(unsigned refs, void (*mine)(void), void (*other)(void))
{
	unsigned at = 1;

	arena_init(ARENA);
	frame_set_destructor(FRAME_GUEST, note_end);
	wrong = 0;
	for (;; at++) {
		bool reached;

		ends_init(refs);
		reached = run_stepped(at, mine, other);
		if (!reached)
			while (frame_refs(last) != 0)
				frame_put(last);
		CU_ASSERT_EQUAL(ended, 1);
		CU_ASSERT_EQUAL(frame_state(last), FRAME_STATE_FREE);
		if (!reached)
			break;
	}
	CU_ASSERT(at > 10);
	CU_ASSERT_EQUAL(wrong, 0);
	frame_set_destructor(FRAME_GUEST, NULL);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

static void test_last_two(void)
{
	last_put_with(2, put_last, put_last);
}

static void test_last_and_one_more(void)
{
	last_put_with(1, put_last, meet_last);
}

static void test_one_more_and_last(void)
{
	last_put_with(1, meet_last, put_last);
}

/* --- unique, or one more ------------------------------------------------------------------------
 */

static int unique_err, more_err;

static void make_unique(void)
{
	unique_err = frame_to_unique(last);
}

static void get_more(void)
{
	more_err = frame_from_in_use(frame_hpa(last), &got);
}

/* Whoever is first has it; never both, never neither. */
static void unique_or_more(void (*mine)(void), void (*other)(void))
{
	unsigned at = 1, uniques = 0, mores = 0;

	arena_init(ARENA);
	ends_init(1);
	while (run_stepped(at++, mine, other)) {
		CU_ASSERT((unique_err == 0 && more_err == -EACCES) ||
			  (unique_err == -EBUSY && more_err == 0));
		uniques += unique_err == 0;
		mores += more_err == 0;
		if (more_err == 0)
			frame_put(got);
		else
			frame_from_unique(last);
		CU_ASSERT_EQUAL(frame_refs(last), 1);
	}
	CU_ASSERT(uniques > 0 && mores > 0);
	arena_fini();
}

static void test_unique_then_more(void)
{
	unique_or_more(make_unique, get_more);
}

static void test_more_then_unique(void)
{
	unique_or_more(get_more, make_unique);
}

/* --- nothing of the allocator's ever looks as if it had no owner --------------------------------
 */

static unsigned attempts;

/* Frames here and there, if the lock is free: who waits for it cannot go on. */
static void try_unused(void)
{
	static uint64_t pfn;

	if (lock_held() != 0 || atomic_load(&buddy.lock.next) != atomic_load(&buddy.lock.serving))
		return;
	pfn = 1 + (pfn + 7) % 63;
	wrong += frame_from_unused(hpa(pfn * PAGE_SIZE), FRAME_KERNEL, &got) == 0;
	attempts++;
}

static void use_allocator(void)
{
	struct frame *f = frame_alloc(0, FRAME_GUEST, 0), *g = frame_alloc(3, FRAME_GUEST, 0);
	struct frame *run = frame_alloc_contiguous(13, 2, FRAME_KERNEL, 0);

	frame_put(f);
	frame_put(g);
	for (unsigned i = 0; i < 13; i++)
		frame_put(run + i);
	frame_alloc_prezero(2);
	frame_alloc_drain();
}

static void test_never_unowned(void)
{
	arena_init(64 * PAGE_SIZE);
	wrong = attempts = 0;
	for (unsigned i = 0; i < 3; i++)
		run_stepped(0, use_allocator, try_unused);
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(attempts > 1000);
	CU_ASSERT_EQUAL(frame_audit(tell), 0);
	arena_fini();
}

void suite_frame_steps(void);
void suite_frame_steps(void)
{
	CU_pSuite s = CU_add_suite("frames, step by step", NULL, NULL);

	CU_add_test(s, "head meanwhile", test_head_meanwhile);
	CU_add_test(s, "state meanwhile", test_state_meanwhile);
	CU_add_test(s, "reference meanwhile", test_in_use_meanwhile);
	CU_add_test(s, "each instant", test_each_instant);
	CU_add_test(s, "the last two references", test_last_two);
	CU_add_test(s, "the last, and one more", test_last_and_one_more);
	CU_add_test(s, "one more, and the last", test_one_more_and_last);
	CU_add_test(s, "unique, then one more", test_unique_then_more);
	CU_add_test(s, "one more, then unique", test_more_then_unique);
	CU_add_test(s, "never unowned", test_never_unowned);
}
