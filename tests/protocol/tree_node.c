/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/protocol/tree.h"

#include <stdio.h>

struct tree_setup setup;

const char *place_name(unsigned place)
{
	static const char *const names[PLACES] = { "root", "a", "b", "aa", "ab", "ba", "bb" };

	return names[place];
}

const char *entry_name(const struct tree *w, unsigned raw)
{
	static char text[32];

	if (!entry_table(raw))
		return raw == 0 ? "absent" : raw == ENTRY_LEAF ? "a leaf" : "a marked leaf";
	snprintf(text, sizeof(text), "node %u%s", raw - ENTRY_TABLE,
		 w->node[raw - ENTRY_TABLE].stray ? " (stray)" : "");
	return text;
}

unsigned node_take(struct tree *w, unsigned me, unsigned place)
{
	for (unsigned n = 0; n < setup.nodes; n++) {
		if (w->node[n].state != NODE_FREE)
			continue;
		w->node[n] = (struct node){ .state = NODE_USED, .place = place };
		if (setup.mutation != BORN_UNLOCKED) {
			w->node[n].next = 1;
			w->node[n].holders = 1U << me;
			w->node[n].writer = 1;
		}
		return n;
	}
	return NODES;
}

static bool in_hand(const struct thread *t, unsigned n)
{
	bool found = t->raw == n + ENTRY_TABLE;

	for (unsigned i = 0; i < LEVELS_MAX; i++)
		found |= t->at[i].node == n + 1;
	return found;
}

void node_give(struct tree *w, unsigned n)
{
	for (unsigned i = 0; i < setup.threads; i++)
		if (in_hand(&w->thread[i], n))
			explore_broken(R4, "T%u has node %u in hand, which is freed", i, n);
	w->node[n] = (struct node){ .state = NODE_FREE };
}

void entry_put(struct tree *w, unsigned me, unsigned n, unsigned slot, unsigned raw, int count)
{
	struct node *node = &w->node[n];

	if (!node->writer || node->holders != 1U << me)
		explore_broken(LOCKS, "T%u changes node %u without its lock", me, n);
	node->present += count;
	node->entry[slot] = raw;
}

void view_set(struct tree *w, unsigned first, unsigned count, bool mapped)
{
	for (unsigned page = first; page < first + count; page++) {
		w->view &= ~(1U << page);
		w->marks &= ~(1U << page);
		w->view |= (unsigned)mapped << page;
		for (unsigned i = 0; i < setup.threads; i++) {
			const struct job *job = job_of(w, i);

			if (job == NULL || w->thread[i].was == 0 || job->first != page)
				continue;
			if (job->deed == WALK)
				w->thread[i].was |= 1U << mapped;
			else if (job->deed == MARK)
				w->thread[i].was |= 1;
		}
	}
}

/* A ticket's turn: base/lock.h. A reader lets the next ticket read when it is in. */
static bool lock_served(struct node *n, unsigned ticket, bool write)
{
	if (write)
		return n->write == ticket;
	if (n->read != ticket)
		return false;
	n->read = (ticket + 1) & 3;
	if (setup.mutation == READERS_LET_WRITERS_IN)
		n->write = (n->write + 1) & 3;
	return true;
}

enum entered lock_enter(struct tree *w, unsigned me, unsigned n, bool write)
{
	struct thread *t = &w->thread[me];
	struct node *node = &w->node[n];
	bool drawn = t->waiting;

	if (!drawn) {
		t->ticket = node->next;
		node->next = (node->next + 1) & 3;
	}
	t->waiting = !lock_served(node, t->ticket, write);
	if (t->waiting) {
		SAY("waits for the lock of node %u", n);
		return drawn ? BLOCKED : QUEUED;
	}
	t->ticket = 0;
	if (node->writer || (write && node->holders != 0))
		explore_broken(LOCKS, "T%u enters node %u beside others", me, n);
	node->holders |= 1U << me;
	node->writer = write;
	SAY("locks node %u (%s) as a %s", n, place_name(node->place), write ? "writer" : "reader");
	return ENTERED;
}

void lock_leave(struct tree *w, unsigned me, unsigned n, bool write)
{
	struct node *node = &w->node[n];

	if (!(node->holders >> me & 1) || node->writer != write)
		explore_broken(LOCKS, "T%u leaves node %u, which it has not locked", me, n);
	SAY("unlocks node %u", n);
	node->holders &= ~(1U << me);
	node->writer = 0;
	if (write)
		node->read = (node->read + 1) & 3;
	if (write || setup.mutation != READERS_LET_WRITERS_IN)
		node->write = (node->write + 1) & 3;
	/* Nobody has a ticket: where the counters stand makes no difference. */
	if (node->next == node->write)
		node->next = node->read = node->write = 0;
}

