/* SPDX-License-Identifier: MPL-2.0 */
#include "vmio/gva.h"

#include "base/contract.h"
#include "base/err.h"
#include "base/x86/trap.h"
#include "vmio/guest_word.h"
#include "vmio/gva_rules.h"

/* How often an entry may change under the walk before the guest has to run again. */
#define TRIES 16

struct walk {
	struct vm_space *space;
	struct gva_access access; /* `user` is false when `implicit` */
	struct gva_result *out;
	struct gva_trace *trace;
	struct guest_pages *pages; /* or NULL */
	struct gva_rules rules;
	uint64_t va;
	pt_attr_t rights; /* of all levels together, once they have been checked */
};

static struct gva_step *last_step(const struct walk *w)
{
	return &w->trace->steps[w->trace->n - 1];
}

static enum gva_outcome page_fault(struct walk *w, uint32_t why)
{
	w->out->vector = VECTOR_PF;
	w->out->error = gva_error_code(w->rules.mode, w->access, why);
	w->out->cr2 = w->va;
	return GVA_PAGE_FAULT;
}

/* An entry that cannot be got at: not the guest's fault as its CPU knows faults. */
static enum gva_outcome no_entry(struct walk *w, gpa_t at, pt_attr_t want, int err)
{
	w->out->gpa = at;
	w->out->rights = want;
	return err == -ENOMEM ? GVA_NO_MEMORY : GVA_WALK_STAGE2;
}

/* The registers of PAE paging stand for the topmost table; AMD has none of them under nested
 * paging. (APM vol. 2, 15.25) Kept out of the way of the walks in long mode. */
static __attribute__((noinline)) enum gva_outcome read_pdpte(struct walk *w)
{
	unsigned index = (unsigned)(w->va >> 30) & 3;
	gpa_t at = gpa((w->rules.mode->cr3 & UINT64_C(0xffffffe0)) + 8 * index);
	uint64_t value = w->rules.mode->pdpte[index];
	int err = w->rules.mode->amd ? guest_word_read(w->space, at, 8, !w->access.probe, &value)
				     : 0;

	if (err != 0)
		return no_entry(w, at, PT_READ, err);
	w->trace->n = 1;
	w->trace->steps[0] = (struct gva_step){ .level = 3, .at = at, .value = value };
	if ((value & E_P) == 0)
		return page_fault(w, 0);
	/* Intel never lets such a value into the register; AMD reports it here. */
	if (gva_pdpte_reserved(w->rules.mode, value))
		return page_fault(w, PF_P | PF_RSVD);
	w->rules.root = value & E_ADDRESS;
	return GVA_OK;
}

/* Reads the entry of `level` in `table`, and *is_leaf. */
static enum gva_outcome read_entry(struct walk *w, unsigned level, uint64_t table, bool *is_leaf)
{
	uint64_t index = w->va >> gva_level_shift(&w->rules, level) & ((1u << w->rules.bits) - 1);
	gpa_t at = gpa(table + index * w->rules.size);
	uint64_t value = 0;
	int err;

	if (w->pages != NULL)
		err = guest_word_read_in(w->pages, level, w->space, at, w->rules.size,
					 !w->access.probe, &value);
	else
		err = guest_word_read(w->space, at, w->rules.size, !w->access.probe, &value);
	if (err != 0)
		return no_entry(w, at, PT_READ, err);
	w->trace->steps[w->trace->n++] = (struct gva_step){ level, at, value };
	if ((value & E_P) == 0)
		return page_fault(w, 0);
	if (gva_entry_reserved(&w->rules, level, value))
		return page_fault(w, PF_P | PF_RSVD);
	*is_leaf = gva_is_page(&w->rules, level, value);
	return GVA_OK;
}

/* Reads entries from after those that are in the trace, down to the leaf. */
static enum gva_outcome walk_down(struct walk *w)
{
	unsigned done = w->trace->n - w->rules.skip;
	bool is_leaf = false;

	for (unsigned level = w->rules.top - done; !is_leaf; level--) {
		uint64_t table = level == w->rules.top ? w->rules.root
						       : last_step(w)->value & E_ADDRESS;
		enum gva_outcome outcome = read_entry(w, level, table, &is_leaf);

		if (outcome != GVA_OK)
			return outcome;
	}
	return GVA_OK;
}

