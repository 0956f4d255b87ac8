/* SPDX-License-Identifier: MPL-2.0 */
#include "base/err.h"
#include "tests/fuzz/parties.h"
#include "tests/fuzz/step.h"

static const char *const names[CURSORS] = { "a", "b", "c", "d", "e", "f", "g", "h" };

/* The cursor that was taken last; while `pinned`, it is always that one. */
static unsigned last;
static bool pinned;

/* Copies of it end with it. */
static void dispose(struct cursor *c)
{
	vm_io_dispose(&c->real.io);
	parties_release(&guest_space, c->real.io.id);
	c->active = false;
	for (unsigned i = 0; i < CURSORS; i++) {
		if (&cursors[i] == c || cursors[i].original != c->original)
			continue;
		cursors[i].kind = CURSOR_NONE;
		cursors[i].active = false;
	}
}

static void close(unsigned k)
{
	struct cursor *c = &cursors[k];

	if (c->original == k && c->active)
		dispose(c);
	if (c->original == k && c->kind > CURSOR_OVER_HOST)
		vm_io_remove(&c->real.io);
	c->kind = CURSOR_NONE;
	c->active = false;
	c->original = k;
}

void step_close_all(void)
{
	for (unsigned k = 0; k < CURSORS; k++)
		close(k);
	last = 0;
}

static void activate(struct cursor *c)
{
	int err = vm_io_activate(&c->real.io);

	FUZZ_CHECK(cursor_claim(c) == err);
	c->active = err == 0;
}

static void open_host(struct cursor *c, struct input *in)
{
	uint64_t at = input_take(in, 2) % CURSOR_HOST,
		 len = take_length(in) % (CURSOR_HOST - at + 1);

	if (c->writes)
		c->real.w = vm_writer_host(cursor_host + at, len);
	else
		c->real.r = vm_reader_host(cursor_host + at, len);
	c->ranges[0] = (struct vm_range){ { at }, len };
}

static int open_guest(struct cursor *c, struct input *in)
{
	uint64_t at = take_gpa(in), len = take_length(in);
	int err = c->writes ? vm_writer_guest(&c->real.w, &guest_space, gpa(at), len, &c->use)
			    : vm_reader_guest(&c->real.r, &guest_space, gpa(at), len, &c->use);

	FUZZ_CHECK(err == (at + len < at ? -ERANGE : 0));
	c->ranges[0] = (struct vm_range){ { at }, len };
	return err;
}

static void open_virtual(struct cursor *c, struct input *in)
{
	uint64_t at = take_gva(in), len = take_length(in);

	if (c->writes)
		vm_writer_virtual(&c->real.w, &guest_space, gva(at), len, &cursor_vcpu, &c->use);
	else
		vm_reader_virtual(&c->real.r, &guest_space, gva(at), len, &cursor_vcpu, &c->use);
	c->ranges[0] = (struct vm_range){ { at }, len };
}

/* A few ranges of any kind, or many that are alike. */
static void take_list(struct cursor *c, struct input *in)
{
	unsigned how = (unsigned)input_take(in, 1);
	uint64_t at, len, stride;

	if (how < 0xc0) {
		c->n = how & 7;
		for (unsigned i = 0; i < c->n; i++)
			c->ranges[i] = (struct vm_range){ { take_gpa(in) }, take_length(in) };
		if ((how & 0xb0) == 0xb0 && c->n != 0)
			c->ranges[0] = (struct vm_range){ { 0 }, UINT64_MAX };
		return;
	}
	c->n = CURSOR_RANGES - (how & 0x3f);
	at = take_gpa(in);
	len = input_take(in, 1) & 31;
	stride = input_take(in, 1);
	for (unsigned i = 0; i < c->n; i++)
		c->ranges[i] = (struct vm_range){ { at + i * stride }, len };
}

static int list_error(const struct cursor *c, uint64_t *all)
{
	*all = 0;
	if (c->n > OWNER_LIST)
		return -E2BIG;
	for (unsigned i = 0; i < c->n; i++) {
		uint64_t at = c->ranges[i].at.gpa, len = c->ranges[i].len;

		if (at + len < at || *all + len < *all)
			return -ERANGE;
		*all += len;
	}
	return 0;
}

static int open_list(struct cursor *c, struct input *in)
{
	uint64_t all;
	int err;

	take_list(c, in);
	err = c->writes ? vm_writer_list(&c->real.w, &guest_space, c->ranges, c->n, &c->use)
			: vm_reader_list(&c->real.r, &guest_space, c->ranges, c->n, &c->use);
	FUZZ_CHECK(err == list_error(c, &all));
	c->limit = all;
	return err;
}

