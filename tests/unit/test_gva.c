/* SPDX-License-Identifier: MPL-2.0 */
/* Guest-virtual translation: every kind of table and right, against a second implementation. */
#include <CUnit/CUnit.h>
#include <string.h>

#include "base/err.h"
#include "mm/frame_alloc.h"
#include "tests/host/arena.h"
#include "tests/host/gva_random.h"
#include "tests/host/gva_shape.h"
#include "tests/host/random.h"

static struct gva_result got;

static void begin(void)
{
	arena_init(UINT64_C(16) << 20);
	gva_world_init();
}

static void end(void)
{
	gva_world_fini();
	epoch_drain();
	arena_fini();
}

static enum gva_outcome look(const struct gva_mode *m, uint64_t va, enum gva_kind kind, bool user)
{
	struct gva_access access = { .kind = kind, .user = user };

	CU_ASSERT_TRUE(gva_world_agrees(m, va, access, &got));
	return got.outcome;
}

/* Each shape with an answer that is written down here, and the marks that it leaves. */
static void test_shapes(void)
{
	begin();
	for (unsigned i = 0; i < GVA_SHAPES; i++) {
		const struct gva_shape *s = &gva_shapes[i];
		uint64_t size = UINT64_C(1) << gva_shape_shift(s, s->leaf);
		struct gva_mode m;

		gva_world_clear();
		m = gva_shape_build(s);
		CU_ASSERT_EQUAL(look(&m, GVA_SHAPE_VA, GVA_READ, true), GVA_OK);
		CU_ASSERT_EQUAL(got.gpa.gpa, gva_shape_page(s) + GVA_SHAPE_VA % size);
		CU_ASSERT_EQUAL(got.page_size, size);
		CU_ASSERT_EQUAL(got.rights, PT_RWX | PT_USER);
		for (unsigned level = s->top; level >= s->leaf; level--)
			CU_ASSERT_EQUAL(gva_world_get(gva_shape_entry(s, level), s->size),
					gva_shape_value(s, level) | G_A);
		CU_ASSERT_EQUAL(look(&m, GVA_SHAPE_VA, GVA_WRITE, true), GVA_OK);
		CU_ASSERT_EQUAL(gva_world_get(gva_shape_entry(s, s->leaf), s->size),
				gva_shape_value(s, s->leaf) | G_A | G_D);
		/* Nothing is at the next page. */
		CU_ASSERT_EQUAL(look(&m, GVA_SHAPE_VA ^ size, GVA_WRITE, true), GVA_PAGE_FAULT);
		CU_ASSERT_EQUAL(got.error, 6);
	}
	end();
}

