/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/host/gva_ref.h"

#include <string.h>

#include "base/err.h"

#define BIT(n) (UINT64_C(1) << (n))

enum kind {
	PML5E,
	PML4E,
	PDPTE_TABLE,
	PDPTE_PAGE,
	PDE_TABLE,
	PDE_PAGE,
	PTE,
	PAE_PDPTE,
	PAE_PDE_TABLE,
	PAE_PDE_PAGE,
	PAE_PTE,
	OLD_PDE_TABLE,
	OLD_PDE_PAGE,
	OLD_PTE,
};

/* The entries of one translation. */
struct path {
	unsigned n;
	struct {
		enum kind kind;
		uint64_t at, value;
		unsigned bytes;
	} entry[5];
};

static bool cr0(const struct gva_mode *m, unsigned bit)
{
	return m->cr0 >> bit & 1;
}

static bool cr4(const struct gva_mode *m, unsigned bit)
{
	return m->cr4 >> bit & 1;
}

static bool nxe(const struct gva_mode *m)
{
	return m->efer >> 11 & 1;
}

static bool lma(const struct gva_mode *m)
{
	return m->efer >> 10 & 1;
}

static bool between(unsigned bit, unsigned first, unsigned last)
{
	return first <= bit && bit <= last;
}

/* Bits that all entries of PAE, 4-level and 5-level paging have alike. */
static bool reserved_high(enum kind kind, unsigned bit, const struct gva_mode *m)
{
	bool pae = between(kind, PAE_PDPTE, PAE_PTE);

	if (bit == 63)
		return kind == PAE_PDPTE || !nxe(m);
	if (between(bit, 52, 62))
		return pae;
	return bit >= m->maxphyaddr;
}

/* Tables 4-4 to 4-20 of the SDM, vol. 3; figures 5-9 to 5-30 of the APM, vol. 2. */
static bool reserved_bit(enum kind kind, unsigned bit, const struct gva_mode *m)
{
	unsigned pse36 = m->maxphyaddr > 40 ? 40 : m->maxphyaddr;

	switch (kind) {
	case OLD_PTE:
	case OLD_PDE_TABLE:
		return false;
	case OLD_PDE_PAGE:
		return bit == 21 || (between(bit, 13, 20) && bit - 13 + 32 >= pse36);
	case PML5E:
	case PML4E:
		return bit == 7 || (bit == 8 && m->amd) || reserved_high(kind, bit, m);
	case PDPTE_TABLE:
		return bit == 7 || reserved_high(kind, bit, m);
	case PDPTE_PAGE:
		return between(bit, 13, 29) || reserved_high(kind, bit, m);
	case PDE_PAGE:
	case PAE_PDE_PAGE:
		return between(bit, 13, 20) || reserved_high(kind, bit, m);
	case PAE_PDPTE:
		return between(bit, 1, 2) || between(bit, m->amd ? 6 : 5, 8) ||
		       reserved_high(kind, bit, m);
	default:
		return reserved_high(kind, bit, m);
	}
}

static bool any_reserved(enum kind kind, uint64_t value, const struct gva_mode *m)
{
	for (unsigned bit = 0; bit < 64; bit++)
		if ((value & BIT(bit)) != 0 && reserved_bit(kind, bit, m))
			return true;
	return false;
}

bool gva_ref_pdpte_ok(const struct gva_mode *mode, uint64_t value)
{
	return (value & BIT(0)) == 0 || !any_reserved(PAE_PDPTE, value, mode);
}

static bool is_page(enum kind kind)
{
	return kind == PDPTE_PAGE || kind == PDE_PAGE || kind == PTE || kind == PAE_PDE_PAGE ||
	       kind == PAE_PTE || kind == OLD_PDE_PAGE || kind == OLD_PTE;
}

/* The entry that comes after `kind`, once its PS bit is known. */
static enum kind next_kind(enum kind kind, bool ps, const struct gva_mode *m)
{
	switch (kind) {
	case PML5E:
		return PML4E;
	case PML4E:
		return ps && m->gib_pages ? PDPTE_PAGE : PDPTE_TABLE;
	case PDPTE_TABLE:
		return ps ? PDE_PAGE : PDE_TABLE;
	case PDE_TABLE:
		return PTE;
	case PAE_PDPTE:
		return ps ? PAE_PDE_PAGE : PAE_PDE_TABLE;
	case PAE_PDE_TABLE:
		return PAE_PTE;
	default:
		return OLD_PTE;
	}
}

