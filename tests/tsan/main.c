/* SPDX-License-Identifier: MPL-2.0 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/epoch.h"
#include "mm/frame_alloc.h"
#include "tests/host/random.h"
#include "tests/tsan/threads.h"

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{ "spinlock", test_spinlock },
	{ "rwlock", test_rwlock },
	{ "epoch readers", test_epoch_readers },
	{ "tlb litmus", test_tlb_litmus },
	{ "frame alloc", test_frame_alloc },
	{ "last put", test_frame_last_put },
	{ "reference by address", test_frame_from_in_use },
	{ "unique for a while", test_frame_to_unique },
	{ "blocks split and joined", test_frame_shapes },
	{ "lists of frames", test_frame_lists },
	{ "memory without an owner", test_frame_from_unused },
	{ "engine, EPT", test_engine_ept },
	{ "engine, NPT", test_engine_npt },
	{ "engine, fake format", test_engine_fake },
	{ "grace period", test_grace },
	{ "downgrade, EPT", test_downgrade_ept },
	{ "downgrade, NPT", test_downgrade_npt },
	{ "areas", test_kvirt },
	{ "ranges, EPT", test_ranges_ept },
	{ "ranges, NPT", test_ranges_npt },
	{ "guest memory", test_vmio },
};

static _Atomic unsigned failures;
static _Atomic bool stopped;
static _Atomic unsigned ready; /* all start together */
static uint64_t seed;

struct job {
	void (*f)(unsigned cpu);
	unsigned cpu, n;
};

static void *job_run(void *arg)
{
	struct job *job = arg;

	host_cpu = job->cpu;
	atomic_fetch_add(&ready, 1);
	while (atomic_load(&ready) < job->n)
		cpu_relax();
	job->f(job->cpu);
	return NULL;
}

void threads_run(unsigned n, void (*f)(unsigned cpu))
{
	struct job jobs[MAX_CPUS];
	pthread_t threads[MAX_CPUS];

	atomic_store(&ready, 0);
	atomic_store(&stopped, false);
	for (unsigned i = 0; i < n; i++) {
		jobs[i] = (struct job){ .f = f, .cpu = i, .n = n };
		if (pthread_create(&threads[i], NULL, job_run, &jobs[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
}

void threads_settle(unsigned n)
{
	for (unsigned cpu = n; cpu-- > 0;) {
		host_cpu = cpu;
		epoch_drain();
		frame_alloc_drain();
	}
}

void threads_stop(void)
{
	atomic_store(&stopped, true);
}

bool threads_stopped(void)
{
	return atomic_load_explicit(&stopped, memory_order_relaxed);
}

void check_failed(const char *what, const char *file, int line)
{
	if (atomic_fetch_add(&failures, 1) < 5)
		printf("  %s:%d: %s\n", file, line, what);
}

uint64_t thread_seed(unsigned cpu)
{
	return seed * 64 + cpu;
}

/* run [NAME]: all tests, or the one of that name. */
int main(int argc, char **argv)
{
	const unsigned count = sizeof(tests) / sizeof(tests[0]);
	unsigned failed = 0, ran = 0;

	setvbuf(stdout, NULL, _IONBF, 0);
	seed = random_seed(1);
	printf("\n");
	for (unsigned i = 0; i < count; i++) {
		if (argc > 1 && strcmp(argv[1], tests[i].name) != 0)
			continue;
		ran++;
		atomic_store(&failures, 0);
		tests[i].run();
		printf("%s: %s\n", tests[i].name, failures == 0 ? "ok" : "FAILED");
		failed += failures != 0;
	}
	printf("%u passed, %u failed, 0 skipped\n", ran - failed, failed);
	return failed != 0 || ran == 0;
}