/* Rows from the SDM's text: 4-level paging, the page's rights, registers, access, error code. */
static void test_error_codes(void)
{
	static const struct {
		uint64_t cr0, cr4, efer, clear, set; /* clear, set: bits of the leaf */
		struct gva_access a;
		int error; /* -1: allowed */
	} rows[] = {
		{ 0, 0, 0, G_P, 0, { .kind = GVA_READ }, 0 },
		{ 0, 0, 0, G_P, 0, { .kind = GVA_WRITE, .user = true }, 6 },
		{ 0, 0, 0, G_P, 0, { .kind = GVA_EXEC }, 0 },
		{ 0, 0, EFER_NXE, G_P, 0, { .kind = GVA_EXEC }, 0x10 },
		{ 0, CR4_SMEP, 0, G_P, 0, { .kind = GVA_EXEC, .user = true }, 0x14 },
		{ 0, 0, 0, G_W, 0, { .kind = GVA_WRITE }, -1 },
		{ CR0_WP, 0, 0, G_W, 0, { .kind = GVA_WRITE }, 3 },
		{ 0, 0, 0, G_W, 0, { .kind = GVA_WRITE, .user = true }, 7 },
		{ 0, 0, 0, G_U, 0, { .kind = GVA_READ, .user = true }, 5 },
		{ 0, 0, 0, G_U, 0, { .kind = GVA_READ, .user = true, .implicit = true }, -1 },
		{ 0, 0, 0, 0, G_NX, { .kind = GVA_READ }, 9 },
		{ 0, 0, EFER_NXE, 0, G_NX, { .kind = GVA_READ }, -1 },
		{ 0, 0, EFER_NXE, 0, G_NX, { .kind = GVA_EXEC }, 0x11 },
		{ 0, CR4_SMEP, 0, 0, 0, { .kind = GVA_EXEC }, 0x11 },
		{ 0, CR4_SMEP, 0, 0, 0, { .kind = GVA_EXEC, .user = true }, -1 },
		{ 0, CR4_SMAP, 0, 0, 0, { .kind = GVA_READ }, 1 },
		{ 0, CR4_SMAP, 0, 0, 0, { .kind = GVA_WRITE }, 3 },
		{ 0, CR4_SMAP, 0, 0, 0, { .kind = GVA_WRITE, .user = true, .implicit = true }, 3 },
		{ 0, CR4_SMAP, 0, 0, 0, { .kind = GVA_EXEC }, -1 },
		{ 0, CR4_PKE, 0, 0, UINT64_C(1) << 59, { .kind = GVA_READ }, 0x21 },
		{ 0, CR4_PKE, 0, 0, UINT64_C(2) << 59, { .kind = GVA_READ }, -1 },
		{ 0, CR4_PKE, 0, 0, UINT64_C(2) << 59, { .kind = GVA_WRITE }, -1 },
		{ CR0_WP, CR4_PKE, 0, 0, UINT64_C(2) << 59, { .kind = GVA_WRITE }, 0x23 },
		{ 0, CR4_PKE, 0, G_W, UINT64_C(2) << 59, { GVA_WRITE, true, 0, 0 }, 0x27 },
		{ 0, CR4_PKE, 0, 0, UINT64_C(1) << 59, { .kind = GVA_EXEC }, -1 },
		{ 0, CR4_PKE, 0, G_U, UINT64_C(1) << 59, { .kind = GVA_READ }, -1 },
		{ 0, CR4_PKS, 0, G_U, UINT64_C(3) << 59, { .kind = GVA_READ }, 0x21 },
		{ 0, 0, 0, 0, UINT64_C(1) << 59, { .kind = GVA_READ }, -1 },
	};
	const struct gva_shape *s = &gva_shapes[5];

	begin();
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t leaf = (gva_shape_value(s, 1) & ~rows[i].clear) | rows[i].set;
		struct gva_mode m = gva_shape_build(s);

		m.cr0 |= rows[i].cr0;
		m.cr4 |= rows[i].cr4;
		m.efer |= rows[i].efer;
		m.pkru = 1 << 2 | 2 << 4; /* key 1: no access; key 2: no writes */
		m.pkrs = 1 << 6;	  /* key 3: no access */
		gva_world_put(gva_shape_entry(s, 1), 8, leaf);
		CU_ASSERT_TRUE(gva_world_agrees(&m, GVA_SHAPE_VA, rows[i].a, &got));
		if (rows[i].error < 0) {
			CU_ASSERT_EQUAL(got.outcome, GVA_OK);
			continue;
		}
		CU_ASSERT_EQUAL(got.outcome, GVA_PAGE_FAULT);
		CU_ASSERT_EQUAL(got.error, (uint32_t)rows[i].error);
		CU_ASSERT_EQUAL(got.vector, 14);
		CU_ASSERT_EQUAL(got.cr2, GVA_SHAPE_VA);
		CU_ASSERT_EQUAL(gva_world_get(gva_shape_entry(s, 1), 8), leaf);
	}
	end();
}

/* One right taken away at the top, at the leaf, or nowhere. */
static void take_rights(const struct gva_shape *s, unsigned how)
{
	static const uint64_t bits[3] = { G_W, G_U, G_NX };

	for (unsigned i = 0; i < 3; i++, how /= 3) {
		unsigned level = how % 3 == 1 ? s->top : s->leaf;
		uint64_t at = gva_shape_entry(s, level);

		if (how % 3 != 0 && (s->size == 8 || bits[i] != G_NX))
			gva_world_put(at, s->size, gva_world_get(at, s->size) ^ bits[i]);
	}
}

