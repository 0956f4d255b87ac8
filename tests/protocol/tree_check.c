/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/protocol/tree.h"

#define NOWHERE 0xff

/* By place: the node there, as somebody finds it who walks down from the root. */
struct map {
	uint8_t node[PLACES];
};

static void map_add(const struct tree *w, struct map *m, unsigned place, unsigned n)
{
	const struct node *node = &w->node[n];

	m->node[place] = n;
	if (node->state != NODE_USED || node->place != place)
		explore_broken(R3, "the entry for %s leads to node %u, which is not it",
			       place_name(place), n);
	if (node->stray)
		explore_broken(T5, "node %u is stray and at %s", n, place_name(place));
}

static struct map map_of(const struct tree *w)
{
	struct map m;

	for (unsigned place = 0; place < PLACES; place++) {
		const struct node *parent;
		unsigned raw;

		m.node[place] = NOWHERE;
		if (place == 0) {
			map_add(w, &m, 0, 0);
			continue;
		}
		if (m.node[(place - 1) / 2] == NOWHERE || place_level(place) == 0)
			continue;
		parent = &w->node[m.node[(place - 1) / 2]];
		raw = parent->entry[(place - 1) % 2];
		if (entry_table(raw))
			map_add(w, &m, place, raw - ENTRY_TABLE);
	}
	return m;
}

static void check_nodes(const struct tree *w)
{
	unsigned seen = 0;

	for (unsigned n = 0; n < setup.nodes; n++) {
		const struct node *node = &w->node[n];

		if (node->state == NODE_FREE)
			continue;
		if (node->present != (node->entry[0] != 0) + (node->entry[1] != 0) &&
		    node->state == NODE_USED)
			explore_broken(COUNTS, "node %u counts %u entries", n, node->present);
		if (node->stray || node->state != NODE_USED)
			continue;
		if (seen >> node->place & 1)
			explore_broken(R3, "%s has two nodes that are not stray",
				       place_name(node->place));
		seen |= 1U << node->place;
	}
}

static bool overlap(const struct job *a, unsigned first, unsigned end)
{
	return a->first < end && first < a->end;
}

static void check_pairs(const struct tree *w)
{
	for (unsigned i = 0; i < setup.threads; i++) {
		const struct job *a = job_of(w, i);

		for (unsigned k = i + 1; k < setup.threads && w->thread[i].locked; k++) {
			const struct job *b = job_of(w, k);

			if (w->thread[k].locked && (a->change || b->change) &&
			    overlap(a, b->first, b->end))
				explore_broken(R2, "T%u and T%u have locked the same pages", i, k);
		}
	}
}

static void check_cursor(const struct tree *w, const struct map *m, unsigned me)
{
	const struct thread *t = &w->thread[me];
	const struct job *job = job_of(w, me);
	unsigned guard = t->at[t->guard - 1].node - 1U;

	if (m->node[w->node[guard].place] != guard || w->node[guard].stray)
		explore_broken(R7, "T%u covers its range by node %u, which is not in the tree", me,
			       guard);
	for (unsigned p = 0; p < PLACES; p++) {
		const struct node *node = &w->node[m->node[p] & (NODES - 1)];

		if (m->node[p] == NOWHERE || place_level(p) > t->guard ||
		    !overlap(job, place_first(p), place_end(p)))
			continue;
		if (!(node->holders >> me & 1) || node->writer != job->change)
			explore_broken(R5, "T%u has not locked node %u (%s)", me, m->node[p],
				       place_name(p));
	}
}

/* The pages that a node's own leaves map; with ENTRY_MARKED those of marked leaves only. */
static unsigned node_pages(const struct tree *w, unsigned place, unsigned n, unsigned least)
{
	unsigned size = 1U << (place_level(place) - 1), pages = 0;

	for (unsigned slot = 0; slot < 2; slot++) {
		unsigned raw = w->node[n].entry[slot];

		if (entry_leaf(raw) && raw >= least)
			pages |= ((1U << size) - 1) << (place_first(place) + slot * size);
	}
	return pages;
}

