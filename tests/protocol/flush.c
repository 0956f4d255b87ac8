/* SPDX-License-Identifier: MPL-2.0 */
/* The changers of the flush model, and its properties. */
#include "tests/protocol/flush.h"

struct flush_setup flush_setup;

enum {
	LOCK,
	STORE,
	BUMP,
	EXCHANGE,    /* the even generation that was loaded by an odd one */
	SYNC_INSIDE, /* tlb_kick_stale: who is inside at all */
	STALE_INSIDE,
	STALE_SEEN,
	KICK,
	WAIT_INSIDE, /* tlb_wait */
	WAIT_SEEN,
	PUT,
	UNLOCK,
	LATE_STORE, /* the mutation that bumps first */
};

static unsigned errand_of(const struct changer *c, unsigned me)
{
	return c->errand < ERRANDS ? flush_setup.errands[me][c->errand] : ERRAND_NONE;
}

static unsigned page_of(unsigned errand)
{
	return (errand - 1) % PAGES;
}

static bool takes(unsigned errand)
{
	return errand == TAKE_0 || errand == TAKE_1;
}

static bool protects(unsigned errand)
{
	return errand == PROTECT_0 || errand == PROTECT_1;
}

/* A fresh frame for the page. 0: none; else frame + 1. */
static unsigned frame_take(struct flush *f, unsigned page)
{
	for (unsigned i = 0; i < FRAMES; i++) {
		if (f->use[i] == 0) {
			f->use[i] = page + 1;
			return i + 1;
		}
	}
	return 0;
}

static bool lock(struct flush *f, struct changer *c, unsigned me)
{
	unsigned errand = errand_of(c, me), page = page_of(errand);

	if (errand == ERRAND_NONE || f->locked[page] != 0)
		return false;
	f->locked[page] = me + 1;
	c->pc = flush_mutated(BUMP_FIRST) ? BUMP : STORE;
	SAY("locks page %u to %s it", page,
	    takes(errand)      ? "unmap"
	    : protects(errand) ? "protect"
			       : "replace");
	return true;
}

/* Changes the entry. What came out is in `frame`. False: nothing that needs a flush. */
static bool change(struct flush *f, struct changer *c, unsigned errand)
{
	unsigned page = page_of(errand), fresh = 0;
	struct translation *e = &f->entry[page];

	if (protects(errand)) {
		bool had = e->frame != 0 && e->write;

		e->write = 0;
		return had;
	}
	if (!takes(errand)) {
		fresh = frame_take(f, page);
		if (fresh == 0)
			return false;
	}
	c->frame = e->frame;
	*e = (struct translation){ .frame = fresh, .write = fresh != 0 };
	if (fresh != 0)
		f->revoked &= ~(1U << page);
	return c->frame != 0;
}

static bool store(struct flush *f, struct changer *c, unsigned me)
{
	unsigned errand = errand_of(c, me);
	bool flush = change(f, c, errand);

	SAY("changes entry %u", page_of(errand));
	if (flush)
		c->pc = flush_mutated(UNLOCK_BEFORE_FLUSH) ? UNLOCK : BUMP;
	else
		c->pc = UNLOCK;
	return true;
}

static void bumped(struct changer *c)
{
	if (flush_mutated(BUMP_FIRST))
		c->pc = LATE_STORE;
	else if (flush_mutated(INSIDE_FIRST))
		c->pc = STALE_INSIDE;
	else
		c->pc = flush_mutated(PUT_BEFORE_SYNC) ? PUT : SYNC_INSIDE;
}

/* Odd: a change that no CPU has entered since; ours is as good as part of it. */
static bool bump(struct flush *f, struct changer *c, unsigned me)
{
	(void)me;
	if (flush_mutated(INSIDE_FIRST))
		c->inside = f->inside;
	SAY("loads generation %u", f->generation);
	c->generation = f->generation;
	if ((c->generation & 1) != 0 || flush_mutated(NEVER_BUMPED))
		bumped(c);
	else
		c->pc = EXCHANGE;
	return true;
}