static void set_controls(struct gva_mode *m, unsigned bits)
{
	m->cr0 |= bits & 1 ? CR0_WP : 0;
	m->cr4 |= (bits & 2 ? CR4_SMEP : 0) | (bits & 4 ? CR4_SMAP : 0);
	m->rflags_ac = (bits & 8) != 0;
	m->efer |= bits & 16 ? EFER_NXE : 0;
}

static void all_accesses(const struct gva_shape *s, unsigned how, unsigned controls)
{
	struct gva_mode m = gva_shape_build(s);

	take_rights(s, how);
	set_controls(&m, controls);
	for (unsigned a = 0; a < 12; a++) {
		struct gva_access access = { .kind = (enum gva_kind)(a % 3),
					     .user = a / 3 % 2,
					     .implicit = a / 6 };

		CU_ASSERT_TRUE(gva_world_agrees(&m, GVA_SHAPE_VA, access, &got));
	}
}

static void test_rights_everywhere(void)
{
	begin();
	for (unsigned i = 0; i < GVA_SHAPES; i++)
		for (unsigned how = 0; how < 27; how++)
			for (unsigned controls = 0; controls < 32; controls++)
				all_accesses(&gva_shapes[i], how, controls);
	end();
}

/* Every bit of every entry, for several widths of addresses. */
static void each_bit(const struct gva_shape *s, unsigned phys, bool nxe, bool gib)
{
	struct gva_mode m = gva_shape_build(s);

	m.maxphyaddr = (uint8_t)phys;
	m.efer |= nxe ? EFER_NXE : 0;
	m.gib_pages = gib;
	for (unsigned level = s->top; level >= s->leaf; level--)
		for (unsigned bit = 0; bit < s->size * 8; bit++) {
			uint64_t at = gva_shape_entry(s, level);

			gva_world_put(at, s->size, gva_shape_value(s, level) ^ UINT64_C(1) << bit);
			look(&m, GVA_SHAPE_VA, GVA_READ, false);
			gva_world_put(at, s->size, gva_shape_value(s, level));
		}
}

static void test_reserved_bits(void)
{
	static const unsigned phys[] = { 32, 36, 39, 40, 41, 46, 51, 52 };

	begin();
	for (unsigned i = 0; i < GVA_SHAPES; i++)
		for (unsigned p = 0; p < sizeof(phys) / sizeof(phys[0]); p++)
			for (unsigned how = 0; how < 4; how++)
				each_bit(&gva_shapes[i], phys[p], how & 1, how & 2);
	end();
}

/* A few whose answer is written down here. */
static void test_reserved_by_hand(void)
{
	static const struct {
		unsigned shape, level, bit;
		bool fault;
	} rows[] = {
		{ 0, 2, 7, false },  /* 32-bit without PSE: ignored */
		{ 2, 2, 20, false }, /* PSE-36: address bit 39 */
		{ 2, 2, 21, true },  /* 4 MiB page */
		{ 3, 1, 52, true },  /* PAE: not ignored */
		{ 5, 1, 52, false }, /* 4-level: ignored */
		{ 5, 1, 51, true },  /* above 46 address bits */
		{ 5, 1, 45, false }, /* the highest address bit */
		{ 5, 4, 7, true },   /* no pages of 512 GiB */
		{ 6, 2, 13, true },  /* 2 MiB page */
		{ 6, 2, 12, false }, /* its PAT bit */
		{ 7, 3, 29, true },  /* 1 GiB page */
		{ 8, 5, 7, true },   /* no PS in a PML5 entry */
	};

	begin();
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct gva_shape *s = &gva_shapes[rows[i].shape];
		struct gva_mode m = gva_shape_build(s);

		gva_world_put(gva_shape_entry(s, rows[i].level), s->size,
			      gva_shape_value(s, rows[i].level) | UINT64_C(1) << rows[i].bit);
		look(&m, GVA_SHAPE_VA, GVA_READ, false);
		CU_ASSERT_EQUAL(got.outcome, rows[i].fault ? GVA_PAGE_FAULT : GVA_OK);
		CU_ASSERT_EQUAL(got.error, rows[i].fault ? 9 : 0);
	}
	end();
}