static unsigned index_shift(enum kind kind)
{
	switch (kind) {
	case PML5E:
		return 48;
	case PML4E:
		return 39;
	case PDPTE_TABLE:
	case PDPTE_PAGE:
	case PAE_PDPTE:
		return 30;
	case OLD_PDE_TABLE:
	case OLD_PDE_PAGE:
		return 22;
	case PTE:
	case PAE_PTE:
	case OLD_PTE:
		return 12;
	default:
		return 21;
	}
}

/* --- access rights: section 4.6.1, one sentence after the other --- */

struct address {
	bool user;	 /* U/S is 1 in every entry */
	bool writable;	 /* R/W is 1 in every entry */
	bool executable; /* XD is 0 in every entry */
	unsigned key;
};

static bool smap_open(const struct gva_mode *m, struct gva_access a)
{
	if (!cr4(m, 21))
		return true;
	if (a.implicit)
		return false;
	return m->rflags_ac;
}

static bool supervisor_may(const struct gva_mode *m, struct gva_access a, struct address x)
{
	if (a.kind == GVA_READ)
		return !x.user || smap_open(m, a);
	if (a.kind == GVA_WRITE && !x.user)
		return !cr0(m, 16) || x.writable;
	if (a.kind == GVA_WRITE)
		return smap_open(m, a) && (!cr0(m, 16) || x.writable);
	if (x.user && cr4(m, 20))
		return false;
	return x.executable;
}

static bool user_may(struct gva_access a, struct address x)
{
	if (!x.user)
		return false;
	if (a.kind == GVA_WRITE)
		return x.writable;
	return a.kind == GVA_READ || x.executable;
}

/* Section 4.6.2, and the PK flag of 4.7, which has the same conditions. */
static bool key_forbids(const struct gva_mode *m, struct gva_access a, bool user, struct address x)
{
	uint32_t reg = x.user ? m->pkru : m->pkrs;
	bool ad = reg >> (x.key * 2) & 1, wd = reg >> (x.key * 2 + 1) & 1;

	if (!lma(m) || !cr4(m, x.user ? 22 : 24) || a.kind == GVA_EXEC)
		return false;
	if (ad)
		return true;
	if (!wd || a.kind != GVA_WRITE)
		return false;
	return cr0(m, 16) || (x.user && user);
}

/* --- the walk --- */

static struct gva_result fault(const struct gva_mode *m, uint64_t va, struct gva_access a,
			       bool user, bool present, bool rsvd, bool key)
{
	bool xd = cr4(m, 5) && nxe(m);
	uint32_t error = 0;

	error += present ? 1 : 0;
	error += a.kind == GVA_WRITE ? 2 : 0;
	error += user ? 4 : 0;
	error += rsvd ? 8 : 0;
	error += a.kind == GVA_EXEC && (xd || cr4(m, 20)) ? 16 : 0;
	error += key ? 32 : 0;
	return (struct gva_result){
		.outcome = GVA_PAGE_FAULT, .vector = 14, .error = error, .cr2 = va
	};
}

static struct gva_result stage2(uint64_t at, pt_attr_t want, int err)
{
	return (struct gva_result){
		.outcome = err == -ENOMEM ? GVA_NO_MEMORY : GVA_WALK_STAGE2,
		.gpa = gpa(at),
		.rights = want,
	};
}

static struct address address_of(const struct path *p)
{
	struct address x = { true, true, true, 0 };

	for (unsigned i = 0; i < p->n; i++) {
		uint64_t value = p->entry[i].value;

		if (p->entry[i].kind == PAE_PDPTE)
			continue;
		x.writable = x.writable && (value & BIT(1)) != 0;
		x.user = x.user && (value & BIT(2)) != 0;
		x.executable = x.executable && (value & BIT(63)) == 0;
	}
	x.key = (unsigned)(p->entry[p->n - 1].value >> 59 & 15);
	return x;
}

/*
 * Marks entry i. 0; -EAGAIN: it is another one by now, and is not changed; else its memory cannot
 * be written.
 */
