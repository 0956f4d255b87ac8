/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Guest-virtual translation over arbitrary guest tables and registers: the answer and the marks
 * that are left in memory must be those of the reference.
 *
 *      registers | five entries along the path | accesses, each after one more word of memory
 *
 * While an access walks, the entries of the path, or other words, may change.
 */
#include "base/err.h"
#include "tests/fuzz/input.h"
#include "tests/host/arena.h"
#include "tests/host/gva_ref.h"
#include "tests/host/gva_shape.h"
#include "vmio/guest_word.h"

#define ACCESSES 64
#define CHANGES	 3

/* Where the entries of the path are. */
static uint64_t path_at[GVA_MAX_LEVELS];
static unsigned path_count;

/* Where the walks so far have found tables. */
static struct guest_pages pages;

/* Registers that a CPU can have: long mode has PAE and paging. */
static struct gva_mode take_mode(struct input *in)
{
	struct gva_mode m = {
		.cr0 = input_take(in, 4),
		.cr3 = input_take(in, 8),
		.cr4 = input_take(in, 4),
		.efer = input_take(in, 2),
		.pkru = (uint32_t)input_take(in, 4),
		.pkrs = (uint32_t)input_take(in, 4),
	};
	uint64_t flags = input_take(in, 2);

	m.rflags_ac = flags & 1;
	m.gib_pages = flags >> 1 & 1;
	m.amd = flags >> 15 & 1;
	m.maxphyaddr = (uint8_t)(32 + (flags >> 2) % 21);
	if ((m.efer & EFER_LMA) != 0) {
		m.cr0 |= CR0_PG;
		m.cr4 |= CR4_PAE;
	}
	if ((m.efer & EFER_LMA) == 0 && (m.cr4 & CR4_PAE) != 0)
		for (unsigned i = 0; i < 4; i++)
			m.pdpte[i] = input_take(in, 8);
	return m;
}

/* Where the walk for `va` would look, entries put there one after the other. */
static void take_path(struct input *in, const struct gva_mode *m, uint64_t va)
{
	bool lma = (m->efer & EFER_LMA) != 0, old = !lma && (m->cr4 & CR4_PAE) == 0;
	unsigned bits = old ? 10 : 9, size = old ? 4 : 8;
	unsigned top = !lma ? 2 : m->cr4 & CR4_LA57 ? 5 : 4;
	uint64_t table = !lma && !old ? m->pdpte[va >> 30 & 3] : m->cr3;

	for (unsigned level = top; level >= 1; level--) {
		uint64_t page = (table & UINT64_C(0xffffffffff000)) / PAGE_SIZE;
		uint64_t index = va >> (12 + bits * (level - 1)) & ((1u << bits) - 1);

		if (page >= GVA_WORLD_PAGES)
			return;
		table = input_take(in, size);
		path_at[path_count++] = page * PAGE_SIZE + index * size;
		gva_world_put(page * PAGE_SIZE + index * size, size, table);
	}
}

static void take_word(struct input *in)
{
	uint64_t at = input_take(in, 2) * 8;

	gva_world_put(at % (GVA_WORLD_PAGES * PAGE_SIZE), 8, input_take(in, 8));
}

/* What another vCPU does meanwhile: most of it to the entries of the path. */
static bool take_changes(struct input *in)
{
	static struct gva_change changes[CHANGES];
	unsigned how = (unsigned)input_take(in, 1), n = 1 + (how & 0x7f) % CHANGES;

	for (unsigned i = 0; i < n; i++) {
		unsigned when = (unsigned)input_take(in, 1), which = (unsigned)input_take(in, 1);
		uint64_t at = which * 512, bits = 0;

		if (path_count != 0 && which < 0xc0)
			at = path_at[which % path_count];
		bits = (how & 0x80) != 0 ? input_take(in, 8)
					 : UINT64_C(1) << (input_take(in, 1) & 63);
		changes[i] = (struct gva_change){
			.first = 1 + (when & 15),
			.period = when >> 4 & 3,
			.at = at / 8 * 8 % (GVA_WORLD_PAGES * PAGE_SIZE),
			.bits = (at & 4) != 0 ? bits << 32 : bits,
		};
	}
	gva_world_change(changes, n);
	return true;
}