/* Pages whose marks somebody is about to gather; nobody may look at them meanwhile. */
static unsigned joining(const struct tree *w)
{
	unsigned pages = 0;

	for (unsigned i = 0; i < setup.threads; i++) {
		const struct job *job = job_of(w, i);

		if (w->thread[i].locked && job->deed == JOIN)
			pages |= ((1U << (job->end - job->first)) - 1) << job->first;
	}
	return pages;
}

static void check_view(const struct tree *w, const struct map *m)
{
	unsigned pages = 0, marked = 0, lost;

	for (unsigned p = 0; p < PLACES; p++) {
		if (m->node[p] == NOWHERE)
			continue;
		pages |= node_pages(w, p, m->node[p], ENTRY_LEAF);
		marked |= node_pages(w, p, m->node[p], ENTRY_MARKED);
	}
	if (pages != w->view)
		explore_broken(VIEW, "the tree maps pages %#x, the cursors have mapped %#x", pages,
			       w->view);
	lost = w->marks & ~marked & ~joining(w);
	if (lost != 0)
		explore_broken(MARKS, "the marks of pages %#x are lost", lost);
}

static void check_end(const struct tree *w, const struct map *m)
{
	for (unsigned n = 0; n < setup.nodes; n++) {
		const struct node *node = &w->node[n];

		if (node->state == NODE_FREE)
			continue;
		if (m->node[node->place] != n)
			explore_broken(END, "node %u is neither in the tree nor free", n);
		if (node->holders != 0 || node->next != node->write)
			explore_broken(END, "node %u is still locked", n);
	}
}

static bool all_done(const struct tree *w)
{
	for (unsigned i = 0; i < setup.threads; i++)
		if (!thread_done(w, i))
			return false;
	return pollers_rest(w);
}

void tree_check(const void *state)
{
	const struct tree *w = state;
	struct map m = map_of(w);

	check_nodes(w);
	check_pairs(w);
	check_view(w, &m);
	for (unsigned i = 0; i < setup.threads; i++)
		if (w->thread[i].locked)
			check_cursor(w, &m, i);
	if (all_done(w))
		check_end(w, &m);
}

/* --- the model ------------------------------------------------------------------------------- */

/* The nodes that lead to a page that is mapped at the start. */
static void start_page(struct tree *w, unsigned page)
{
	unsigned n = 0, place = 0;

	for (unsigned level = setup.levels; level > 1; level--) {
		unsigned slot = page >> (level - 1) & 1;

		place = 2 * place + 1 + slot;
		if (w->node[n].entry[slot] == 0) {
			unsigned child = 1;

			while (w->node[child].state != NODE_FREE)
				child++;
			w->node[child] = (struct node){ .state = NODE_USED, .place = place };
			w->node[n].entry[slot] = (child + ENTRY_TABLE);
			w->node[n].present++;
		}
		n = w->node[n].entry[slot] - ENTRY_TABLE;
	}
	w->node[n].entry[page & 1] = ENTRY_LEAF;
	w->node[n].present++;
}

static void tree_start(void *state)
{
	struct tree *w = state;

	w->node[0].state = NODE_USED;
	w->view = setup.pages;
	for (unsigned page = 0; page < 1U << setup.levels; page++)
		if (setup.pages >> page & 1)
			start_page(w, page);
	for (unsigned i = 0; i < setup.threads; i++)
		thread_start(w, i);
}

static bool tree_step(void *state, unsigned actor)
{
	return actor < setup.threads ? thread_step(state, actor)
				     : poller_step(state, actor - setup.threads);
}

static bool tree_end(const void *state)
{
	return all_done(state);
}

static const char *tree_name(unsigned actor)
{
	static const char *const names[] = { "T0", "T1", "T2" };

	return actor < setup.threads ? names[actor] : "poller";
}

const struct model *tree_model(void)
{
	static struct model m = {
		.size = sizeof(struct tree),
		.start = tree_start,
		.step = tree_step,
		.check = tree_check,
		.end = tree_end,
		.name = tree_name,
	};

	m.actors = setup.threads + setup.pollers;
	return &m;
}
