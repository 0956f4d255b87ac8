/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/host/mmu.h"

#include <arch/layout.h>
#include <stdatomic.h>
#include <string.h>

/* An entry, vendor's spelling removed. */
struct decoded {
	bool present, leaf, malformed;
	uint64_t address;
	unsigned rights, mem;
	bool accessed, dirty;
	uint64_t accessed_bit, dirty_bit; /* what the CPU would set */
};

static uint64_t bits(uint64_t raw, unsigned high, unsigned low)
{
	return raw >> low & ((UINT64_C(2) << (high - low)) - 1);
}

static uint64_t field(uint64_t raw, unsigned high, unsigned low)
{
	return bits(raw, high, low) << low;
}

static struct decoded decode_ept(uint64_t raw, unsigned level)
{
	struct decoded d = { .present = bits(raw, 2, 0) != 0 };

	if (!d.present)
		return d;
	d.leaf = level == 1 || (level < 4 && bits(raw, 7, 7) != 0);
	d.rights = (unsigned)bits(raw, 2, 0);
	d.mem = (unsigned)bits(raw, 5, 3);
	d.address = field(raw, 51, 12);
	d.accessed_bit = UINT64_C(1) << 8;
	d.dirty_bit = UINT64_C(1) << 9;
	/* EPT misconfigurations, SDM vol. 3, 29.3.3.1. */
	d.malformed = (d.rights & 3) == MMU_WRITE || bits(raw, 51, MMU_PHYS_BITS) != 0;
	if (!d.leaf)
		d.malformed |= bits(raw, 6, 3) != 0 || (level == 4 && bits(raw, 7, 7) != 0);
	else
		d.malformed |= d.mem == 2 || d.mem == 3 || d.mem == 7 ||
			       (level > 1 && bits(raw, 12 + 9 * (level - 1) - 1, 12) != 0);
	return d;
}

/* The host's format too: there the accesses are a supervisor's. */
static struct decoded decode_x86(uint64_t raw, unsigned level, bool user)
{
	static const uint8_t pat[4] = { 6, 4, 1, 0 }; /* as boot programs it: WB WT WC UC */
	struct decoded d = { .present = bits(raw, 0, 0) != 0 };

	if (!d.present)
		return d;
	d.leaf = level == 1 || bits(raw, 7, 7) != 0;
	d.rights = MMU_READ | (bits(raw, 1, 1) ? MMU_WRITE : 0) |
		   (bits(raw, 63, 63) ? 0 : MMU_EXEC);
	if (user && bits(raw, 2, 2) == 0)
		d.rights = 0; /* the supervisor's: no guest access gets through */
	d.mem = pat[bits(raw, 4, 3)];
	d.address = field(raw, 51, 12);
	d.accessed_bit = UINT64_C(1) << 5;
	d.dirty_bit = UINT64_C(1) << 6;
	d.malformed = bits(raw, 51, MMU_PHYS_BITS) != 0;
	if (level == 4 && bits(raw, 7, 7) != 0)
		d.malformed = true;
	/* The PAT bit, 7 or 12, is not used by us; the rest below the page's size is reserved. */
	if (d.leaf && level == 1)
		d.malformed |= bits(raw, 7, 7) != 0;
	if (d.leaf && level > 1)
		d.malformed |= bits(raw, 12 + 9 * (level - 1) - 1, 12) != 0;
	return d;
}

static struct decoded decode_fake(uint64_t raw, unsigned level)
{
	struct decoded d = { .present = raw != 0,
			     .malformed = raw != 0 && bits(raw, 51, 50) != 1 &&
					  bits(raw, 51, 50) != 2 };
	unsigned attr = (unsigned)bits(raw, 63, 52);

	if (!d.present)
		return d;
	d.leaf = bits(raw, 50, 50) != 0;
	d.rights = d.leaf ? (attr ^ (level > 1 ? 7 : 0)) & 7 : 7;
	d.mem = attr >> 3 & 7;
	d.address = bits(raw, 49, 4 + level) << 12;
	d.accessed_bit = d.leaf ? UINT64_C(1) << (52 + 8) : 0;
	d.dirty_bit = UINT64_C(1) << (52 + 9);
	d.malformed |= level > 3 && d.leaf;
	return d;
}

static struct decoded decode(enum mmu_format format, uint64_t raw, unsigned level)
{
	struct decoded d = format == MMU_EPT	? decode_ept(raw, level)
			   : format == MMU_FAKE ? decode_fake(raw, level)
						: decode_x86(raw, level, format == MMU_NPT);

	d.accessed = (raw & d.accessed_bit) != 0;
	d.dirty = (raw & d.dirty_bit) != 0;
	return d;
}

unsigned mmu_levels(enum mmu_format format)
{
	return format == MMU_FAKE ? 5 : 4;
}

/* Sets marks in an entry that must still be what was read. False: it has changed. */
static bool mark(_Atomic uint64_t *entry, uint64_t raw, uint64_t marks)
{
	return (raw & marks) == marks || atomic_compare_exchange_strong(entry, &raw, raw | marks);
}

/* One walk; *again when an entry changed under it. */
static enum mmu_result walk_once(const struct mmu *m, uint64_t gpa, unsigned access,
				 struct mmu_page *out, bool *again)
{
	uint64_t table = m->root;
	unsigned rights = MMU_READ | MMU_WRITE | MMU_EXEC;

	*again = false;
	memset(out, 0, sizeof(*out));
	for (unsigned level = m->level ? m->level : mmu_levels(m->format);; level--) {
		unsigned shift = 12 + 9 * (level - 1);
		_Atomic uint64_t *entry = (_Atomic uint64_t *)(LINEAR_BASE + table) +
					  bits(gpa, shift + 8, shift);
		uint64_t raw = atomic_load(entry), marks;
		struct decoded d = decode(m->format, raw, level);

		out->table[level] = table;
		out->size = UINT64_C(1) << shift;
		out->gpa = gpa & ~(out->size - 1);
		if (d.malformed || (d.present && !d.leaf && level == 1))
			return MMU_MALFORMED;
		if (!d.present)
			return MMU_FAULT;
		rights &= d.rights;
		if (d.leaf && (access & ~rights) != 0)
			return MMU_FAULT;
		marks = d.accessed_bit | (d.leaf && access == MMU_WRITE ? d.dirty_bit : 0);
		if (access != 0 && !mark(entry, raw, marks)) {
			*again = true;
			return MMU_FAULT;
		}
		if (d.leaf) {
			out->hpa = d.address;
			out->rights = (uint8_t)rights;
			out->mem = (uint8_t)d.mem;
			out->accessed = d.accessed;
			out->dirty = d.dirty || access == MMU_WRITE;
			return MMU_DONE;
		}
		table = d.address;
	}
}

enum mmu_result mmu_walk(const struct mmu *m, uint64_t gpa, unsigned access, struct mmu_page *out)
{
	enum mmu_result result;
	bool again;

	do
		result = walk_once(m, gpa, access, out, &again);
	while (again);
	return result;
}