/* Pages of 4 MiB above 4 GiB. */
static void test_pse36(void)
{
	const struct gva_shape *s = &gva_shapes[2];
	struct gva_mode m;

	begin();
	m = gva_shape_build(s);
	m.maxphyaddr = 36;
	gva_world_put(gva_shape_entry(s, 2), 4, 0x00c00000 | 0xa << 13 | G_PS | G_P);
	CU_ASSERT_EQUAL(look(&m, GVA_SHAPE_VA, GVA_READ, false), GVA_OK);
	CU_ASSERT_EQUAL(got.gpa.gpa, UINT64_C(0xa00c00000) + GVA_SHAPE_VA % (4 << 20));
	gva_world_put(gva_shape_entry(s, 2), 4, 0x00c00000 | 0x1a << 13 | G_PS | G_P);
	CU_ASSERT_EQUAL(look(&m, GVA_SHAPE_VA, GVA_READ, false), GVA_PAGE_FAULT);
	CU_ASSERT_EQUAL(got.error, 9);
	end();
}

static void test_canonical(void)
{
	struct gva_mode m;

	begin();
	m = gva_shape_build(&gva_shapes[5]);
	CU_ASSERT_EQUAL(look(&m, UINT64_C(0x0000800000000000), GVA_WRITE, true), GVA_NONCANONICAL);
	CU_ASSERT_EQUAL(got.vector, 13);
	CU_ASSERT_EQUAL(got.error, 0);
	CU_ASSERT_EQUAL(look(&m, UINT64_C(0xffff7fffffffffff), GVA_READ, true), GVA_NONCANONICAL);
	CU_ASSERT_EQUAL(look(&m, UINT64_C(0xffff800000000000), GVA_READ, true), GVA_PAGE_FAULT);
	CU_ASSERT_EQUAL(look(&m, UINT64_C(0x00007fffffffffff), GVA_READ, true), GVA_PAGE_FAULT);
	m = gva_shape_build(&gva_shapes[8]);
	CU_ASSERT_EQUAL(look(&m, UINT64_C(0x0000800000000000), GVA_READ, true), GVA_PAGE_FAULT);
	CU_ASSERT_EQUAL(look(&m, UINT64_C(0x0100000000000000), GVA_READ, true), GVA_NONCANONICAL);
	CU_ASSERT_EQUAL(look(&m, UINT64_C(0xfeffffffffffffff), GVA_READ, true), GVA_NONCANONICAL);
	CU_ASSERT_EQUAL(look(&m, UINT64_C(0xff00000000000000), GVA_READ, true), GVA_PAGE_FAULT);
	end();
}