/* All levels together. (SDM vol. 3, 4.6) */
static pt_attr_t combined_rights(const struct walk *w)
{
	uint64_t all = UINT64_MAX, any = 0;
	pt_attr_t rights = PT_READ;

	for (unsigned i = w->rules.skip; i < w->trace->n; i++) {
		all &= w->trace->steps[i].value;
		any |= w->trace->steps[i].value;
	}
	if ((all & E_W) != 0)
		rights |= PT_WRITE;
	if ((any & E_NX) == 0)
		rights |= PT_EXEC;
	if ((all & E_U) != 0)
		rights |= PT_USER;
	return rights;
}

static enum gva_outcome check(struct walk *w)
{
	const struct gva_mode *m = w->rules.mode;
	bool key;

	w->rights = combined_rights(w);
	key = gva_key_denies(m, w->access, w->rights, last_step(w)->value);
	if (key || !gva_rights_allow(m, w->access, w->rights))
		return page_fault(w, PF_P | (key ? PF_PK : 0));
	return GVA_OK;
}

/* Sets what is missing in each entry. GVA_BUSY: one has changed, and the trace ends before it. */
static enum gva_outcome set_marks(struct walk *w)
{
	for (unsigned i = w->rules.skip; i < w->trace->n; i++) {
		struct gva_step *s = &w->trace->steps[i];
		bool dirty = i == w->trace->n - 1 && w->access.kind == GVA_WRITE;
		uint64_t marked = s->value | E_A | (dirty ? E_D : 0);
		int err;

		if (marked == s->value)
			continue;
		err = guest_word_exchange(w->space, s->at, w->rules.size, s->value, marked);
		if (err == -EAGAIN) {
			w->trace->n = i;
			return GVA_BUSY;
		}
		if (err != 0)
			return no_entry(w, s->at, PT_WRITE, err);
		s->value = marked;
	}
	return GVA_OK;
}

/* Of a page of 1 << shift bytes. */
static uint64_t page_base(const struct gva_rules *r, const struct gva_step *leaf, unsigned shift)
{
	uint64_t base = leaf->value & E_ADDRESS & ~((UINT64_C(1) << shift) - 1);

	/* PSE-36 */
	if (r->size == 4 && leaf->level == 2)
		base |= (leaf->value >> 13 & 0xff) << 32;
	return base;
}

static void found(struct walk *w)
{
	const struct gva_step *leaf = last_step(w);
	unsigned shift = gva_level_shift(&w->rules, leaf->level);
	uint64_t offset = w->va & ((UINT64_C(1) << shift) - 1);

	w->out->page_size = UINT64_C(1) << shift;
	w->out->rights = w->rights;
	w->out->gpa = gpa(page_base(&w->rules, leaf, shift) | offset);
}

static enum gva_outcome walk(struct walk *w)
{
	enum gva_outcome outcome = w->rules.skip != 0 ? read_pdpte(w) : GVA_OK;

	if (outcome != GVA_OK)
		return outcome;
	for (unsigned i = 0; i < TRIES; i++) {
		outcome = walk_down(w);
		if (outcome == GVA_OK)
			outcome = check(w);
		if (outcome == GVA_OK && !w->access.probe)
			outcome = set_marks(w);
		if (outcome != GVA_BUSY)
			break;
	}
	if (outcome == GVA_OK)
		found(w);
	return outcome;
}

static enum gva_outcome translate(struct walk *w, const struct gva_mode *m)
{
	enum gva_outcome outcome;

	if (!gva_long_mode(m))
		w->va &= UINT32_MAX;
	if ((m->cr0 & CR0_PG) == 0) {
		w->out->gpa = gpa(w->va);
		w->out->rights = PT_RWX | PT_USER;
		return GVA_OK;
	}
	if (gva_long_mode(m) && w->access.kind != GVA_EXEC && !w->access.implicit)
		w->va = gva_masked(m, w->va);
	if (gva_long_mode(m) && !gva_canonical(m, w->va)) {
		w->out->vector = VECTOR_GP;
		return GVA_NONCANONICAL;
	}
	gva_rules_init(&w->rules, m);
	epoch_enter();
	outcome = walk(w);
	epoch_exit();
	return outcome;
}

