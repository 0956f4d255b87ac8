/* SPDX-License-Identifier: MPL-2.0 */
/* Tables of a guest in its pages 2 .. 6; eight of its pages follow each other at step_va. */
#include <string.h>

#include "tests/fuzz/step.h"
#include "tests/host/gva_shape.h"
#include "vmio/page.h"

#define VA    (GVA_SHAPE_VA & ~UINT64_C(0xfff))
#define PAGES 8

uint64_t step_va = VA;
static const struct gva_shape *shape = &gva_shapes[0];

uint64_t take_gva(struct input *in)
{
	uint64_t offset = take_offset(in);

	/* Far before it: not often. */
	if (offset == UINT64_C(0) - 8 * PAGE_SIZE)
		return input_take(in, 8);
	return step_va + offset;
}

/* The guest writes an entry. */
static void put_entry(uint64_t at, uint64_t value)
{
	struct change c = { .kind = CHANGE_POKE, .at = round_down(at, 8), .value = value };
	struct guest_leaf leaf;

	/* Half of what is there is another entry. */
	if (shape->size == 4 && guest_touch(c.at, PT_READ, VM_PRESENT, &leaf) == 0) {
		memcpy(&c.value, guest_twin(leaf.hpa + (c.at - leaf.gpa)), 8);
		memcpy((char *)&c.value + at % 8, &value, 4);
	}
	guest_change(&c);
}

/* What an entry says, but for the address. */
static uint64_t take_flags(struct input *in)
{
	unsigned how = (unsigned)input_take(in, 1);
	uint64_t flags = (how & 1) != 0 ? 0 : G_P;

	flags |= (how & 2) != 0 ? 0 : G_W;
	flags |= (how & 4) != 0 ? 0 : G_U;
	flags |= (how & 8) != 0 ? G_A : 0;
	flags |= (how & 16) != 0 ? G_D : 0;
	flags |= (how & 32) != 0 && shape->size == 8 ? G_NX : 0;
	if ((how & 64) != 0 && shape->size == 8)
		flags |= (input_take(in, 1) & 15) << 59;
	return flags;
}

/* A page that an entry leads to. */
static uint64_t take_target(struct input *in)
{
	return take_gpa(in) & UINT64_C(0xfffffffff000);
}

static void put_leaf(struct input *in, unsigned page)
{
	uint64_t target = take_target(in);

	put_entry(gva_shape_entry(shape, 1) + page * shape->size, target | take_flags(in));
}

/* A table somewhere else: to be brought in, or not there. */
static uint64_t take_upper(struct input *in)
{
	uint64_t target = take_target(in);

	return target | take_flags(in);
}

static void put_upper(struct input *in, unsigned level)
{
	uint64_t value = gva_shape_value(shape, level) & ~(G_P | G_W | G_U);

	/* A large page lies anywhere. */
	if (level == shape->leaf)
		value = round_down(take_target(in), gva_shape_page(shape)) | G_PS;
	put_entry(gva_shape_entry(shape, level), value | take_flags(in));
}

void step_vcpu(struct input *in)
{
	unsigned how = (unsigned)input_take(in, 2);
	struct gva_mode *m = &cursor_mode;

	cursor_vcpu.user = (how & 1) != 0;
	cursor_vcpu.implicit = (how & 2) != 0;
	m->rflags_ac = (how & 4) != 0;
	m->cr0 = (m->cr0 & ~CR0_WP) | ((how & 8) != 0 ? CR0_WP : 0);
	m->cr4 &= ~(uint64_t)(CR4_SMAP | CR4_SMEP | CR4_PKE | CR4_PKS);
	m->cr4 |= ((how & 16) != 0 ? CR4_SMAP : 0) | ((how & 32) != 0 ? CR4_PKE : 0) |
		  ((how & 64) != 0 ? CR4_PKS : 0);
	m->efer = (m->efer & ~(uint64_t)EFER_NXE) | ((how & 128) != 0 ? 0 : EFER_NXE);
	m->pkru = (how & 0x100) != 0 ? (uint32_t)input_take(in, 4) : 0;
	m->pkrs = (how & 0x200) != 0 ? (uint32_t)input_take(in, 4) : 0;
}

/* Another frame, all zeros, takes the place of a table's. */
static void move_table(unsigned level)
{
	struct change c = { .kind = CHANGE_MAP,
			    .block = NEW_FRAME,
			    .attr = PT_RW,
			    .at = gva_shape_table(level),
			    .len = PAGE_SIZE };

	guest_change(&c);
}

/* An entry of any table, or a word beside it. */
void step_tables(struct input *in)
{
	unsigned how = (unsigned)input_take(in, 1), level = 1 + (how >> 3 & 7) % shape->top;

	if (how >> 6 == 3)
		move_table(level);
	else if (level == 1)
		put_leaf(in, how & 7);
	else if (how >> 6 == 0)
		put_upper(in, level);
	else if (how >> 6 == 1)
		put_entry(gva_shape_entry(shape, level), take_upper(in));
	else
		put_entry(gva_shape_entry(shape, level), input_take(in, 8));
}

static void set_registers(void)
{
	cursor_mode.cr0 = CR0_PG | CR0_PE;
	cursor_mode.cr3 = gva_shape_table(shape->top);
	cursor_mode.cr4 = shape->cr4;
	cursor_mode.efer = shape->efer;
	cursor_mode.gib_pages = true;
	if (shape->efer == 0 && shape->cr4 == CR4_PAE)
		cursor_mode.pdpte[VA >> 30 & 3] = gva_shape_table(shape->top) | G_P;
}

void step_tables_begin(struct input *in)
{
	struct change c = {
		.kind = CHANGE_MAP, .block = NEW_FRAME, .attr = PT_RW, .len = PAGE_SIZE
	};

	shape = &gva_shapes[input_take(in, 1) % GVA_SHAPES];
	for (; c.at < 8 * PAGE_SIZE; c.at += PAGE_SIZE)
		guest_change(&c);
	set_registers();
	step_vcpu(in);
	for (unsigned level = shape->top; level >= 2 && level >= shape->leaf; level--)
		put_upper(in, level);
	for (unsigned page = 0; page < PAGES && shape->leaf == 1; page++)
		put_leaf(in, page);
}
