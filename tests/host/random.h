/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Random numbers that can be had again: each random test prints its seed, and SEED in the
 * environment replaces it.
 */
#ifndef TESTS_HOST_RANDOM_H
#define TESTS_HOST_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* A number from the environment, or `otherwise` when it is not there. */
static inline uint64_t random_env(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

/* The seed of a test, told on stdout. */
static inline uint64_t random_seed(uint64_t otherwise)
{
	uint64_t seed = random_env("SEED", otherwise);

	printf("[SEED=%llu] ", (unsigned long long)seed);
	return seed;
}

/* The next number of the sequence that *state stands for. (splitmix64) */
static inline uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* 0 .. n - 1. */
static inline uint64_t random_below(uint64_t *state, uint64_t n)
{
	return random_next(state) % n;
}

#endif