/* Addresses with metadata: what is translated, and what is not canonical. */
static void test_masking(void)
{
	static const struct {
		uint64_t cr3, cr4, va;
		enum gva_kind kind;
		uint64_t cr2; /* 0: not canonical */
	} rows[] = {
		{ 0, 0, 0x1234700000001000, GVA_READ, 0 },
		{ CR3_LAM_U48, 0, 0x1234700000001000, GVA_READ, 0x700000001000 },
		{ CR3_LAM_U48, 0, 0x1234700000001000, GVA_EXEC, 0 },
		{ CR3_LAM_U48, 0, 0x1234800000001000, GVA_READ, 0 },
		{ CR3_LAM_U48, CR4_LA57, 0x1234700000001000, GVA_WRITE, 0x700000001000 },
		{ CR3_LAM_U57, 0, 0x1234700000001000, GVA_READ, 0 },
		{ CR3_LAM_U57, 0, 0x1e00700000001000, GVA_READ, 0x700000001000 },
		{ CR3_LAM_U57 | CR3_LAM_U48, 0, 0x1234700000001000, GVA_READ, 0 },
		{ CR3_LAM_U57, CR4_LA57, 0x1eff700000001000, GVA_READ, 0xff700000001000 },
		{ CR3_LAM_U57, 0, 0x9e00f00000001000, GVA_READ, 0 },
		{ 0, CR4_LAM_SUP, 0x8234f00000001000, GVA_READ, 0xfffff00000001000 },
		{ 0, CR4_LAM_SUP, 0x8234700000001000, GVA_READ, 0 },
		{ 0, CR4_LAM_SUP, 0x1234700000001000, GVA_READ, 0 },
		{ 0, CR4_LAM_SUP | CR4_LA57, 0x81fff00000001000, GVA_READ, 0xfffff00000001000 },
		{ 0, CR4_LAM_SUP | CR4_LA57, 0x8134f00000001000, GVA_READ, 0xff34f00000001000 },
	};

	begin();
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gva_mode m = gva_shape_build(&gva_shapes[rows[i].cr4 & CR4_LA57 ? 8 : 5]);

		/* Nothing is there: the fault tells the address. */
		gva_world_clear();
		m.cr3 |= rows[i].cr3;
		m.cr4 |= rows[i].cr4;
		CU_ASSERT_EQUAL(look(&m, rows[i].va, rows[i].kind, false),
				rows[i].cr2 != 0 ? GVA_PAGE_FAULT : GVA_NONCANONICAL);
		CU_ASSERT_EQUAL(got.cr2, rows[i].cr2);
	}
	end();
}

/* Paging off; and outside long mode the upper half of an address does not exist. */
static void test_narrow_addresses(void)
{
	struct gva_mode m;

	begin();
	m = gva_shape_build(&gva_shapes[0]);
	CU_ASSERT_EQUAL(look(&m, GVA_SHAPE_VA | UINT64_C(1) << 40, GVA_READ, true), GVA_OK);
	CU_ASSERT_EQUAL(got.gpa.gpa, PAGE_SIZE + GVA_SHAPE_VA % PAGE_SIZE);
	m.cr0 = CR0_PE;
	CU_ASSERT_EQUAL(look(&m, UINT64_C(0x123456789), GVA_EXEC, true), GVA_OK);
	CU_ASSERT_EQUAL(got.gpa.gpa, 0x23456789);
	CU_ASSERT_EQUAL(got.page_size, 0);
	end();
}

static void test_pdpte_registers(void)
{
	const struct gva_shape *s = &gva_shapes[3];
	unsigned index = GVA_SHAPE_VA >> 30 & 3;
	struct gva_mode m;

	begin();
	m = gva_shape_build(s);
	/* What is in memory does not count, what was loaded does. */
	gva_world_put(0x20 + 8 * index, 8, UINT64_MAX);
	CU_ASSERT_EQUAL(look(&m, GVA_SHAPE_VA, GVA_READ, true), GVA_OK);
	for (unsigned bit = 0; bit < 64; bit++) {
		struct gva_mode other = m;

		other.pdpte[index] ^= UINT64_C(1) << bit;
		look(&other, GVA_SHAPE_VA, GVA_READ, true);
	}
	m.pdpte[index] = 0;
	CU_ASSERT_EQUAL(look(&m, GVA_SHAPE_VA, GVA_READ, true), GVA_PAGE_FAULT);
	CU_ASSERT_EQUAL(got.error, 4);
	end();
}