static int mark(const struct gva_ref_memory *memory, struct path *p, unsigned i, bool write)
{
	uint64_t value = p->entry[i].value | BIT(5);
	uint8_t *word;
	int err;

	if (write && i == p->n - 1)
		value |= BIT(6);
	if (p->entry[i].kind == PAE_PDPTE || value == p->entry[i].value)
		return 0;
	word = memory->word(p->entry[i].at, PT_WRITE, true, &err);
	if (word == NULL)
		return err;
	if (memcmp(word, &p->entry[i].value, p->entry[i].bytes) != 0)
		return -EAGAIN;
	memcpy(word, &value, p->entry[i].bytes);
	p->entry[i].value = value;
	if (memory->marked != NULL)
		memory->marked(p->entry[i].at);
	return 0;
}

/* All marks from the top. GVA_BUSY: an entry has changed, and the path ends before it. */
static struct gva_result mark_all(const struct gva_ref_memory *memory, struct path *p, bool write)
{
	for (unsigned i = 0; i < p->n; i++) {
		int err = mark(memory, p, i, write);

		if (err == -EAGAIN) {
			p->n = i;
			return (struct gva_result){ .outcome = GVA_BUSY };
		}
		if (err != 0)
			return stage2(p->entry[i].at, PT_WRITE, err);
	}
	return (struct gva_result){ .outcome = GVA_OK };
}

/* What the leaf leads to. */
static struct gva_result result_of(const struct gva_mode *m, uint64_t va, const struct path *p,
				   struct address x)
{
	uint64_t size = BIT(index_shift(p->entry[p->n - 1].kind));
	uint64_t leaf = p->entry[p->n - 1].value, base = 0;

	for (unsigned bit = index_shift(p->entry[p->n - 1].kind); bit < m->maxphyaddr; bit++)
		base += leaf & BIT(bit);
	for (unsigned bit = 13; p->entry[p->n - 1].kind == OLD_PDE_PAGE && bit <= 20; bit++)
		base += (leaf >> bit & 1) << (bit - 13 + 32);
	return (struct gva_result){
		.outcome = GVA_OK,
		.gpa = gpa(base + va % size),
		.page_size = size,
		.rights = PT_READ | (x.writable ? PT_WRITE : 0) | (x.executable ? PT_EXEC : 0) |
			  (x.user ? PT_USER : 0),
	};
}

static struct gva_result finish(const struct gva_ref_memory *memory, const struct gva_mode *m,
				uint64_t va, struct gva_access a, struct path *p)
{
	struct address x = address_of(p);
	bool user = a.user && !a.implicit, key = key_forbids(m, a, user, x);
	struct gva_result marked = { .outcome = GVA_OK };

	if (key || !(user ? user_may(a, x) : supervisor_may(m, a, x)))
		return fault(m, va, a, user, true, false, key);
	if (!a.probe)
		marked = mark_all(memory, p, a.kind == GVA_WRITE);
	return marked.outcome == GVA_OK ? result_of(m, va, p, x) : marked;
}

/* The kind and the address of the first entry. */
static enum kind first_kind(const struct gva_mode *m)
{
	if (lma(m))
		return cr4(m, 12) ? PML5E : PML4E;
	return cr4(m, 5) ? PAE_PDPTE : OLD_PDE_TABLE;
}

static uint64_t root_of(const struct gva_mode *m, enum kind first)
{
	if (lma(m))
		return m->cr3 & ((BIT(52) - 1) & ~UINT64_C(0xfff));
	return m->cr3 & (first == PAE_PDPTE ? 0xffffffe0 : 0xfffff000);
}

/* The table that comes after those of the path: where its entry is, and what kind that is. */
static enum kind next_entry(const struct gva_mode *m, uint64_t va, const struct path *p,
			    uint64_t *at)
{
	bool old = !lma(m) && !cr4(m, 5), top = p->n == 0;
	uint64_t above = top ? 0 : p->entry[p->n - 1].value;
	enum kind kind = top ? first_kind(m) : next_kind(p->entry[p->n - 1].kind, false, m);
	uint64_t table = top ? root_of(m, kind)
			     : above & (BIT(m->maxphyaddr) - 1) & ~UINT64_C(0xfff);
	unsigned indexes = kind == PAE_PDPTE ? 4 : old ? 1024 : 512;

	*at = table + (va >> index_shift(kind)) % indexes * (old ? 4 : 8);
	return kind;
}