static bool exchange(struct flush *f, struct changer *c, unsigned me)
{
	(void)me;
	if (f->generation != c->generation) {
		SAY("finds generation %u", f->generation);
		c->generation = f->generation;
	} else {
		f->generation++;
		c->generation++;
		SAY("makes it generation %u", f->generation);
	}
	if ((c->generation & 1) != 0)
		bumped(c);
	return true;
}

static bool late_store(struct flush *f, struct changer *c, unsigned me)
{
	SAY("changes entry %u", page_of(errand_of(c, me)));
	c->pc = change(f, c, errand_of(c, me)) ? SYNC_INSIDE : UNLOCK;
	return true;
}

/* To the next CPU that was inside; after all of them, to waiting. */
static void kick_next(struct changer *c, unsigned cpu)
{
	while (cpu < CPUS && !(c->inside >> cpu & 1))
		cpu++;
	c->cpu = cpu < CPUS ? cpu : 0;
	c->pc = cpu < CPUS ? STALE_INSIDE : WAIT_INSIDE;
	if (cpu < CPUS)
		return;
	c->inside = 0;
	if (flush_mutated(NO_WAIT))
		c->pc = PUT;
}

static void wait_next(struct changer *c, unsigned cpu)
{
	c->cpu = cpu < CPUS ? cpu : 0;
	c->pc = WAIT_INSIDE;
	if (cpu == CPUS)
		c->pc = flush_mutated(PUT_BEFORE_SYNC) ? UNLOCK : PUT;
}

static bool sync_inside(struct flush *f, struct changer *c, unsigned me)
{
	(void)me;
	SAY("looks who is inside: %u", f->inside);
	c->inside = f->inside;
	kick_next(c, 0);
	return true;
}

/* tlb_stale in two loads, for kicking. */
static bool stale_inside(struct flush *f, struct changer *c, unsigned me)
{
	(void)me;
	SAY("sees CPU %u %s", c->cpu, f->inside >> c->cpu & 1 ? "inside" : "outside");
	if (!(f->inside >> c->cpu & 1) && !flush_mutated(INSIDE_FIRST))
		kick_next(c, c->cpu + 1U);
	else if (flush_mutated(INSIDE_FIRST) && !(c->inside >> c->cpu & 1))
		c->pc = PUT; /* nobody was inside before the bump */
	else
		c->pc = STALE_SEEN;
	return true;
}

static bool stale_seen(struct flush *f, struct changer *c, unsigned me)
{
	(void)me;
	SAY("sees that CPU %u has seen %u", c->cpu, f->cpu[c->cpu].seen);
	if (f->cpu[c->cpu].seen < c->generation && !flush_mutated(NO_KICK))
		c->pc = KICK;
	else
		kick_next(c, c->cpu + 1U);
	return true;
}

static bool kick(struct flush *f, struct changer *c, unsigned me)
{
	(void)me;
	SAY("kicks CPU %u", c->cpu);
	cpu_kick(f, c->cpu);
	kick_next(c, c->cpu + 1U);
	return true;
}

/* tlb_stale again, for waiting. */
static bool wait_inside(struct flush *f, struct changer *c, unsigned me)
{
	(void)me;
	SAY("waits: CPU %u is %s", c->cpu, f->inside >> c->cpu & 1 ? "inside" : "outside");
	if (f->inside >> c->cpu & 1)
		c->pc = WAIT_SEEN;
	else
		wait_next(c, c->cpu + 1U);
	return true;
}

static bool wait_seen(struct flush *f, struct changer *c, unsigned me)
{
	(void)me;
	SAY("waits: CPU %u has seen %u", c->cpu, f->cpu[c->cpu].seen);
	if (f->cpu[c->cpu].seen >= c->generation)
		wait_next(c, c->cpu + 1U);
	else
		c->pc = WAIT_INSIDE;
	return true;
}

