/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The workloads of the memory manager, as an ordinary program: the engine without its contract
 * checks, and beside it, in the same run, the least that any memory manager has to do (limit.c).
 *
 *   run [--once] [--list] [ID...]     prints lines "ID LIMIT UNIT OPS VALUE", VALUE the median
 *
 * W1 to W9 are defined in docs/benchmarks.md. An operation is one 4 KiB page unless said.
 */
#ifndef TESTS_BENCH_MM_BENCH_H
#define TESTS_BENCH_MM_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

#define BENCH_PAGES   UINT64_C(262144) /* 1 GiB */
#define BENCH_VA      UINT64_C(0x4000000000)
#define BENCH_PA      UINT64_C(0x100001000) /* odd, so that nothing but 4 KiB pages fits */
#define BENCH_LOOKUPS UINT64_C(1048576)
#define BENCH_RAM     (3 * SIZE_1G)
#define BENCH_REPEATS 9

struct work {
	const char *id;
	const char *limit; /* id of the limit that it is compared with, or NULL */
	uint64_t ops;
	void (*prepare)(void); /* each before and after every run, not timed; may be NULL */
	void (*run)(void);
	void (*finish)(void);
};

/* Two threads at the same work. */
struct pair_work {
	const char *id;
	const char *limit;
	uint64_t ops; /* of one thread */
	void (*prepare)(void);
	void (*run)(unsigned thread);
	void (*finish)(void);
};

/* Each ends with an element without id. */
extern const struct work limit_works[], table_works[], frame_works[], copy_works[];
extern const struct pair_work limit_pairs[], table_pairs[], frame_pairs[];

/* 0 .. n - 1 in a random order, the same each time; `which` chooses one of two. */
const uint32_t *bench_order(unsigned which);
/* BENCH_LOOKUPS random numbers below BENCH_PAGES. */
const uint32_t *bench_lookups(void);

/* What a loop found out, so that it is not optimized away. */
extern volatile uint64_t bench_sink;

#endif