/* AMD under nested paging: what is in memory counts, at each walk, reserved bits included. */
static void test_pdptes_in_memory(void)
{
	const struct gva_shape *s = &gva_shapes[3];
	uint64_t at = 0x20 + 8 * (GVA_SHAPE_VA >> 30 & 3), good;
	struct gva_mode m;

	begin();
	m = gva_shape_build(s);
	m.amd = true;
	good = m.pdpte[GVA_SHAPE_VA >> 30 & 3];
	memset(m.pdpte, 0xff, sizeof(m.pdpte));
	CU_ASSERT_EQUAL(look(&m, GVA_SHAPE_VA, GVA_READ, true), GVA_PAGE_FAULT);
	CU_ASSERT_EQUAL(got.error, 4);
	gva_world_put(at, 8, good);
	CU_ASSERT_EQUAL(look(&m, GVA_SHAPE_VA, GVA_READ, true), GVA_OK);
	CU_ASSERT_EQUAL(gva_world_get(at, 8), good);
	for (unsigned bit = 1; bit < 64; bit++) {
		bool bad = (bit >= 1 && bit <= 2) || (bit >= 6 && bit <= 8) || bit >= 46;

		gva_world_put(at, 8, good ^ UINT64_C(1) << bit);
		look(&m, GVA_SHAPE_VA, GVA_READ, true);
		CU_ASSERT_EQUAL(got.outcome == GVA_PAGE_FAULT && got.error == 13, bad);
	}
	m.cr3 = GVA_WORLD_PAGES * PAGE_SIZE;
	CU_ASSERT_EQUAL(look(&m, GVA_SHAPE_VA, GVA_READ, true), GVA_WALK_STAGE2);
	CU_ASSERT_EQUAL(got.gpa.gpa, m.cr3 + 8 * (GVA_SHAPE_VA >> 30 & 3));
	end();
}

/* Bit 8 in entries that are no pages: AMD reserves it at the top of long mode alone. */
static void test_amd_global_bit(void)
{
	begin();
	for (unsigned i = 0; i < 2 * GVA_SHAPES; i++) {
		const struct gva_shape *s = &gva_shapes[i / 2];
		struct gva_mode m = gva_shape_build(s);

		if (s->efer == 0)
			continue;
		m.amd = i % 2 == 1;
		for (unsigned level = s->top; level >= s->leaf; level--) {
			uint64_t at = gva_shape_entry(s, level), value = gva_shape_value(s, level);

			gva_world_put(at, 8, value | 1 << 8);
			look(&m, GVA_SHAPE_VA, GVA_READ, true);
			CU_ASSERT_EQUAL(got.outcome, m.amd && level >= 4 ? GVA_PAGE_FAULT : GVA_OK);
			CU_ASSERT_EQUAL(got.error, m.amd && level >= 4 ? 13 : 0);
			gva_world_put(at, 8, value);
		}
	}
	end();
}

/* As MOV CR3 checks them: absent ones may be anything, present ones have no reserved bits. */
static void test_load_pdptes(void)
{
	struct gva_mode m = { .cr3 = 0x1fe8, .maxphyaddr = 36, .pdpte = { 1, 2, 3, 4 } };

	begin();
	gva_world_put(0x1fe0, 8, UINT64_C(0xfff0000000000e18) | G_P);
	CU_ASSERT_EQUAL(gva_load_pdptes(&gva_world, &m), -EINVAL);
	CU_ASSERT_EQUAL(m.pdpte[0], 1);
	gva_world_put(0x1fe0, 8, UINT64_C(0x0000000ffffffe18) | G_P);
	gva_world_put(0x1ff8, 8, UINT64_MAX - G_P);
	CU_ASSERT_EQUAL(gva_load_pdptes(&gva_world, &m), 0);
	CU_ASSERT_EQUAL(m.pdpte[0], UINT64_C(0x0000000ffffffe18) | G_P);
	CU_ASSERT_EQUAL(m.pdpte[3], UINT64_MAX - G_P);
	for (unsigned bit = 1; bit < 64; bit++) {
		bool bad = (bit >= 1 && bit <= 2) || (bit >= 5 && bit <= 8) || bit >= 36;

		gva_world_put(0x1fe8, 8, UINT64_C(1) << bit | G_P);
		CU_ASSERT_EQUAL(gva_load_pdptes(&gva_world, &m), bad ? -EINVAL : 0);
	}
	m.cr3 = GVA_WORLD_PAGES * PAGE_SIZE;
	CU_ASSERT_EQUAL(gva_load_pdptes(&gva_world, &m), -EFAULT);
	end();
}