static enum gva_outcome begin(struct walk *w, const struct gva_mode *mode)
{
	REQUIRES(mode->maxphyaddr >= 32 && mode->maxphyaddr <= 52);
	w->trace->n = 0;
	if (w->access.implicit)
		w->access.user = false;
	*w->out = (struct gva_result){ 0 };
	w->out->outcome = translate(w, mode);
	return w->out->outcome;
}

enum gva_outcome gva_translate(struct vm_space *space, const struct gva_mode *mode, gva_t at,
			       struct gva_access access, struct gva_result *out,
			       struct gva_trace *trace)
{
	struct gva_trace own;
	struct walk w = {
		.space = space,
		.access = access,
		.out = out,
		.trace = trace,
		.va = at.gva,
	};

	if (trace == NULL)
		w.trace = &own;
	return begin(&w, mode);
}

enum gva_outcome gva_translate_again(struct vm_space *space, const struct gva_mode *mode, gva_t at,
				     struct gva_access access, struct gva_result *out,
				     struct guest_pages *pages)
{
	struct gva_trace own;
	struct walk w = {
		.space = space,
		.access = access,
		.out = out,
		.pages = pages,
		.va = at.gva,
	};

	w.trace = &own;
	return begin(&w, mode);
}

static int read_pdptes(struct vm_space *space, const struct gva_mode *mode, uint64_t pdpte[4])
{
	uint64_t table = mode->cr3 & UINT64_C(0xffffffe0);

	for (unsigned i = 0; i < 4; i++) {
		int err = guest_word_read(space, gpa(table + 8 * i), 8, true, &pdpte[i]);

		if (err != 0)
			return err;
		if ((pdpte[i] & E_P) != 0 && gva_pdpte_reserved(mode, pdpte[i]))
			return -EINVAL;
	}
	return 0;
}

int gva_load_pdptes(struct vm_space *space, struct gva_mode *mode)
{
	uint64_t pdpte[4];
	int err;

	REQUIRES(mode->maxphyaddr >= 32 && mode->maxphyaddr <= 52);
	epoch_enter();
	err = read_pdptes(space, mode, pdpte);
	epoch_exit();
	for (unsigned i = 0; err == 0 && i < 4; i++)
		mode->pdpte[i] = pdpte[i];
	return err;
}

/* --- what entries say --------------------------------------------------------------------- */

static pt_attr_t entry_attr(uint64_t value)
{
	return (value & E_W ? PT_WRITE : 0) | (value & E_U ? PT_USER : 0) |
	       (value & E_NX ? 0 : PT_EXEC) | (value & E_A ? PT_ACCESSED : 0) |
	       (value & E_D ? PT_DIRTY : 0);
}

static void decode_page(const struct gva_rules *r, const struct gva_step *step,
			struct gva_entry *out)
{
	unsigned shift = gva_level_shift(r, step->level);

	out->is = GVA_ENTRY_PAGE;
	out->to = gpa(page_base(r, step, shift));
	out->size = UINT64_C(1) << shift;
	out->has |= PT_DIRTY;
	if (gva_long_mode(r->mode))
		out->key = (int)(step->value >> 59 & 15);
}

struct gva_entry gva_decode(const struct gva_mode *mode, const struct gva_step *step)
{
	struct gva_entry out = { .is = GVA_ENTRY_TABLE, .key = -1 };
	struct gva_rules r;
	bool pdpte, reserved;

	REQUIRES((mode->cr0 & CR0_PG) != 0);
	gva_rules_init(&r, mode);
	pdpte = r.skip != 0 && step->level > r.top;
	reserved = pdpte ? gva_pdpte_reserved(mode, step->value)
			 : gva_entry_reserved(&r, step->level, step->value);
	if (!pdpte && (step->value & E_P) != 0)
		out.has = PT_WRITE | PT_USER | PT_ACCESSED;
	if (out.has != 0 && r.size == 8 && (mode->efer & EFER_NXE) != 0)
		out.has |= PT_EXEC;
	if ((step->value & E_P) == 0 || reserved)
		out.is = reserved && (step->value & E_P) != 0 ? GVA_ENTRY_RESERVED
							      : GVA_ENTRY_ABSENT;
	else if (!pdpte && gva_is_page(&r, step->level, step->value))
		decode_page(&r, step, &out);
	else
		out.to = gpa(step->value & E_ADDRESS);
	out.attr = entry_attr(step->value) & out.has;
	return out;
}
