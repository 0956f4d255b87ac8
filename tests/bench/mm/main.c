/* SPDX-License-Identifier: MPL-2.0 */
#define _GNU_SOURCE
#include <arch/layout.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "tests/bench/mm/bench.h"
#include "tests/bench/mm/instr.h"
#include "tests/host/arena.h"
#include "tests/host/random.h"

#define PAIR_TRIES   60
#define PAIR_SAMPLES 15
#define PAIR_LEAST   4
#define WARM_UPS     2

volatile uint64_t bench_sink;

static unsigned repeats = BENCH_REPEATS;
static uint32_t orders[2][BENCH_PAGES], lookups[BENCH_LOOKUPS];

const uint32_t *bench_order(unsigned which)
{
	return orders[which];
}

const uint32_t *bench_lookups(void)
{
	return lookups;
}

static void orders_make(void)
{
	uint64_t rng = 12345;

	for (unsigned which = 0; which < 2; which++) {
		uint32_t *o = orders[which];

		for (uint32_t i = 0; i < BENCH_PAGES; i++)
			o[i] = i;
		for (uint64_t i = BENCH_PAGES - 1; i > 0; i--) {
			uint64_t j = random_below(&rng, i + 1);
			uint32_t t = o[i];

			o[i] = o[j];
			o[j] = t;
		}
	}
	for (uint64_t i = 0; i < BENCH_LOOKUPS; i++)
		lookups[i] = (uint32_t)random_below(&rng, BENCH_PAGES);
}

static uint64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void pin(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), compare);
	return v[n / 2];
}

static void call(void (*f)(void))
{
	if (f != NULL)
		f();
}

static bool wanted(const char *id, char **ids, int count)
{
	for (int i = 0; i < count; i++)
		if (strncmp(id, ids[i], strlen(ids[i])) == 0)
			return true;
	return count == 0;
}

static void report(const char *id, const char *limit, uint64_t ops, double value)
{
	printf("%s %s ns %llu %.4f\n", id, limit != NULL ? limit : "-", (unsigned long long)ops,
	       value);
	fflush(stdout);
}

static void measure(const struct work *w)
{
	double sample[BENCH_REPEATS];

	for (unsigned i = 0; i < repeats; i++) {
		uint64_t start;

		call(w->prepare);
		CALLGRIND_START_INSTRUMENTATION;
		CALLGRIND_ZERO_STATS;
		start = now(CLOCK_THREAD_CPUTIME_ID);
		w->run();
		sample[i] = (double)(now(CLOCK_THREAD_CPUTIME_ID) - start) / (double)w->ops;
		CALLGRIND_DUMP_STATS_AT(w->id);
		CALLGRIND_STOP_INSTRUMENTATION;
		call(w->finish);
	}
	report(w->id, w->limit, w->ops, median(sample, repeats));
}

/* --- two threads ------------------------------------------------------------------------------ */

static struct {
	const struct pair_work *work;
	pthread_barrier_t barrier;
	uint64_t start[2], end[2], cpu[2];
} pair;

static void *pair_thread(void *context)
{
	unsigned me = (unsigned)(uintptr_t)context;
	uint64_t cpu;

	host_cpu = me;
	pin(me);
	pthread_barrier_wait(&pair.barrier);
	cpu = now(CLOCK_THREAD_CPUTIME_ID);
	pair.start[me] = now(CLOCK_MONOTONIC);
	pair.work->run(me);
	pair.end[me] = now(CLOCK_MONOTONIC);
	pair.cpu[me] = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
	return NULL;
}

/* Did both threads have a CPU all the time, and at the same time? */
static bool pair_fair(unsigned threads)
{
	uint64_t late = pair.start[0] > pair.start[1] ? pair.start[0] : pair.start[1];
	uint64_t early = pair.end[0] < pair.end[1] ? pair.end[0] : pair.end[1];

	for (unsigned i = 0; i < threads; i++) {
		uint64_t wall = pair.end[i] - pair.start[i];

		if (pair.cpu[i] * 100 < wall * 97)
			return false;
		if (threads == 2 && (early <= late || (early - late) * 100 < wall * 90))
			return false;
	}
	return true;
}

static double pair_once(const struct pair_work *w, unsigned threads)
{
	uint64_t start, end;
	pthread_t id[2];

	call(w->prepare);
	pair.work = w;
	pthread_barrier_init(&pair.barrier, NULL, threads);
	for (unsigned i = 0; i < threads; i++)
		pthread_create(&id[i], NULL, pair_thread, (void *)(uintptr_t)i);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(id[i], NULL);
	pthread_barrier_destroy(&pair.barrier);
	call(w->finish);
	if (!pair_fair(threads))
		return -1;
	start = threads == 1 || pair.start[0] < pair.start[1] ? pair.start[0] : pair.start[1];
	end = threads == 1 || pair.end[0] > pair.end[1] ? pair.end[0] : pair.end[1];
	return (double)(end - start) / (double)(w->ops * threads);
}

/* Nanoseconds of wall time an operation, both threads' operations counted together. */
static void measure_pair(const struct pair_work *w, unsigned threads)
{
	double sample[PAIR_SAMPLES];
	unsigned n = 0;
	char id[64];

	for (unsigned i = 0; i < PAIR_TRIES && n < PAIR_SAMPLES; i++) {
		double value = pair_once(w, threads);

		if (value > 0)
			sample[n++] = value;
	}
	snprintf(id, sizeof(id), "%s.%uT", w->id, threads);
	if (n >= PAIR_LEAST)
		report(id, w->limit, w->ops, median(sample, n));
	else
		printf("# %s: only %u of %u runs had their CPUs to themselves\n", id, n,
		       PAIR_TRIES);
}

/* --- all -------------------------------------------------------------------------------------- */

/* Memory that has been touched: what is measured is the memory manager, not the host's. */
static void memory_init(void)
{
	char why[128];

	arena_init(BENCH_RAM);
	madvise((void *)LINEAR_BASE, BENCH_RAM, MADV_HUGEPAGE);
	for (uint64_t at = 0; at < BENCH_RAM; at += PAGE_SIZE)
		*(volatile uint64_t *)(LINEAR_BASE + at) = 0;
	if (ept_setup(0xf0106734141 | 1 << 17, 46, why, sizeof(why)) != 0) {
		fprintf(stderr, "%s\n", why);
		exit(2);
	}
	npt_setup(true, 46);
}

int main(int argc, char **argv)
{
	const struct work *const works[] = { limit_works, table_works, frame_works, copy_works };
	const struct pair_work *const pairs[] = { limit_pairs, table_pairs, frame_pairs };
	bool once = argc > 1 && strcmp(argv[1], "--once") == 0;
	char **ids = argv + 1 + once;
	int count = argc - 1 - once;

	CALLGRIND_STOP_INSTRUMENTATION;
	if (once)
		repeats = 1;
	pin(1);
	orders_make();
	memory_init();
	for (unsigned i = 0; i < sizeof(works) / sizeof(works[0]); i++)
		for (const struct work *w = works[i]; w->id != NULL; w++)
			if (wanted(w->id, ids, count))
				measure(w);
	for (unsigned i = 0; i < 3 && !once; i++)
		for (const struct pair_work *w = pairs[i]; w->id != NULL; w++)
			for (unsigned threads = 1; threads <= 2; threads++)
				if (wanted(w->id, ids, count))
					measure_pair(w, threads);
	return 0;
}