/* What kind it is once its PS bit is known. */
static enum kind kind_with(const struct gva_mode *m, const struct path *p, enum kind kind,
			   uint64_t value)
{
	if ((value & BIT(7)) == 0)
		return kind;
	if (p->n != 0 && !is_page(kind))
		return next_kind(p->entry[p->n - 1].kind, true, m);
	return kind == OLD_PDE_TABLE && cr4(m, 4) ? OLD_PDE_PAGE : kind;
}

/* Entries from after those of the path, down to the page. GVA_OK: it is there. */
static struct gva_result descend(const struct gva_ref_memory *memory, const struct gva_mode *m,
				 uint64_t va, struct gva_access a, struct path *p)
{
	unsigned bytes = !lma(m) && !cr4(m, 5) ? 4 : 8;
	bool user = a.user && !a.implicit;

	for (;;) {
		uint64_t at, value = 0;
		enum kind kind = next_entry(m, va, p, &at);
		const uint8_t *word = (const uint8_t *)&m->pdpte[va >> 30 & 3];
		int err = 0;

		if (kind != PAE_PDPTE || m->amd)
			word = memory->word(at, PT_READ, !a.probe, &err);
		if (word == NULL)
			return stage2(at, PT_READ, err);
		memcpy(&value, word, bytes);
		kind = kind_with(m, p, kind, value);
		p->entry[p->n].kind = kind;
		p->entry[p->n].at = at;
		p->entry[p->n].value = value;
		p->entry[p->n++].bytes = bytes;
		if ((value & BIT(0)) == 0)
			return fault(m, va, a, user, false, false, false);
		if (any_reserved(kind, value, m))
			return fault(m, va, a, user, true, true, false);
		if (is_page(kind))
			return (struct gva_result){ .outcome = GVA_OK };
	}
}

/* Linear-address masking, bit by bit. */
static uint64_t without_metadata(const struct gva_mode *m, uint64_t va)
{
	unsigned sign = 0;

	if (va >> 63 != 0 && cr4(m, 28))
		sign = cr4(m, 12) ? 56 : 47;
	if (va >> 63 == 0 && (m->cr3 >> 62 & 1) != 0)
		sign = 47;
	if (va >> 63 == 0 && (m->cr3 >> 61 & 1) != 0)
		sign = 56;
	for (unsigned bit = sign + 1; sign != 0 && bit <= 62; bit++)
		va = (va & ~BIT(bit)) | (va >> sign & 1) << bit;
	return va;
}

/* An entry that changes before it is marked is read again, 16 times in all. */
static struct gva_result walk(const struct gva_ref_memory *memory, const struct gva_mode *m,
			      uint64_t va, struct gva_access a)
{
	struct path p = { 0 };

	for (unsigned i = 0; i < 16; i++) {
		struct gva_result r = descend(memory, m, va, a, &p);

		if (r.outcome == GVA_OK)
			r = finish(memory, m, va, a, &p);
		if (r.outcome != GVA_BUSY)
			return r;
	}
	return (struct gva_result){ .outcome = GVA_BUSY };
}

struct gva_result gva_ref_translate(const struct gva_ref_memory *memory,
				    const struct gva_mode *mode, uint64_t va,
				    struct gva_access access)
{
	uint64_t top, ones = cr4(mode, 12) ? 0xff : 0x1ffff;

	if (lma(mode) && access.kind != GVA_EXEC && !access.implicit)
		va = without_metadata(mode, va);
	top = va >> (cr4(mode, 12) ? 56 : 47);
	if (!lma(mode))
		va %= BIT(32);
	if (!cr0(mode, 31))
		return (struct gva_result){ .outcome = GVA_OK,
					    .gpa = gpa(va),
					    .rights = PT_RWX | PT_USER };
	if (lma(mode) && top != 0 && top != ones)
		return (struct gva_result){ .outcome = GVA_NONCANONICAL, .vector = 13 };
	return walk(memory, mode, va, access);
}
