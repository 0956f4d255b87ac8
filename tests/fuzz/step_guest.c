/* SPDX-License-Identifier: MPL-2.0 */
#include "base/epoch.h"
#include "tests/fuzz/step.h"

uint64_t take_gpa(struct input *in)
{
	static const uint64_t anchors[] = {
		0x8000,	 0x10000,	    0x18000,	 0,
		SIZE_2M, 2 * SIZE_2M,	    3 * SIZE_2M, 4 * SIZE_2M,
		SIZE_1G, SIZE_1G + SIZE_2M, 2 * SIZE_1G, UINT64_C(1) << 48,
	};
	unsigned which = (unsigned)input_take(in, 1) % (sizeof(anchors) / sizeof(anchors[0]));

	return anchors[which] + (uint64_t)(int16_t)input_take(in, 2);
}

uint64_t take_length(struct input *in)
{
	uint64_t len = input_take(in, 2), bits = len & 0x3fff;

	switch (len >> 14) {
	case 0:
		return bits & 15;
	case 1:
		return bits & 0x1ff;
	case 2:
		return bits;
	default:
		return bits << 4;
	}
}

/* Where a change begins: at a multiple of its length, if that is a power of two. */
static void place(struct input *in, struct change *c)
{
	uint64_t at = take_gpa(in);
	bool power = (c->len & (c->len - 1)) == 0;

	c->at = round_down(at, power ? c->len : PAGE_SIZE);
}

static void take_new(struct input *in, struct change *c)
{
	unsigned block = (unsigned)input_take(in, 1) & 15;

	if (c->kind == CHANGE_DEVICE)
		c->block = block % BLOCKS;
	else
		c->block = block < BLOCKS ? block : NEW_FRAME;
	c->len = guest_block_size(c->block);
	place(in, c);
}

static void take_range(struct input *in, struct change *c)
{
	static const uint16_t pages[] = { 1, 2, 3, 8, 16, 512, 513, 1024 };
	unsigned which = (unsigned)input_take(in, 1) % 9;

	c->len = which == 8 ? SIZE_1G : pages[which] * PAGE_SIZE;
	place(in, c);
}

struct change take_change(struct input *in)
{
	static const pt_attr_t attrs[] = { PT_RW,
					   PT_READ,
					   PT_RWX,
					   PT_RX,
					   PT_EXEC,
					   0,
					   PT_RW | PT_ACCESSED | PT_DIRTY,
					   PT_READ | PT_ACCESSED };
	static const pt_attr_t marks[] = { PT_DIRTY, PT_ACCESSED, PT_ACCESSED | PT_DIRTY };
	unsigned how = (unsigned)input_take(in, 1);
	struct change c = { .kind = CHANGE_MAP + how % 7, .attr = attrs[how >> 4 & 7] };

	switch (c.kind) {
	case CHANGE_MAP:
	case CHANGE_DEVICE:
		take_new(in, &c);
		break;
	case CHANGE_JOIN:
		c.len = (how & 0x80) != 0 ? SIZE_1G : SIZE_2M;
		place(in, &c);
		break;
	case CHANGE_POKE:
		c.at = round_down(take_gpa(in), 8);
		c.value = input_take(in, 8);
		break;
	default:
		take_range(in, &c);
		break;
	}
	if (c.kind == CHANGE_CLEAN)
		c.attr = marks[(how >> 4) % 3];
	return c;
}

void step_change(struct input *in)
{
	struct change c = take_change(in);

	guest_change(&c);
}

void step_trap(struct input *in)
{
	struct change c = take_change(in);

	guest_set_trap(&c);
}

void step_memory(struct input *in)
{
	unsigned pages = (unsigned)input_take(in, 1);

	guest_set_memory(pages < 0x80 ? pages & 3 : UINT64_MAX);
}

/* Between here and the next time, pages are remembered from one step to another. */
void step_epoch(struct input *in)
{
	(void)in;
	if (epoch_inside()) {
		epoch_exit();
		epoch_poll();
	} else {
		epoch_enter();
	}
}