static int open_kind(struct cursor *c, enum cursor_kind kind, struct input *in)
{
	int err = 0;

	c->n = 1;
	c->at = 0;
	if (kind == CURSOR_OVER_HOST)
		open_host(c, in);
	else if (kind == CURSOR_OVER_GUEST)
		err = open_guest(c, in);
	else if (kind == CURSOR_OVER_VIRTUAL)
		open_virtual(c, in);
	else
		return open_list(c, in);
	c->limit = c->ranges[0].len;
	return err;
}

static void open(unsigned k, struct input *in)
{
	unsigned how = (unsigned)input_take(in, 1);
	unsigned flags = (how & 0x80) != 0 ? (unsigned)input_take(in, 1) & 15 : 0;
	enum cursor_kind kind = CURSOR_OVER_HOST + (how & 3);
	struct cursor *c = &cursors[k];
	uint64_t id = c->real.io.id;

	close(k);
	c->writes = k >= CURSORS / 2;
	c->use = (struct vm_use){ names[k], flags };
	if (open_kind(c, kind, in) != 0)
		return;
	c->kind = kind;
	FUZZ_CHECK(kind == CURSOR_OVER_HOST || (c->real.io.id != 0 && c->real.io.id != id));
	if (kind != CURSOR_OVER_HOST && (how & 0x70) != 0x70)
		activate(c);
}

void step_open(struct input *in)
{
	open((unsigned)input_take(in, 1) % CURSORS, in);
}

/* May it be read from or written to? */
static bool usable(const struct cursor *c)
{
	return c->kind == CURSOR_OVER_HOST || c->active;
}

void step_pin(bool on)
{
	pinned = on;
}

/* Half of the time the one that was taken last. */
static unsigned take_index(struct input *in, unsigned which)
{
	unsigned how = pinned ? 0x80 : (unsigned)input_take(in, 1);
	unsigned first = which == TAKE_WRITER ? CURSORS / 2 : 0;
	unsigned n = which == TAKE_ANY ? CURSORS : CURSORS / 2;

	if ((how & 0x80) == 0 || last - first >= n)
		last = first + how % n;
	return last;
}

struct cursor *take_cursor(struct input *in, unsigned which)
{
	unsigned k = take_index(in, which);

	if (!usable(&cursors[k]))
		open(k, in);
	return usable(&cursors[k]) ? &cursors[k] : NULL;
}

void step_close(struct input *in)
{
	unsigned how = (unsigned)input_take(in, 1), k = how % CURSORS;

	if ((how & 0x80) != 0 && cursors[k].active && cursors[k].original == k)
		dispose(&cursors[k]);
	else
		close(k);
}

void step_activate(struct input *in)
{
	struct cursor *c = &cursors[input_take(in, 1) % CURSORS];

	if (c->kind > CURSOR_OVER_HOST && !c->active)
		activate(c);
}

/* The copy of a reader, in the place of another one. */
void step_duplicate(struct input *in)
{
	unsigned how = (unsigned)input_take(in, 1), from = how & 3, to = how >> 2 & 3;

	if (from == to || !usable(&cursors[from]))
		return;
	close(to);
	/* To close the one may have ended the other. */
	if (!usable(&cursors[from]))
		return;
	cursors[to] = cursors[from];
}

static void seek(struct cursor *c, uint64_t offset)
{
	int err = c->kind == CURSOR_OVER_LIST ? -EINVAL : offset > c->limit ? -ERANGE : 0;

	FUZZ_CHECK(vm_io_seek(&c->real.io, offset) == err);
	c->at = err == 0 ? offset : c->at;
}

static void skip(struct cursor *c, uint64_t n)
{
	n = n < cursor_left(c) ? n : cursor_left(c);
	vm_io_skip(&c->real.io, n);
	c->at += n;
}

static void limit(struct cursor *c, uint64_t n)
{
	vm_io_limit(&c->real.io, n);
	c->limit = c->at + (n < cursor_left(c) ? n : cursor_left(c));
}

void step_move(struct input *in)
{
	struct cursor *c = &cursors[take_index(in, TAKE_ANY)];
	unsigned how = (unsigned)input_take(in, 1) & 7;
	uint64_t n = take_length(in);

	if (c->kind == CURSOR_NONE)
		return;
	if (how == 0)
		limit(c, n);
	else if (how < 3)
		skip(c, n);
	else if (how == 3)
		seek(c, n);
	else if (how < 6)
		seek(c, c->at - n); /* back, or before the beginning */
	else			    /* to the beginning of the page, or just before it */
		seek(c, c->at - vm_io_at(&c->real.io) % PAGE_SIZE - (how & 1));
}

void step_share(struct input *in)
{
	bool shared = (input_take(in, 1) & 1) != 0;

	owner_set_shared_readers(&guest_space, shared);
	parties_set_shared(&guest_space, shared);
}
