/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Tests with real threads, under ThreadSanitizer: each thread is a CPU of the host build. What they
 * look for is twofold: values that must not be seen, and accesses that nothing orders.
 */
#ifndef TESTS_TSAN_THREADS_H
#define TESTS_TSAN_THREADS_H

#include <stdbool.h>
#include <stdint.h>

#define THREADS 3

/* Runs f(0) .. f(n - 1) at the same time, each as the CPU of that number, and waits for all. */
void threads_run(unsigned n, void (*f)(unsigned cpu));

/* Frees what CPUs 0 .. n - 1 have deferred and empties their stacks of frames. */
void threads_settle(unsigned n);

/* Counts a failure of the running test and says where, the first few times. */
void check_failed(const char *what, const char *file, int line);

#define CHECK(cond)                                              \
	do {                                                     \
		if (!(cond))                                     \
			check_failed(#cond, __FILE__, __LINE__); \
	} while (0)

/* Seed of this run and CPU; see tests/host/random.h. */
uint64_t thread_seed(unsigned cpu);

/* Whether a thread that waits for the others should give up. */
void threads_stop(void);
bool threads_stopped(void);

/* The tests. */
void test_spinlock(void);
void test_rwlock(void);
void test_epoch_readers(void);
void test_tlb_litmus(void);
void test_frame_alloc(void);
void test_frame_last_put(void);
void test_frame_from_in_use(void);
void test_frame_to_unique(void);
void test_frame_shapes(void);
void test_frame_lists(void);
void test_frame_from_unused(void);
void test_engine_ept(void);
void test_engine_npt(void);
void test_engine_fake(void);
void test_grace(void);
void test_downgrade_ept(void);
void test_downgrade_npt(void);
void test_kvirt(void);
void test_ranges_ept(void);
void test_ranges_npt(void);
void test_vmio(void);

#endif
