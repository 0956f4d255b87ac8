/* SPDX-License-Identifier: MPL-2.0 */
/* Every mix of cursors over small trees, and of errands over two pages. */
#include <stdio.h>

#include "tests/protocol/flush.h"
#include "tests/protocol/protocol.h"
#include "tests/protocol/tree.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Pages 0..3; a is [0, 2), b is [2, 4). */
static const struct job two_levels[] = {
	{ WALK, 0, 1, false, "walk 0" },    { LOOK, 0, 1, false, "look 0" },
	{ LOOK, 0, 2, false, "look a" },    { LOOK, 1, 3, false, "look 1-2" },
	{ LOOK, 0, 4, false, "look all" },  { MAP, 0, 1, true, "map 0" },
	{ MAP, 1, 2, true, "map 1" },	    { MAP, 2, 3, true, "map 2" },
	{ MAP, 0, 2, true, "map 0 in a" },  { LARGE, 0, 2, true, "map a large" },
	{ UNMAP, 0, 1, true, "unmap 0" },   { UNMAP, 0, 2, true, "unmap a" },
	{ UNMAP, 1, 3, true, "unmap 1-2" }, { UNMAP, 0, 4, true, "unmap all" },
};

/* Pages 0..7; a is [0, 4), aa is [0, 2). */
static const struct job three_levels[] = {
	{ WALK, 0, 1, false, "walk 0" },    { LOOK, 0, 2, false, "look aa" },
	{ LOOK, 0, 8, false, "look all" },  { MAP, 0, 1, true, "map 0" },
	{ MAP, 2, 3, true, "map 2" },	    { MAP, 4, 5, true, "map 4" },
	{ MAP, 0, 4, true, "map 0 in a" },  { LARGE, 0, 4, true, "map a large" },
	{ UNMAP, 0, 1, true, "unmap 0" },   { UNMAP, 0, 2, true, "unmap aa" },
	{ UNMAP, 0, 4, true, "unmap a" },   { UNMAP, 1, 5, true, "unmap 1-4" },
	{ UNMAP, 0, 8, true, "unmap all" },
};

/* The ones that make, use and free tables: for longer lists of cursors. */
static const struct job short_list[] = {
	{ LOOK, 0, 2, false, "look a" },  { MAP, 0, 1, true, "map 0" },
	{ MAP, 2, 3, true, "map 2" },	  { MAP, 0, 2, true, "map 0 in a" },
	{ UNMAP, 0, 2, true, "unmap a" }, { UNMAP, 0, 4, true, "unmap all" },
};

/* The least with which a table is freed, and used for another place, while somebody looks for it.
 */
static const struct job reuse_list[] = {
	{ MAP, 0, 1, true, "map 0" },
	{ MAP, 2, 3, true, "map 2" },
	{ UNMAP, 0, 2, true, "unmap a" },
	{ WALK, 0, 1, false, "walk 0" },
};

/* With a full table: joins it, splits what was joined, takes it out. */
static const struct job join_list[] = {
	{ JOIN, 0, 2, true, "join a" },	  { WALK, 0, 1, false, "walk 0" },
	{ WALK, 1, 2, false, "walk 1" },  { LOOK, 0, 1, false, "look 0" },
	{ MAP, 0, 1, true, "map 0" },	  { UNMAP, 0, 1, true, "unmap 0" },
	{ UNMAP, 0, 2, true, "unmap a" }, { MARK, 0, 1, false, "mark 0" },
};

static const struct job deep_join_list[] = {
	{ JOIN, 0, 2, true, "join aa" },  { JOIN, 2, 4, true, "join ab" },
	{ JOIN, 0, 4, true, "join a" },	  { MARK, 0, 1, false, "mark 0" },
	{ WALK, 0, 1, false, "walk 0" },  { UNMAP, 1, 2, true, "unmap 1" },
	{ UNMAP, 0, 4, true, "unmap a" },
};

struct family {
	const char *name;
	const struct job *jobs;
	unsigned job_count;
	struct tree_setup setup;
	unsigned cursors[THREADS]; /* each thread's; those with as many are alike */
};

#define JOBS(list) (list), COUNT(list)

#define TREE(levels_, nodes_, threads_, pollers_, pages_, ...)                 \
	{                                                                      \
		.levels = (levels_), .nodes = (nodes_), .threads = (threads_), \
		.pollers = (pollers_), .pages = (pages_), ##__VA_ARGS__        \
	}

