/* SPDX-License-Identifier: MPL-2.0 */
/* Ways to map one page in tests of guest tables, and a guest in which it is mapped so. */
#ifndef TESTS_HOST_GVA_SHAPE_H
#define TESTS_HOST_GVA_SHAPE_H

#include "base/x86/msr.h"
#include "base/x86/regs.h"
#include "tests/host/gva_world.h"

#define G_P  (UINT64_C(1) << 0)
#define G_W  (UINT64_C(1) << 1)
#define G_U  (UINT64_C(1) << 2)
#define G_A  (UINT64_C(1) << 5)
#define G_D  (UINT64_C(1) << 6)
#define G_PS (UINT64_C(1) << 7)
#define G_NX (UINT64_C(1) << 63)

struct gva_shape {
	const char *name;
	uint64_t cr4, efer;
	unsigned top, leaf; /* levels of entries in memory */
	unsigned bits, size;
};

static const struct gva_shape gva_shapes[] = {
	{ "32-bit 4K", 0, 0, 2, 1, 10, 4 },
	{ "32-bit 4K beside 4M", CR4_PSE, 0, 2, 1, 10, 4 },
	{ "32-bit 4M", CR4_PSE, 0, 2, 2, 10, 4 },
	{ "PAE 4K", CR4_PAE, 0, 2, 1, 9, 8 },
	{ "PAE 2M", CR4_PAE, 0, 2, 2, 9, 8 },
	{ "4-level 4K", CR4_PAE, EFER_LMA | EFER_LME, 4, 1, 9, 8 },
	{ "4-level 2M", CR4_PAE, EFER_LMA | EFER_LME, 4, 2, 9, 8 },
	{ "4-level 1G", CR4_PAE, EFER_LMA | EFER_LME, 4, 3, 9, 8 },
	{ "5-level 4K", CR4_PAE | CR4_LA57, EFER_LMA | EFER_LME, 5, 1, 9, 8 },
	{ "5-level 2M", CR4_PAE | CR4_LA57, EFER_LMA | EFER_LME, 5, 2, 9, 8 },
	{ "5-level 1G", CR4_PAE | CR4_LA57, EFER_LMA | EFER_LME, 5, 3, 9, 8 },
};

#define GVA_SHAPES (sizeof(gva_shapes) / sizeof(gva_shapes[0]))

/* Every level has an index of its own in it. */
#define GVA_SHAPE_VA UINT64_C(0x0000765443218abc)

static inline unsigned gva_shape_shift(const struct gva_shape *s, unsigned level)
{
	return 12 + s->bits * (level - 1);
}

/* The table of a level is the guest's page 1 + level. */
static inline uint64_t gva_shape_table(unsigned level)
{
	return (1 + level) * PAGE_SIZE;
}

static inline uint64_t gva_shape_entry(const struct gva_shape *s, unsigned level)
{
	uint64_t index = GVA_SHAPE_VA >> gva_shape_shift(s, level) & ((1u << s->bits) - 1);

	return gva_shape_table(level) + index * s->size;
}

/* Where the page lies: 0 + its own size. */
static inline uint64_t gva_shape_page(const struct gva_shape *s)
{
	return UINT64_C(1) << gva_shape_shift(s, s->leaf);
}

static inline uint64_t gva_shape_value(const struct gva_shape *s, unsigned level)
{
	uint64_t flags = G_P | G_W | G_U;

	if (level != s->leaf)
		return gva_shape_table(level - 1) | flags;
	return gva_shape_page(s) | flags | (level != 1 ? G_PS : 0);
}

/* Writes the tables: one page, all rights, no marks. */
static inline struct gva_mode gva_shape_build(const struct gva_shape *s)
{
	struct gva_mode m = {
		.cr0 = CR0_PG | CR0_PE,
		.cr3 = gva_shape_table(s->top),
		.cr4 = s->cr4,
		.efer = s->efer,
		.maxphyaddr = 46,
		.gib_pages = true,
	};

	for (unsigned level = s->top; level >= s->leaf; level--)
		gva_world_put(gva_shape_entry(s, level), s->size, gva_shape_value(s, level));
	if (s->efer == 0 && s->cr4 == CR4_PAE) {
		m.cr3 = 0x20;
		m.pdpte[GVA_SHAPE_VA >> 30 & 3] = gva_shape_table(s->top) | G_P;
	}
	return m;
}

#endif