/* Nobody changes anything: the answer stays, also where the places of tables are remembered. */
static void check_again(const struct gva_mode *m, uint64_t va, struct gva_access access,
			const struct gva_result *first)
{
	struct gva_result second, third;

	gva_translate(&gva_world, m, gva(va), access, &second, NULL);
	FUZZ_CHECK(gva_world_same(first, &second));
	gva_translate_again(&gva_world, m, gva(va), access, &third, &pages);
	FUZZ_CHECK(gva_world_same(first, &third));
}

static void take_access(struct input *in, const struct gva_mode *m, uint64_t va)
{
	uint64_t how = input_take(in, 1);
	bool changes = false;
	struct gva_result got;
	struct gva_access access = {
		.kind = (enum gva_kind)((how & 3) % 3),
		.user = how >> 2 & 1,
		.implicit = how >> 3 & 1,
		.probe = how >> 4 & 1,
	};

	if (how >> 5 & 1)
		take_word(in);
	if (how >> 6 & 1)
		va ^= input_take(in, 8);
	if (how >> 7 & 1)
		changes = take_changes(in);
	FUZZ_CHECK(gva_world_agrees(m, va, access, &got));
	FUZZ_CHECK((got.outcome != GVA_BUSY || changes) && got.outcome != GVA_NO_MEMORY);
	if (!changes)
		check_again(m, va, access, &got);
	FUZZ_CHECK(!epoch_inside());
}

/* The four registers of PAE paging, from memory that has just these values. */
static void check_pdptes(const struct gva_mode *m)
{
	struct gva_mode loaded = *m;
	bool ok = true;

	loaded.cr3 = 0xfe0;
	for (unsigned i = 0; i < 4; i++) {
		gva_world_put(loaded.cr3 + 8 * i, 8, m->pdpte[i]);
		ok = ok && gva_ref_pdpte_ok(m, m->pdpte[i]);
		loaded.pdpte[i] = ~m->pdpte[i];
	}
	FUZZ_CHECK(gva_load_pdptes(&gva_world, &loaded) == (ok ? 0 : -EINVAL));
	for (unsigned i = 0; i < 4; i++)
		FUZZ_CHECK(loaded.pdpte[i] == (ok ? m->pdpte[i] : ~m->pdpte[i]));
}

/* From wherever CR3 points. */
static void check_loading(const struct gva_mode *m)
{
	struct gva_mode loaded = *m;
	uint64_t value, table = m->cr3 & 0xffffffe0;
	int want = 0;

	for (unsigned i = 0; i < 4 && want == 0; i++) {
		if (table + 8 * i >= GVA_WORLD_PAGES * PAGE_SIZE) {
			want = -EFAULT;
			break;
		}
		value = gva_world_get(table + 8 * i, 8);
		want = gva_ref_pdpte_ok(m, value) ? 0 : -EINVAL;
	}
	FUZZ_CHECK(gva_load_pdptes(&gva_world, &loaded) == want);
	for (unsigned i = 0; i < 4; i++)
		FUZZ_CHECK(loaded.pdpte[i] ==
			   (want == 0 ? gva_world_get(table + 8 * i, 8) : m->pdpte[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	static bool ready;
	struct gva_mode m;
	uint64_t va;

	if (!ready) {
		arena_init(UINT64_C(16) << 20);
		gva_world_init();
		ready = true;
	}
	gva_world_clear();
	path_count = 0;
	pages = (struct guest_pages){ 0 };
	m = take_mode(&in);
	if ((m.efer & EFER_LMA) == 0 && (m.cr4 & CR4_PAE) != 0)
		check_pdptes(&m);
	va = input_take(&in, 8);
	take_path(&in, &m, va);
	for (unsigned i = 0; i < ACCESSES && in.left != 0; i++)
		take_access(&in, &m, va);
	check_loading(&m);
	return 0;
}
