/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/host/gva_random.h"

#include "tests/host/gva_shape.h"
#include "tests/host/random.h"

/* True once in n times. */
static bool once(uint64_t *seed, unsigned n)
{
	return random_below(seed, n) == 0;
}

/* A page of the world, now and then one that cannot be written or is not there. */
static uint64_t some_page(uint64_t *seed)
{
	unsigned pages = once(seed, 8) ? GVA_WORLD_PAGES + 2 : GVA_WORLD_WRITABLE;

	return random_below(seed, pages) * PAGE_SIZE;
}

static uint64_t some_entry(uint64_t *seed, unsigned level)
{
	uint64_t raw = some_page(seed) | (once(seed, 16) ? 0 : G_P), random = random_next(seed);

	raw |= once(seed, 4) ? 0 : G_W;
	raw |= once(seed, 4) ? 0 : G_U;
	raw |= random & (G_A | G_D);
	if (once(seed, 8))
		raw |= G_NX;
	if (once(seed, 4))
		raw |= (random >> 8 & 15) << 59;
	if (once(seed, 12))
		raw |= UINT64_C(1) << (random >> 12 & 63);
	if (level > 1 && once(seed, 4))
		raw = (raw & ~UINT64_C(0xff000)) | G_PS;
	if (level > 2 && (raw & G_PS) != 0)
		raw &= ~UINT64_C(0x3ffff000);
	return raw;
}

static struct gva_mode some_mode(uint64_t *seed)
{
	static const uint8_t phys[] = { 32, 36, 39, 40, 46, 52 };
	static const uint64_t cr4[] = { 0, CR4_PSE, CR4_PAE, CR4_PAE, CR4_PAE | CR4_LA57 };
	unsigned shape = (unsigned)random_below(seed, 5);
	uint64_t random = random_next(seed);

	return (struct gva_mode){
		.cr0 = CR0_PE | (once(seed, 64) && shape < 3 ? 0 : CR0_PG) |
		       (random & 1 ? CR0_WP : 0),
		.cr3 = some_page(seed) | (random >> 1 & 0xff8) |
		       (shape >= 3 && once(seed, 4) ? random & (CR3_LAM_U57 | CR3_LAM_U48) : 0),
		.cr4 = cr4[shape] |
		       (random >> 12 & (CR4_SMEP | CR4_SMAP | CR4_PKE | CR4_PKS | CR4_LAM_SUP)),
		.efer = (shape >= 3 ? EFER_LMA | EFER_LME : 0) | (once(seed, 4) ? 0 : EFER_NXE),
		.pkru = once(seed, 2) ? 0 : (uint32_t)random_next(seed),
		.pkrs = once(seed, 2) ? 0 : (uint32_t)random_next(seed),
		.maxphyaddr = phys[random_below(seed, sizeof(phys))],
		.rflags_ac = random >> 60 & 1,
		.gib_pages = random >> 61 & 1,
		.amd = random >> 62 & 1,
	};
}

/* The four top entries of PAE paging, in registers, or with AMD's rules in memory. */
static void put_pdptes(uint64_t *seed, struct gva_mode *m)
{
	uint64_t table = m->cr3 & UINT64_C(0xffffffe0);

	for (unsigned i = 0; i < 4; i++) {
		m->pdpte[i] = some_page(seed) | (once(seed, 16) ? 0 : G_P) |
			      (once(seed, 16) ? random_next(seed) : 0);
		if (m->amd && table < GVA_WORLD_PAGES * PAGE_SIZE)
			gva_world_put(table + 8 * i, 8, m->pdpte[i]);
	}
}

/* Entries along the path of `va`, each leading to the next. */
static void put_path(uint64_t *seed, struct gva_mode *m, uint64_t va)
{
	bool lma = (m->efer & EFER_LMA) != 0, old = (m->cr4 & CR4_PAE) == 0;
	unsigned bits = old ? 10 : 9, size = old ? 4 : 8;
	unsigned top = !lma ? 2 : m->cr4 & CR4_LA57 ? 5 : 4;
	uint64_t table = m->cr3;

	if (!lma && !old) {
		put_pdptes(seed, m);
		table = m->pdpte[va >> 30 & 3];
	}
	for (unsigned level = top; level >= 1; level--) {
		uint64_t index = va >> (12 + bits * (level - 1)) & ((1u << bits) - 1);
		uint64_t raw = some_entry(seed, level), page = table >> 12 & 0xff;

		if (page >= GVA_WORLD_PAGES)
			return;
		gva_world_put(page * PAGE_SIZE + index * size, size, raw);
		table = raw;
	}
}

struct gva_case gva_random_case(uint64_t *seed)
{
	struct gva_case c = { .mode = some_mode(seed), .va = random_next(seed) };
	unsigned width = c.mode.cr4 & CR4_LA57 ? 57 : 48;
	uint64_t access = random_next(seed);

	if (!once(seed, 32))
		c.va = (uint64_t)((int64_t)(c.va << (64 - width)) >> (64 - width));
	c.access = (struct gva_access){
		.kind = (enum gva_kind)(access % 3),
		.user = access >> 8 & 1,
		.implicit = (access >> 9 & 3) == 3,
		.probe = (access >> 11 & 3) == 3,
	};
	put_path(seed, &c.mode, c.va);
	/* Metadata, which counts for nothing or is not canonical. */
	if (once(seed, 4))
		c.va ^= (random_next(seed) & 0x7fff) << 48;
	return c;
}
