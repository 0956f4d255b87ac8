/* SPDX-License-Identifier: MPL-2.0 */
#include <string.h>

#include "base/err.h"
#include "tests/fuzz/parties.h"
#include "tests/fuzz/step.h"

#define MOST (3 * PAGE_SIZE)

/* What is written, what is read, and what the model reads. */
static uint8_t source[MOST], got[MOST], want[MOST];

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static const uint8_t *fresh_source(struct input *in)
{
	uint8_t first = (uint8_t)input_take(in, 1);

	for (unsigned i = 0; i < MOST; i++)
		source[i] = (uint8_t)(first + i + i / 253);
	return source;
}

void step_copy(struct input *in)
{
	struct cursor *r = take_cursor(in, TAKE_READER), *w = take_cursor(in, TAKE_WRITER);
	unsigned how = (unsigned)input_take(in, 1);
	uint64_t max = (how & 1) != 0 ? UINT64_MAX : take_length(in), copied, model;
	bool tells = (how & 2) == 0;
	int err;

	if (r == NULL || w == NULL)
		return;
	cursors_busy[0] = r;
	cursors_busy[1] = w;
	/* Where tables were found is remembered: lookups are not those of the model. */
	if (r->kind == CURSOR_OVER_VIRTUAL || w->kind == CURSOR_OVER_VIRTUAL)
		guest_end_race();
	/* More than that is not told from it. */
	max = least(max, SIZE_2M);
	err = vm_copy(&r->real.r, &w->real.w, max, tells ? &copied : NULL);
	max = least(max, least(cursor_left(r), cursor_left(w)));
	FUZZ_CHECK(cursor_transfer(r, w, 0, max, &model) == err);
	FUZZ_CHECK(!tells || copied == model);
}

void step_fill(struct input *in)
{
	struct cursor *w = take_cursor(in, TAKE_WRITER);
	uint8_t byte = (uint8_t)input_take(in, 1);
	uint64_t max = take_length(in), filled, model;
	bool tells = (byte & 1) != 0;
	int err;

	if (w == NULL)
		return;
	cursors_busy[0] = NULL;
	cursors_busy[1] = w;
	if (w->kind == CURSOR_OVER_VIRTUAL)
		guest_end_race();
	err = vm_fill(&w->real.w, byte, max, tells ? &filled : NULL);
	max = least(max, cursor_left(w));
	FUZZ_CHECK(cursor_transfer(NULL, w, byte, max, &model) == err);
	FUZZ_CHECK(!tells || filled == model);
}

static void check_read(struct cursor *c, uint64_t len, int err)
{
	FUZZ_CHECK(cursor_all(c, want, len) == err);
	FUZZ_CHECK(err != 0 || memcmp(got, want, len) == 0);
}

static void check_write(struct cursor *c, uint64_t len, int err)
{
	FUZZ_CHECK(cursor_all(c, source, len) == err);
}

/* Into, or out of, memory of our own. */
void step_bytes(struct input *in)
{
	struct cursor *c = take_cursor(in, TAKE_ANY);
	uint64_t len;

	if (c == NULL)
		return;
	/* One time of four just to the end of the page. */
	if ((input_take(in, 1) & 3) == 0)
		len = PAGE_SIZE - vm_io_at(&c->real.io) % PAGE_SIZE;
	else
		len = take_length(in) % MOST;
	if (!c->writes)
		check_read(c, len, vm_read_bytes(&c->real.r, got, len));
	else
		check_write(c, len, vm_write_bytes(&c->real.w, fresh_source(in), len));
}

/*
 * Between a cursor over the hypervisor's memory and another place there, which may overlap. What a
 * read that failed has left is not told.
 */
