/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/fuzz/step.h"

#include "mm/frame_alloc.h"
#include "tests/fuzz/parties.h"

#define STEPS  96
/* So often everything is compared, however much there is. */
#define ALL_OF 16

/* How an input begins: with nothing mapped; inside an epoch section. */
#define EMPTY  0x80
#define INSIDE 0x40

/* How a step is made: with allocations that fail, with a page that cannot be accessed. */
#define HOW_FAIL 0x80
#define HOW_HOLE 0x40

static void (*const steps[])(struct input *) = {
	step_copy,   step_copy,	   step_copy,	  step_bytes,	  step_bytes,	step_bytes,
	step_fill,   step_fill,	   step_word,	  step_word,	  step_value,	step_within_host,
	step_change, step_change,  step_change,	  step_epoch,	  step_move,	step_open,
	step_close,  step_trap,	   step_activate, step_duplicate, step_share,	step_tables,
	step_vcpu,   step_at_once, step_memory,	  step_several,	  step_several, step_race,
	step_race,
};

#define KINDS (sizeof(steps) / sizeof(steps[0]))

static void check(bool all)
{
	guest_check(all);
	cursors_check();
	parties_check(&guest_space);
	if (all)
		parties_audit(&guest_space);
}

void step_several(struct input *in)
{
	static void (*const some[])(struct input *) = { step_bytes, step_bytes, step_move,
							step_word,  step_bytes, step_move,
							step_value, step_change };
	unsigned n = 2 + ((unsigned)input_take(in, 1) & 7);

	step_bytes(in);
	step_pin(true);
	epoch_enter();
	for (; n != 0; n--) {
		some[input_take(in, 1) % (sizeof(some) / sizeof(some[0]))](in);
		check(false);
	}
	epoch_exit();
	step_pin(false);
}

void step_race(struct input *in)
{
	struct change c = take_change(in);
	unsigned how = (unsigned)input_take(in, 1);

	guest_set_race(&c, how & 7, (how & 8) != 0, cursors_look_ahead);
	if ((how & 16) != 0)
		step_fill(in);
	else
		step_copy(in);
	guest_end_race();
}

static void step(struct input *in)
{
	unsigned how = (unsigned)input_take(in, 1);
	bool hole = (how & HOW_HOLE) != 0;

	if ((how & HOW_FAIL) != 0)
		frame_alloc_fail_after((int64_t)input_take(in, 1) % 8);
	if (hole)
		guest_set_hole(true);
	steps[(how & 0x3f) % KINDS](in);
	if (hole)
		guest_set_hole(false);
	frame_alloc_fail_after(-1);
}

void steps_run(struct input *in, void (*begin)(struct input *in))
{
	static bool ready;
	unsigned how;

	if (!ready)
		guest_init();
	ready = true;
	how = (unsigned)input_take(in, 1);
	guest_begin(how % 3);
	cursors_begin();
	parties_begin();
	if ((how & EMPTY) == 0)
		step_layout();
	if ((how & INSIDE) != 0)
		epoch_enter();
	if (begin != NULL)
		begin(in);
	for (unsigned i = 0; i < STEPS && in->left != 0; i++) {
		step(in);
		check(i % ALL_OF == 0);
	}
	step_close_all();
	if (epoch_inside())
		epoch_exit();
	check(true);
	/* It is known by its address, and the next one has the same. */
	owner_set_shared_readers(&guest_space, true);
	guest_end();
}
