/* SPDX-License-Identifier: MPL-2.0 */
/* The CPUs of the flush model: tlb_enter and tlb_leave, and what hv/ does around them. */
#include "tests/protocol/flush.h"

enum {
	OUT, /* a kick that comes now is forgotten by the first step */
	SET_INSIDE,
	LOAD_GENERATION,
	ADVANCE, /* the odd generation that was loaded to the even one after it */
	STORE_SEEN,
	FLUSH,
	CLEAR_KICK, /* the mutation that forgets kicks after tlb_enter */
	CHECK_KICK,
	RUN,
	CLEAR_INSIDE,
	RUN_OUTSIDE, /* the mutation that clears `inside` before it has left */
};

bool cpu_in_guest(const struct flush *f, unsigned cpu)
{
	return f->cpu[cpu].pc == RUN || f->cpu[cpu].pc == RUN_OUTSIDE;
}

static bool clear_kick(struct flush *f, struct cpu *c, unsigned me)
{
	(void)f, (void)me;
	SAY("forgets earlier kicks");
	c->kicked = 0;
	if (c->pc == CLEAR_KICK)
		c->pc = CHECK_KICK;
	else
		c->pc = flush_mutated(GENERATION_FIRST) ? LOAD_GENERATION : SET_INSIDE;
	return true;
}

/* What the generation that was loaded says. */
static void compare(struct cpu *c)
{
	if (c->seen != c->generation)
		c->pc = STORE_SEEN;
	else
		c->pc = flush_mutated(KICK_CLEARED_LATE) ? CLEAR_KICK : CHECK_KICK;
}

void cpu_kick(struct flush *f, unsigned cpu)
{
	f->cpu[cpu].kicked = f->cpu[cpu].pc != OUT;
}

static bool set_inside(struct flush *f, struct cpu *c, unsigned me)
{
	SAY("sets `inside`");
	f->inside |= 1U << me;
	if (flush_mutated(GENERATION_FIRST))
		compare(c);
	else
		c->pc = LOAD_GENERATION;
	return true;
}

/* Odd: something has changed since the last CPU entered. */
static void loaded(struct cpu *c)
{
	if ((c->generation & 1) != 0 && !flush_mutated(ODD_KEPT))
		c->pc = ADVANCE;
	else if (flush_mutated(GENERATION_FIRST))
		c->pc = SET_INSIDE;
	else
		compare(c);
}

static bool load_generation(struct flush *f, struct cpu *c, unsigned me)
{
	(void)me;
	SAY("loads generation %u, has seen %u", f->generation, c->seen);
	c->generation = f->generation;
	loaded(c);
	return true;
}

static bool advance(struct flush *f, struct cpu *c, unsigned me)
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
	loaded(c);
	return true;
}

static bool store_seen(struct flush *f, struct cpu *c, unsigned me)
{
	(void)f, (void)me;
	SAY("stores that it has seen %u", c->generation);
	c->seen = c->generation;
	c->generation = 0;
	c->pc = FLUSH;
	return true;
}

static bool flush(struct flush *f, struct cpu *c, unsigned me)
{
	(void)f, (void)me;
	if (!flush_mutated(NO_FLUSH)) {
		SAY("flushes");
		c->tlb = (struct translation){ 0 };
	} else {
		SAY("should flush");
	}
	c->pc = flush_mutated(KICK_CLEARED_LATE) ? CLEAR_KICK : CHECK_KICK;
	return true;
}

static bool check_kick(struct flush *f, struct cpu *c, unsigned me)
{
	(void)f, (void)me;
	SAY(c->kicked ? "was kicked: does not enter" : "enters the guest");
	c->generation = 0;
	c->pc = c->kicked ? CLEAR_INSIDE : RUN;
	return true;
}

static void leave(struct cpu *c)
{
	if (flush_mutated(LEAVE_EARLY)) {
		SAY("is about to leave the guest");
		c->pc = RUN_OUTSIDE;
	} else {
		SAY("leaves the guest");
		c->walk = (struct translation){ 0 };
		c->pc = CLEAR_INSIDE;
	}
}

static bool run(struct flush *f, struct cpu *c, unsigned me)
{
	(void)f, (void)me;
	if (!c->kicked)
		return false;
	leave(c);
	return true;
}

static void cpu_out(struct cpu *c)
{
	c->pc = OUT;
	c->kicked = 0; /* what its next step does makes no difference earlier */
}

static bool clear_inside(struct flush *f, struct cpu *c, unsigned me)
{
	SAY("clears `inside`");
	f->inside &= ~(1U << me);
	cpu_out(c);
	return true;
}

/* The first step clears `inside`, the second one leaves. */
static bool run_outside(struct flush *f, struct cpu *c, unsigned me)
{
	if (f->inside >> me & 1) {
		SAY("clears `inside`");
		f->inside &= ~(1U << me);
	} else {
		SAY("leaves the guest");
		c->walk = (struct translation){ 0 };
		cpu_out(c);
	}
	return true;
}

/* The table's walker in the guest: loads the entry, then fills what it loaded. */
static bool walker(struct flush *f, struct cpu *c, unsigned me, unsigned page)
{
	if (!cpu_in_guest(f, me))
		return false;
	if (c->walk.frame == 0) {
		bool known = c->tlb.frame != 0 && c->tlb.page == page;

		if (known || f->entry[page].frame == 0)
			return false;
		c->walk = f->entry[page];
		c->walk.page = page;
		SAY("walks: page %u is frame %u%s", page, c->walk.frame - 1U,
		    c->walk.write ? ", writable" : "");
	} else {
		if (c->walk.page != page)
			return false;
		SAY("fills its TLB with page %u", page);
		c->tlb = c->walk;
		c->walk = (struct translation){ 0 };
	}
	return true;
}

bool cpu_step(struct flush *f, unsigned cpu, unsigned part)
{
	static bool (*const steps[])(struct flush *, struct cpu *, unsigned) = {
		[OUT] = clear_kick,
		[CLEAR_KICK] = clear_kick,
		[SET_INSIDE] = set_inside,
		[LOAD_GENERATION] = load_generation,
		[ADVANCE] = advance,
		[STORE_SEEN] = store_seen,
		[FLUSH] = flush,
		[CHECK_KICK] = check_kick,
		[RUN] = run,
		[CLEAR_INSIDE] = clear_inside,
		[RUN_OUTSIDE] = run_outside,
	};
	struct cpu *c = &f->cpu[cpu];

	if (cpu >= flush_setup.cpus)
		return false;
	if (part == 0)
		return steps[c->pc](f, c, cpu);
	if (part <= PAGES)
		return part <= flush_setup.pages && walker(f, c, cpu, part - 1);
	if (!flush_setup.restless || c->pc != RUN)
		return false;
	leave(c);
	return true;
}