static void within_host(struct cursor *c, uint64_t len, uint64_t at)
{
	uint8_t *mine = cursor_host + at, *twin = cursor_host_twin + at;
	int err;

	if (c->writes) {
		err = vm_write_bytes(&c->real.w, mine, len);
		FUZZ_CHECK(cursor_all(c, twin, len) == err);
		return;
	}
	err = vm_read_bytes(&c->real.r, mine, len);
	FUZZ_CHECK(cursor_all(c, twin, len) == err);
	if (err != 0)
		memcpy(twin, mine, len);
}

void step_within_host(struct input *in)
{
	struct cursor *c = take_cursor(in, TAKE_ANY);
	uint64_t len = take_length(in) % MOST, near = input_take(in, 1), at;

	if (c == NULL)
		return;
	at = c->kind == CURSOR_OVER_HOST ? c->ranges[0].at.gpa + c->at + near - 0x80 : near;
	if (at <= CURSOR_HOST - len)
		within_host(c, len, at);
}

/* Sizes that the compiler knows, to or from a place that may overlap. */
#define VALUE_OF(n)                                                  \
	case n: {                                                    \
		struct {                                             \
			uint8_t bytes[n];                            \
		} *in_mine = (void *)mine;                           \
		return c->writes ? vm_write_val(&c->real.w, in_mine) \
				 : vm_read_val(&c->real.r, in_mine); \
	}

static int value(struct cursor *c, uint8_t *mine, unsigned size)
{
	switch (size) {
		VALUE_OF(1)
		VALUE_OF(2)
		VALUE_OF(4)
		VALUE_OF(8)
		VALUE_OF(3)
		VALUE_OF(16)
		VALUE_OF(40)
		VALUE_OF(100)
		VALUE_OF(128)
	default:
		VALUE_OF(300)
	}
}

void step_value(struct input *in)
{
	static const uint16_t sizes[] = { 1, 2, 4, 8, 3, 16, 40, 100, 128, 300 };
	struct cursor *c = take_cursor(in, TAKE_ANY);
	unsigned size = sizes[input_take(in, 1) % (sizeof(sizes) / sizeof(sizes[0]))];
	uint64_t near = input_take(in, 1), at;
	int err;

	if (c == NULL)
		return;
	at = c->kind == CURSOR_OVER_HOST ? c->ranges[0].at.gpa + c->at + near - 0x80 : near;
	if (at > CURSOR_HOST - size)
		return;
	err = value(c, cursor_host + at, size);
	FUZZ_CHECK(cursor_all(c, cursor_host_twin + at, size) == err);
	if (err != 0)
		memcpy(cursor_host_twin + at, cursor_host + at, size);
}

/* The model of vm_read_guest and vm_write_guest. */
static int at_once(struct cursor *c, uint8_t *mine)
{
	uint64_t at = c->ranges[0].at.gpa, len = c->limit;
	int err;

	if (at + len < at)
		return -ERANGE;
	err = cursor_claim(c);
	if (err != 0)
		return err;
	err = cursor_all(c, mine, len);
	parties_release(&guest_space, c->real.io.id);
	return err;
}

void step_at_once(struct input *in)
{
	static struct cursor c;
	unsigned how = (unsigned)input_take(in, 1);
	uint64_t at = take_gpa(in), len = take_length(in) % MOST;
	int err;

	c = (struct cursor){
		.kind = CURSOR_OVER_GUEST,
		.writes = (how & 0x40) != 0,
		.n = 1,
		.ranges = { { { at }, len } },
		.limit = len,
		.use = { "at once", (how & 0x80) != 0 ? how & 15 : 0 },
	};
	/* Of this CPU's own sequence: theirs is the next one. */
	c.real.io.id = owner_new_id() + MAX_CPUS;
	fresh_source(in);
	if (c.writes)
		err = vm_write_guest(&guest_space, gpa(at), source, len, &c.use);
	else
		err = vm_read_guest(&guest_space, gpa(at), got, len, &c.use);
	FUZZ_CHECK(at_once(&c, c.writes ? source : want) == err);
	FUZZ_CHECK(c.writes || err != 0 || memcmp(got, want, len) == 0);
}
