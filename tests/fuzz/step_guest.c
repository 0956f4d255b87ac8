/* SPDX-License-Identifier: MPL-2.0 */
#include "base/epoch.h"
#include "tests/fuzz/step.h"

uint64_t take_offset(struct input *in)
{
	unsigned how = (unsigned)input_take(in, 1), near = (unsigned)input_take(in, 1);
	uint64_t page = (uint64_t)((int8_t)how >> 4) * PAGE_SIZE;

	switch (how & 3) {
	case 0:
		return page;
	case 1:
		return page + (uint64_t)(int8_t)near;
	case 2:
		return page + near * 16;
	default:
		return page + (near & 0x3f) + PAGE_SIZE / 2;
	}
}

uint64_t take_gpa(struct input *in)
{
	static const uint64_t anchors[] = {
		0x8000,	 0x10000,	    0x18000,	 0,
		SIZE_2M, 2 * SIZE_2M,	    3 * SIZE_2M, 4 * SIZE_2M,
		SIZE_1G, SIZE_1G + SIZE_2M, 2 * SIZE_1G, UINT64_C(1) << 48,
	};
	unsigned which = (unsigned)input_take(in, 1) % (sizeof(anchors) / sizeof(anchors[0]));

	return anchors[which] + take_offset(in);
}

uint64_t take_length(struct input *in)
{
	unsigned how = (unsigned)input_take(in, 1), small = how & 31;

	switch (how >> 5) {
	case 0:
		return small;
	case 1:
		return small * 8;
	case 2:
		return input_take(in, 1);
	case 3:
		return (small & 7) * PAGE_SIZE;
	case 4:
		return (1 + (small & 7)) * PAGE_SIZE - input_take(in, 1);
	case 5:
		return input_take(in, 2) % (3 * PAGE_SIZE);
	case 6:
		return small * 2 * PAGE_SIZE + input_take(in, 1);
	default:
		return PAGE_SIZE / 2 + small;
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

void step_layout(void)
{
	static const struct change layout[] = {
		{ CHANGE_MAP, 0, PT_RW, 0, PAGE_SIZE, 0 },
		{ CHANGE_MAP, 1, PT_RW, PAGE_SIZE, PAGE_SIZE, 0 },
		{ CHANGE_MAP, 2, PT_RW, 2 * PAGE_SIZE, PAGE_SIZE, 0 },
		{ CHANGE_MAP, 3, PT_RW, 3 * PAGE_SIZE, PAGE_SIZE, 0 },
		{ CHANGE_MAP, 1, PT_RW, 4 * PAGE_SIZE, PAGE_SIZE, 0 },
		{ CHANGE_MAP, 4, PT_READ, 5 * PAGE_SIZE, PAGE_SIZE, 0 },
		{ CHANGE_DEVICE, 3, PT_RW, 6 * PAGE_SIZE, PAGE_SIZE, 0 },
		{ CHANGE_MAP, 5, PT_RW | PT_ACCESSED | PT_DIRTY, 16 * PAGE_SIZE, PAGE_SIZE, 0 },
		{ CHANGE_MAP, 2, PT_RW | PT_ACCESSED | PT_DIRTY, 17 * PAGE_SIZE, PAGE_SIZE, 0 },
		{ CHANGE_MAP, 3, PT_RW | PT_ACCESSED, 18 * PAGE_SIZE, PAGE_SIZE, 0 },
		{ CHANGE_MAP, BLOCK_2M, PT_RW, SIZE_2M, SIZE_2M, 0 },
		{ CHANGE_MAP, BLOCK_2M, PT_RW, 2 * SIZE_2M, SIZE_2M, 0 },
		{ CHANGE_MAP, BLOCK_1G, PT_RW, SIZE_1G, SIZE_1G, 0 },
	};

	for (unsigned i = 0; i < sizeof(layout) / sizeof(layout[0]); i++)
		guest_change(&layout[i]);
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