void subtree_give(struct tree *w, unsigned n)
{
	for (unsigned i = 0; i < 2; i++)
		if (entry_table(w->node[n].entry[i]))
			subtree_give(w, w->node[n].entry[i] - ENTRY_TABLE);
	node_give(w, n);
}

/* --- pollers: epoch_poll --------------------------------------------------------------------- */

enum {
	REST,
	SCAN, /* and THREADS - 1 more */
	ADVANCE = SCAN + THREADS,
	FREE,
};

static unsigned ripe_age(void)
{
	return setup.mutation == GRACE_OF_ONE ? 1 : 2;
}

/* A deferred node whose grace period has passed. NODES: none. */
static unsigned node_ripe(const struct tree *w)
{
	for (unsigned n = 0; n < setup.nodes; n++)
		if (w->node[n].state == NODE_DEFERRED && w->node[n].age >= ripe_age())
			return n;
	return NODES;
}

static bool node_pending(const struct tree *w)
{
	for (unsigned n = 0; n < setup.nodes; n++)
		if (w->node[n].state == NODE_DEFERRED)
			return true;
	return false;
}

/* The first thread from `i` on that can still be inside a section. */
static unsigned scan_from(const struct tree *w, unsigned i)
{
	while (i < THREADS && (i >= setup.threads || thread_done(w, i)))
		i++;
	return SCAN + i;
}

/* What a poller frees is decided by the epoch that it knows. */
static void poller_free(struct tree *w, struct poller *p)
{
	p->pc = p->stale || node_ripe(w) == NODES ? REST : FREE;
	p->stale = 0;
}

static void epoch_older(struct tree *w)
{
	for (unsigned i = 0; i < setup.threads; i++) {
		if (w->thread[i].section == PRESENT)
			w->thread[i].section = OLDER;
		if (w->thread[i].seen == PRESENT)
			w->thread[i].seen = OLDER;
	}
	for (unsigned n = 0; n < setup.nodes; n++)
		if (w->node[n].state == NODE_DEFERRED && w->node[n].age < 2)
			w->node[n].age++;
	for (unsigned i = 0; i < setup.pollers; i++)
		w->poller[i].stale = w->poller[i].pc != REST;
}

static void poller_advance(struct tree *w, struct poller *p)
{
	if (p->stale) {
		SAY("advances no epoch: another one has");
	} else {
		SAY("advances the epoch");
		epoch_older(w);
	}
	p->stale = 0;
	poller_free(w, p);
}

static void poller_scan(struct tree *w, struct poller *p, unsigned i)
{
	unsigned section = w->thread[i].section;

	SAY("looks at T%u: %s", i, section == OUTSIDE ? "outside" : "inside");
	if (section == OLDER && !p->stale && setup.mutation != ADVANCE_UNSEEN)
		poller_free(w, p);
	else
		p->pc = scan_from(w, i + 1);
}

/* Children before their parent, one node a step. */
static void poller_give(struct tree *w, struct poller *p)
{
	unsigned n = node_ripe(w);

	for (unsigned i = 0; i < 2; i++) {
		unsigned raw = w->node[n].entry[i];

		if (entry_table(raw)) {
			w->node[n].entry[i] = 0;
			SAY("frees node %u below node %u", raw - ENTRY_TABLE, n);
			node_give(w, raw - ENTRY_TABLE);
			return;
		}
	}
	SAY("frees node %u", n);
	node_give(w, n);
	poller_free(w, p);
}

bool poller_step(struct tree *w, unsigned who)
{
	struct poller *p = &w->poller[who];

	if (p->pc == REST) {
		if (!setup.busy && !node_pending(w))
			return false;
		SAY("reads the epoch");
		p->pc = scan_from(w, 0);
	} else if (p->pc == ADVANCE) {
		poller_advance(w, p);
	} else if (p->pc == FREE && node_ripe(w) == NODES) {
		p->pc = REST; /* another poller was faster */
	} else if (p->pc == FREE) {
		poller_give(w, p);
	} else {
		poller_scan(w, p, p->pc - SCAN);
	}
	return true;
}

bool pollers_rest(const struct tree *w)
{
	for (unsigned i = 0; i < setup.pollers; i++)
		if (w->poller[i].pc != REST)
			return false;
	return !node_pending(w);
}