static const struct family families[] = {
	{ "2 levels, empty, 3 threads", JOBS(two_levels), TREE(2, 3, 3, 1, 0x0), { 1, 1, 1 } },
	{ "2 levels, page 0, 3 threads", JOBS(two_levels), TREE(2, 3, 3, 1, 0x1), { 1, 1, 1 } },
	{ "2 levels, no node free, 3 threads",
	  JOBS(two_levels),
	  TREE(2, 3, 3, 1, 0x5),
	  { 1, 1, 1 } },
	{ "3 levels, empty, 3 threads", JOBS(three_levels), TREE(3, 7, 3, 1, 0x0), { 1, 1, 1 } },
	{ "3 levels, 0 and 2, 3 threads", JOBS(three_levels), TREE(3, 5, 3, 1, 0x5), { 1, 1, 1 } },
	{ "2 pollers, busy, 2 threads",
	  JOBS(two_levels),
	  TREE(2, 3, 2, 2, 0x1, .busy = true),
	  { 1, 1 } },
	{ "3 levels, full, 2 pollers", JOBS(three_levels), TREE(3, 8, 2, 2, 0xff), { 1, 1 } },
	{ "join, 3 threads", JOBS(join_list), TREE(2, 3, 3, 1, 0x3), { 1, 1, 1 } },
	{ "join, 3 levels, 3 threads", JOBS(deep_join_list), TREE(3, 6, 3, 1, 0xf), { 1, 1, 1 } },
	{ "join, 2 threads, 2 cursors each", JOBS(join_list), TREE(2, 3, 2, 1, 0x3), { 2, 2 } },
	{ "2 threads, 2 cursors each", JOBS(short_list), TREE(2, 3, 2, 1, 0x1), { 2, 2 } },
	{ "the same in one section",
	  JOBS(short_list),
	  TREE(2, 3, 2, 1, 0x1, .nested = true),
	  { 2, 2 } },
	{ "reuse, 3 threads, busy",
	  JOBS(reuse_list),
	  TREE(2, 3, 3, 1, 0x1, .busy = true),
	  { 1, 1, 1 } },
	{ "reuse, 3 threads, one 2 cursors", JOBS(reuse_list), TREE(2, 3, 3, 1, 0x1), { 2, 1, 1 } },
	{ "reuse, 2 threads, 3 cursors each", reuse_list, 3, TREE(2, 3, 2, 1, 0x1), { 3, 3 } },
};

/* Fills the lists with the jobs that the digits of `code` name. False: a mix of threads that are
 * alike, which was there before in another order. */
static bool family_mix(const struct family *f, unsigned code)
{
	unsigned before = 0;

	setup = f->setup;
	for (unsigned i = 0; i < f->setup.threads; i++) {
		unsigned list = 0;

		for (unsigned k = 0; k < f->cursors[i]; k++) {
			setup.jobs[i][k] = &f->jobs[code % f->job_count];
			list = list * f->job_count + code % f->job_count;
			code /= f->job_count;
		}
		if (i != 0 && f->cursors[i] == f->cursors[i - 1] && list < before)
			return false;
		before = list;
	}
	return code == 0;
}

/* All mixes in which the first thread begins with job `first`. */
static void family_explore(const struct family *f, unsigned first)
{
	struct sum s = { 0 };
	unsigned end = 1;

	for (unsigned i = 0; i < f->setup.threads; i++)
		for (unsigned k = 0; k < f->cursors[i]; k++)
			end *= f->job_count;
	for (unsigned code = first; code < end && !s.broken; code += f->job_count)
		if (family_mix(f, code))
			sum_explore(&s, tree_model());
	report(!s.broken, "%s; %s against all: %u mixes, %llu states, %u steps deep", f->name,
	       f->jobs[first].name, s.mixes, (unsigned long long)s.states, s.depth);
}

void tree_mixes(void)
{
	for (unsigned i = 0; i < COUNT(families); i++)
		for (unsigned first = 0; first < families[i].job_count; first++)
			family_explore(&families[i], first);
}

/* --- the flush model ------------------------------------------------------------------------- */

static const char *const errand_names[ERRANDS_ALL] = {
	[ERRAND_NONE] = "nothing", [TAKE_0] = "unmap 0",      [TAKE_1] = "unmap 1",
	[PROTECT_0] = "protect 0", [PROTECT_1] = "protect 1", [REPLACE_0] = "replace 0",
	[REPLACE_1] = "replace 1",
};

struct flush_family {
	const char *name;
	struct flush_setup setup;
	unsigned second; /* how many second errands of A there are to choose from, and */
	unsigned other;	 /* how many first errands of B */
};

static const struct flush_family flush_families[] = {
	{ "2 CPUs, 2 pages, one changer with 2 errands",
	  { .cpus = 2, .pages = 2, .restless = true },
	  ERRANDS_ALL,
	  1 },
	{ "2 CPUs that leave only when kicked, 1 page, 2 changers",
	  { .cpus = 2, .pages = 1 },
	  1,
	  PROTECT_1 },
	{ "1 CPU, 2 pages, 2 changers, one with 2 errands",
	  { .cpus = 1, .pages = 2, .restless = true },
	  ERRANDS_ALL,
	  ERRANDS_ALL },
};

/* All mixes in which A begins with errand `first`, on page 0: the pages are alike. */
static void flush_explore(const struct flush_family *f, unsigned first)
{
	struct sum s = { 0 };

	for (unsigned a = 0; a < f->second; a++) {
		for (unsigned b = 0; b < f->other && !s.broken; b++) {
			flush_setup = f->setup;
			flush_setup.errands[0][0] = first;
			flush_setup.errands[0][1] = a;
			flush_setup.errands[1][0] = b;
			sum_explore(&s, &flush_model);
		}
	}
	report(!s.broken, "%s; %s against all: %u mixes, %llu states, %u steps deep", f->name,
	       errand_names[first], s.mixes, (unsigned long long)s.states, s.depth);
}

void flush_mixes(void)
{
	for (unsigned i = 0; i < COUNT(flush_families); i++)
		for (unsigned first = TAKE_0; first < ERRANDS_ALL; first += PAGES)
			flush_explore(&flush_families[i], first);
}
