/* SPDX-License-Identifier: MPL-2.0 */
/* Guest tables and registers at random, such that most walks get somewhere. */
#ifndef TESTS_HOST_GVA_RANDOM_H
#define TESTS_HOST_GVA_RANDOM_H

#include "tests/host/gva_world.h"

struct gva_case {
	struct gva_mode mode;
	uint64_t va;
	struct gva_access access;
};

/* The next case; writes the entries of its path into the world, over what earlier ones left. */
struct gva_case gva_random_case(uint64_t *seed);

#endif