/* The entries on the way, for the console. */
static void test_trace(void)
{
	struct gva_access access = { .kind = GVA_READ, .probe = true };
	struct gva_trace trace;

	begin();
	for (unsigned i = 0; i < GVA_SHAPES; i++) {
		const struct gva_shape *s = &gva_shapes[i];
		struct gva_mode m = gva_shape_build(s);
		unsigned first = s->efer == 0 && s->size == 8 ? 1 : 0;

		gva_world_clear();
		m = gva_shape_build(s);
		gva_translate(&gva_world, &m, gva(GVA_SHAPE_VA), access, &got, &trace);
		CU_ASSERT_EQUAL(got.outcome, GVA_OK);
		CU_ASSERT_EQUAL(trace.n, first + s->top - s->leaf + 1);
		for (unsigned k = first; k < trace.n; k++) {
			unsigned level = s->top - (k - first);

			CU_ASSERT_EQUAL(trace.steps[k].level, level);
			CU_ASSERT_EQUAL(trace.steps[k].at.gpa, gva_shape_entry(s, level));
			CU_ASSERT_EQUAL(trace.steps[k].value, gva_shape_value(s, level));
		}
		if (first == 1)
			CU_ASSERT_EQUAL(trace.steps[0].value, m.pdpte[GVA_SHAPE_VA >> 30 & 3]);
	}
	end();
}

static void bad_width(void *context)
{
	struct gva_mode m = { .maxphyaddr = 53 };
	struct gva_access access = { .kind = GVA_READ };

	(void)context;
	gva_translate(&gva_world, &m, gva(0), access, &got, NULL);
}

static void test_misuse(void)
{
	CU_ASSERT_TRUE(panics(bad_width, NULL, "maxphyaddr <= 52"));
}

/* Tables and registers at random; how the cases fall is counted, so that none is missing. */
static void test_random(void)
{
	uint64_t seed = random_seed(41), runs = random_env("GVA_RUNS", 40000);
	unsigned outcomes[GVA_BUSY + 1] = { 0 };

	begin();
	for (uint64_t i = 0; i < runs; i++) {
		struct gva_case c = gva_random_case(&seed);
		bool ok = gva_world_agrees(&c.mode, c.va, c.access, &got);

		CU_ASSERT_TRUE_FATAL(ok);
		outcomes[got.outcome]++;
	}
	CU_ASSERT(outcomes[GVA_OK] > runs / 20);
	CU_ASSERT(outcomes[GVA_PAGE_FAULT] > runs / 20);
	CU_ASSERT(outcomes[GVA_WALK_STAGE2] > runs / 100);
	CU_ASSERT(outcomes[GVA_NONCANONICAL] > runs / 1000);
	CU_ASSERT_EQUAL(outcomes[GVA_BUSY] + outcomes[GVA_NO_MEMORY], 0);
	end();
}

void suite_gva(void);
void suite_gva(void)
{
	CU_pSuite s = CU_add_suite("guest-virtual", NULL, NULL);

	CU_add_test(s, "every shape of tables", test_shapes);
	CU_add_test(s, "error codes from the manual", test_error_codes);
	CU_add_test(s, "rights at every level", test_rights_everywhere);
	CU_add_test(s, "reserved bits", test_reserved_bits);
	CU_add_test(s, "reserved bits by hand", test_reserved_by_hand);
	CU_add_test(s, "PSE-36", test_pse36);
	CU_add_test(s, "canonical addresses", test_canonical);
	CU_add_test(s, "linear-address masking", test_masking);
	CU_add_test(s, "narrow addresses", test_narrow_addresses);
	CU_add_test(s, "PDPTE registers", test_pdpte_registers);
	CU_add_test(s, "PDPTEs in memory", test_pdptes_in_memory);
	CU_add_test(s, "bit 8 of upper entries", test_amd_global_bit);
	CU_add_test(s, "loading of PDPTEs", test_load_pdptes);
	CU_add_test(s, "trace", test_trace);
	CU_add_test(s, "misuse", test_misuse);
	CU_add_test(s, "random tables", test_random);
}