static bool put(struct flush *f, struct changer *c, unsigned me)
{
	unsigned page = page_of(errand_of(c, me));

	if (c->frame != 0) {
		SAY("gives frame %u to the allocator", c->frame - 1U);
		f->use[c->frame - 1] = 0;
	} else {
		SAY("relies on what it took away");
		f->revoked |= 1U << page;
	}
	c->frame = 0;
	c->pc = flush_mutated(PUT_BEFORE_SYNC) ? SYNC_INSIDE : UNLOCK;
	return true;
}

static bool unlock(struct flush *f, struct changer *c, unsigned me)
{
	unsigned page = page_of(errand_of(c, me));

	if (f->locked[page] == me + 1) {
		SAY("unlocks page %u", page);
		f->locked[page] = 0;
		if (flush_mutated(UNLOCK_BEFORE_FLUSH) && c->frame != 0) {
			c->pc = BUMP;
			return true;
		}
	} else {
		SAY("has ended");
	}
	c->pc = LOCK;
	c->generation = 0;
	c->errand++;
	return true;
}

static bool changer_step(struct flush *f, unsigned me)
{
	static bool (*const steps[])(struct flush *, struct changer *, unsigned) = {
		[LOCK] = lock,
		[STORE] = store,
		[BUMP] = bump,
		[EXCHANGE] = exchange,
		[SYNC_INSIDE] = sync_inside,
		[STALE_INSIDE] = stale_inside,
		[STALE_SEEN] = stale_seen,
		[KICK] = kick,
		[WAIT_INSIDE] = wait_inside,
		[WAIT_SEEN] = wait_seen,
		[PUT] = put,
		[UNLOCK] = unlock,
		[LATE_STORE] = late_store,
	};

	return steps[f->changer[me].pc](f, &f->changer[me], me);
}

/* --- properties ------------------------------------------------------------------------------ */

/* A translation that CPU `cpu`, in the guest, can use or is about to. */
static void check_use(const struct flush *f, unsigned cpu, const struct translation *t)
{
	const struct translation *e = &f->entry[t->page];

	if (t->frame == 0)
		return;
	if (f->use[t->frame - 1] != t->page + 1)
		explore_broken(TLB2, "CPU %u can use frame %u as page %u, which is not its page's",
			       cpu, t->frame - 1U, t->page);
	if (t->write && f->revoked >> t->page & 1)
		explore_broken(TLB6, "CPU %u can write to page %u", cpu, t->page);
	if (f->locked[t->page] == 0 && (t->frame != e->frame || t->write > e->write))
		explore_broken(TLB1, "CPU %u knows page %u otherwise than the table", cpu, t->page);
}

static void flush_check(const void *state)
{
	const struct flush *f = state;

	for (unsigned i = 0; i < CPUS; i++) {
		if (!cpu_in_guest(f, i))
			continue;
		check_use(f, i, &f->cpu[i].tlb);
		check_use(f, i, &f->cpu[i].walk);
	}
}

static void flush_start(void *state)
{
	struct flush *f = state;

	f->generation = 2;
	for (unsigned page = 0; page < PAGES; page++) {
		f->entry[page] = (struct translation){ .frame = page + 1, .write = 1 };
		f->use[page] = page + 1;
	}
}

static bool flush_step(void *state, unsigned actor)
{
	if (actor < CHANGERS)
		return changer_step(state, actor);
	actor -= CHANGERS;
	return cpu_step(state, actor / CPU_ACTORS, actor % CPU_ACTORS);
}

static bool flush_end(const void *state)
{
	const struct flush *f = state;

	for (unsigned i = 0; i < CHANGERS; i++)
		if (errand_of(&f->changer[i], i) != ERRAND_NONE)
			return false;
	return true;
}

static const char *flush_name(unsigned actor)
{
	static const char *const names[] = { "A", "B", "CPU 0", "CPU 1" };

	return names[actor < CHANGERS ? actor : CHANGERS + (actor - CHANGERS) / CPU_ACTORS];
}

const struct model flush_model = {
	.size = sizeof(struct flush),
	.actors = CHANGERS + CPUS * CPU_ACTORS,
	.start = flush_start,
	.step = flush_step,
	.check = flush_check,
	.end = flush_end,
	.name = flush_name,
};
