/* SPDX-License-Identifier: MPL-2.0 */
#include <string.h>

#include "base/err.h"
#include "tests/fuzz/step.h"

/* --- the model -------------------------------------------------------------------------------- */

static bool is_size(uint64_t size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}

static uint64_t low_bytes(uint64_t value, uint64_t size)
{
	return size == 8 ? value : value & ((UINT64_C(1) << 8 * size) - 1);
}

/* The word at the cursor; where it is refused, nothing is looked at. */
static int begin(struct cursor *c, uint64_t size, uint64_t at, struct piece_twin *p)
{
	int err;

	if (!is_size(size))
		return -EINVAL;
	if (size > cursor_left(c))
		return -ERANGE;
	if (at % size != 0)
		return -EINVAL;
	if (size > cursor_left_here(c))
		return -ERANGE;
	err = cursor_begin(c, size, p);
	if (err != 0)
		return err;
	if (p->guest && guest_before_hole(p->hpa, size) != size) {
		cursor_end(c, 0);
		return -EFAULT;
	}
	return 0;
}

static uint64_t load(const struct piece_twin *p, uint64_t size)
{
	uint64_t value = 0;

	memcpy(&value, p->at, size);
	return value;
}

static void store(const struct piece_twin *p, uint64_t size, uint64_t value)
{
	memcpy(p->at, &value, size);
	if (p->guest)
		guest_touched(p->hpa, size);
}

/* Also vm_read_once, which moves on. */
static int model_load(struct cursor *c, uint64_t size, uint64_t at, bool moves, uint64_t *value)
{
	struct piece_twin p;
	int err = begin(c, size, at, &p);

	if (err != 0)
		return err;
	*value = load(&p, size);
	cursor_end(c, moves ? size : 0);
	return 0;
}

static int model_store(struct cursor *c, uint64_t size, uint64_t at, uint64_t value)
{
	struct piece_twin p;
	int err = begin(c, size, at, &p);

	if (err != 0)
		return err;
	store(&p, size, value);
	cursor_end(c, size);
	return 0;
}

static int model_exchange(struct cursor *c, uint64_t size, uint64_t at, uint64_t *old, uint64_t new)
{
	struct piece_twin p;
	uint64_t is;
	int err = begin(c, size, at, &p);

	if (err != 0)
		return err;
	is = load(&p, size);
	if (is == low_bytes(*old, size))
		store(&p, size, new);
	else
		err = -EAGAIN;
	*old = is;
	cursor_end(c, 0);
	return err;
}

static int model_or(struct cursor *c, uint64_t size, uint64_t at, uint64_t bits, uint64_t *old)
{
	uint64_t is;
	int err = model_load(c, size, at, false, &is);

	do {
		if (err == 0 || err == -EAGAIN)
			err = model_exchange(c, size, at, &is, is | bits);
	} while (err == -EAGAIN);
	if (err == 0)
		*old = is;
	return err;
}

/* --- the steps -------------------------------------------------------------------------------- */

/* The right old value, unless `wrong` is not 0. */
static void exchange(struct cursor *c, uint64_t size, uint64_t at, uint64_t new, uint64_t wrong)
{
	uint64_t old = 0, model = 0;
	int err = vm_atomic_load(&c->real.io, size, &old);

	FUZZ_CHECK(model_load(c, size, at, false, &model) == err && old == model);
	old ^= wrong;
	model ^= wrong;
	err = vm_compare_exchange(&c->real.w, size, &old, new);
	FUZZ_CHECK(model_exchange(c, size, at, &model, new) == err);
	FUZZ_CHECK(old == model);
}

static void or (struct cursor * c, uint64_t size, uint64_t at, uint64_t bits, bool tells)
{
	uint64_t old = 5, model = 5;
	int err = vm_fetch_or(&c->real.w, size, bits, tells ? &old : NULL);

	FUZZ_CHECK(model_or(c, size, at, bits, &model) == err);
	FUZZ_CHECK(!tells || old == model);
}

static void read(struct cursor *c, uint64_t size, uint64_t at, bool moves)
{
	uint64_t value = 5, model = 5;
	int err = moves ? vm_read_once(&c->real.r, size, &value)
			: vm_atomic_load(&c->real.io, size, &value);

	FUZZ_CHECK(model_load(c, size, at, moves, &model) == err);
	FUZZ_CHECK(value == model);
}

static void change(struct cursor *c, unsigned how, uint64_t size, uint64_t at, struct input *in)
{
	uint64_t value = input_take(in, 8);

	switch (how & 3) {
	case 0:
		FUZZ_CHECK(vm_write_once(&c->real.w, size, value) ==
			   model_store(c, size, at, value));
		break;
	case 1:
		exchange(c, size, at, value, (how & 4) != 0 ? input_take(in, 8) : 0);
		break;
	case 2:
		or (c, size, at, value, (how & 4) != 0);
		break;
	default:
		read(c, size, at, false);
		break;
	}
}

void step_word(struct input *in)
{
	static const uint8_t sizes[] = { 1, 2, 4, 8, 8, 4, 3, 0 };
	struct cursor *c = take_cursor(in, TAKE_ANY);
	unsigned how = (unsigned)input_take(in, 1);
	uint64_t size = sizes[how & 7], at, off;

	if (c == NULL)
		return;
	at = vm_io_at(&c->real.io);
	off = is_size(size) ? -at % size : 0;
	/* Most of them where they fit. */
	if ((how & 0x80) == 0 && off <= cursor_left(c)) {
		vm_io_skip(&c->real.io, off);
		c->at += off;
		at = vm_io_at(&c->real.io);
	}
	if (c->writes)
		change(c, how >> 3, size, at, in);
	else
		read(c, size, at, (how & 8) != 0);
}
