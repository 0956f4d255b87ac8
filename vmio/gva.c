/* SPDX-License-Identifier: MPL-2.0 */
#include "vmio/gva.h"

#include "base/contract.h"
#include "base/err.h"
#include "base/x86/msr.h"
#include "base/x86/regs.h"
#include "base/x86/trap.h"
#include "vmio/guest_word.h"

/* An entry, the same in all formats as far as it has them. (SDM vol. 3, 4.3 to 4.5) */
#define E_P	  (UINT64_C(1) << 0)
#define E_W	  (UINT64_C(1) << 1)
#define E_U	  (UINT64_C(1) << 2)
#define E_A	  (UINT64_C(1) << 5)
#define E_D	  (UINT64_C(1) << 6)
#define E_PS	  (UINT64_C(1) << 7)
#define E_NX	  (UINT64_C(1) << 63)
#define E_ADDRESS UINT64_C(0x000ffffffffff000)

/* The page-fault error code. (SDM vol. 3, 4.7) */
#define PF_P	(1u << 0)
#define PF_W	(1u << 1)
#define PF_U	(1u << 2)
#define PF_RSVD (1u << 3)
#define PF_ID	(1u << 4)
#define PF_PK	(1u << 5)

/* How often an entry may change under the walk before the guest has to run again. */
#define TRIES 16

/* Bits first .. last. */
#define BITS(last, first) ((UINT64_C(2) << (last)) - (UINT64_C(1) << (first)))

struct walk {
	struct vm_space *space;
	const struct gva_mode *mode;
	struct gva_access access; /* `user` is false when `implicit` */
	struct gva_result *out;
	struct gva_trace *trace;
	uint64_t va;
	uint64_t root;	   /* the topmost table in memory */
	uint64_t reserved; /* bits reserved in every entry */
	unsigned top;	   /* its level */
	unsigned skip;	   /* steps before it that are not in memory: 1 with PAE paging */
	unsigned bits;	   /* of the address for each level */
	unsigned size;	   /* of an entry, in bytes */
	unsigned pages;	   /* levels at which PS makes a page: bit `level` */
	unsigned no_pages; /* levels at which PS is reserved */
};

static bool long_mode(const struct gva_mode *m)
{
	return (m->efer & EFER_LMA) != 0;
}

static unsigned level_shift(const struct walk *w, unsigned level)
{
	return PAGE_SHIFT + w->bits * (level - 1);
}

static struct gva_step *last_step(const struct walk *w)
{
	return &w->trace->steps[w->trace->n - 1];
}

/* 32-bit paging. Nothing is reserved but in pages of 4 MiB. (SDM vol. 3, 4.3) */
static void setup_32(struct walk *w)
{
	w->bits = 10;
	w->size = 4;
	w->top = 2;
	w->root = w->mode->cr3 & UINT64_C(0xfffff000);
	w->pages = w->mode->cr4 & CR4_PSE ? 1u << 2 : 0;
}

/* PAE paging, below the registers: what is ignored in long mode is reserved. (SDM vol. 3, 4.4) */
static void setup_pae(struct walk *w)
{
	w->top = 2;
	w->skip = 1;
	w->pages = 1u << 2;
	w->reserved |= BITS(62, 52);
}

/* 4-level and 5-level paging. (SDM vol. 3, 4.5) */
static void setup_long(struct walk *w)
{
	w->top = w->mode->cr4 & CR4_LA57 ? 5 : 4;
	w->root = w->mode->cr3 & E_ADDRESS;
	w->pages = 1u << 2 | (w->mode->gib_pages ? 1u << 3 : 0);
	w->no_pages = 1u << 4 | 1u << 5 | (w->mode->gib_pages ? 0 : 1u << 3);
}

static void setup(struct walk *w)
{
	const struct gva_mode *m = w->mode;

	if (!long_mode(m) && (m->cr4 & CR4_PAE) == 0) {
		setup_32(w);
		return;
	}
	w->bits = 9;
	w->size = 8;
	w->reserved = E_ADDRESS & ~BITS(m->maxphyaddr - 1, 0);
	if ((m->efer & EFER_NXE) == 0)
		w->reserved |= E_NX;
	if (long_mode(m))
		setup_long(w);
	else
		setup_pae(w);
}

/* The bits of a page's entry that would be address bits within the page, but for PAT (12). */
static uint64_t page_reserved(const struct walk *w, unsigned level)
{
	unsigned m = w->mode->maxphyaddr;

	if (level == 1)
		return 0;
	/* PSE-36: bits 13 and up are the address bits 32 and up, to 39 or MAXPHYADDR. */
	if (w->size == 4)
		return BITS(21, (m < 40 ? m : 40) - 19);
	return BITS(level_shift(w, level) - 1, 13);
}

static bool is_page(const struct walk *w, unsigned level, uint64_t value)
{
	return level == 1 || ((value & E_PS) != 0 && (w->pages >> level & 1) != 0);
}

static bool entry_reserved(const struct walk *w, unsigned level, uint64_t value)
{
	uint64_t reserved = w->reserved;

	if ((w->no_pages >> level & 1) != 0)
		reserved |= E_PS;
	if (is_page(w, level, value))
		reserved |= page_reserved(w, level);
	return (value & reserved) != 0;
}

/* What a PDPTE may not have when it is present. (SDM vol. 3, table 4-8) */
static bool pdpte_reserved(const struct gva_mode *m, uint64_t value)
{
	return (value & (BITS(2, 1) | BITS(8, 5) | ~BITS(m->maxphyaddr - 1, 0))) != 0;
}

static enum gva_outcome page_fault(struct walk *w, uint32_t why)
{
	const struct gva_mode *m = w->mode;
	bool nx = (long_mode(m) || (m->cr4 & CR4_PAE) != 0) && (m->efer & EFER_NXE) != 0;

	if (w->access.kind == GVA_WRITE)
		why |= PF_W;
	if (w->access.user)
		why |= PF_U;
	if (w->access.kind == GVA_EXEC && (nx || (m->cr4 & CR4_SMEP) != 0))
		why |= PF_ID;
	w->out->vector = VECTOR_PF;
	w->out->error = why;
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

/* The registers of PAE paging stand for the topmost table. */
static enum gva_outcome read_pdpte(struct walk *w)
{
	unsigned index = (unsigned)(w->va >> 30) & 3;
	uint64_t value = w->mode->pdpte[index];

	w->trace->n = 1;
	w->trace->steps[0] = (struct gva_step){
		.level = 3,
		.at = gpa((w->mode->cr3 & UINT64_C(0xffffffe0)) + 8 * index),
		.value = value,
	};
	if ((value & E_P) == 0)
		return page_fault(w, 0);
	/* Intel never lets such a value into the register; AMD reports it here. */
	if (pdpte_reserved(w->mode, value))
		return page_fault(w, PF_P | PF_RSVD);
	w->root = value & E_ADDRESS;
	return GVA_OK;
}

/* Reads the entry of `level` in `table`, and *is_leaf. */
static enum gva_outcome read_entry(struct walk *w, unsigned level, uint64_t table, bool *is_leaf)
{
	uint64_t index = w->va >> level_shift(w, level) & ((1u << w->bits) - 1);
	gpa_t at = gpa(table + index * w->size);
	uint64_t value = 0;
	int err = guest_word_read(w->space, at, w->size, !w->access.probe, &value);

	if (err != 0)
		return no_entry(w, at, PT_READ, err);
	w->trace->steps[w->trace->n++] = (struct gva_step){ level, at, value };
	if ((value & E_P) == 0)
		return page_fault(w, 0);
	if (entry_reserved(w, level, value))
		return page_fault(w, PF_P | PF_RSVD);
	*is_leaf = is_page(w, level, value);
	return GVA_OK;
}

/* Reads entries from after those that are in the trace, down to the leaf. */
static enum gva_outcome walk_down(struct walk *w)
{
	unsigned done = w->trace->n - w->skip;
	bool is_leaf = false;

	for (unsigned level = w->top - done; !is_leaf; level--) {
		uint64_t table = level == w->top ? w->root : last_step(w)->value & E_ADDRESS;
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

	for (unsigned i = w->skip; i < w->trace->n; i++) {
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

/* May a supervisor use the user's page so? (SDM vol. 3, 4.6.1) */
static bool user_page_open(const struct walk *w)
{
	const struct gva_mode *m = w->mode;

	if (w->access.kind == GVA_EXEC)
		return (m->cr4 & CR4_SMEP) == 0;
	return (m->cr4 & CR4_SMAP) == 0 || (m->rflags_ac && !w->access.implicit);
}

/* (SDM vol. 3, 4.6.1) */
static bool rights_allow(const struct walk *w, pt_attr_t rights)
{
	bool user_page = (rights & PT_USER) != 0;

	if (w->access.user ? !user_page : user_page && !user_page_open(w))
		return false;
	switch (w->access.kind) {
	case GVA_EXEC:
		return (rights & PT_EXEC) != 0;
	case GVA_WRITE:
		return (rights & PT_WRITE) != 0 ||
		       (!w->access.user && (w->mode->cr0 & CR0_WP) == 0);
	default:
		return true;
	}
}

/* Protection keys: data only, in long mode only. (SDM vol. 3, 4.6.2) */
static bool key_denies(const struct walk *w, pt_attr_t rights)
{
	const struct gva_mode *m = w->mode;
	bool user_page = (rights & PT_USER) != 0;
	unsigned key = (unsigned)(last_step(w)->value >> 59) & 15;
	uint32_t deny = (user_page ? m->pkru : m->pkrs) >> (2 * key);

	if (!long_mode(m) || w->access.kind == GVA_EXEC ||
	    (m->cr4 & (user_page ? CR4_PKE : CR4_PKS)) == 0)
		return false;
	if ((deny & 1) != 0)
		return true;
	return (deny & 2) != 0 && w->access.kind == GVA_WRITE &&
	       ((m->cr0 & CR0_WP) != 0 || (user_page && w->access.user));
}

static enum gva_outcome check(struct walk *w)
{
	pt_attr_t rights = combined_rights(w);
	bool key = key_denies(w, rights);

	if (key || !rights_allow(w, rights))
		return page_fault(w, PF_P | (key ? PF_PK : 0));
	w->out->rights = rights;
	return GVA_OK;
}

/* Sets what is missing in each entry. GVA_BUSY: one has changed, and the trace ends before it. */
static enum gva_outcome set_marks(struct walk *w)
{
	for (unsigned i = w->skip; i < w->trace->n; i++) {
		struct gva_step *s = &w->trace->steps[i];
		bool dirty = i == w->trace->n - 1 && w->access.kind == GVA_WRITE;
		uint64_t marked = s->value | E_A | (dirty ? E_D : 0);
		int err;

		if (marked == s->value)
			continue;
		err = guest_word_exchange(w->space, s->at, w->size, s->value, marked);
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

static void found(struct walk *w)
{
	const struct gva_step *leaf = last_step(w);
	uint64_t size = UINT64_C(1) << level_shift(w, leaf->level);
	uint64_t base = leaf->value & E_ADDRESS & ~(size - 1);

	if (w->size == 4 && leaf->level == 2)
		base |= (leaf->value >> 13 & 0xff) << 32;
	w->out->page_size = size;
	w->out->gpa = gpa(base | (w->va & (size - 1)));
}

static enum gva_outcome walk(struct walk *w)
{
	enum gva_outcome outcome = w->skip != 0 ? read_pdpte(w) : GVA_OK;

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

/* Are the bits above the address all like its highest one? (SDM vol. 1, 3.3.7.1) */
static bool canonical(const struct gva_mode *m, uint64_t va)
{
	unsigned unused = m->cr4 & CR4_LA57 ? 64 - 57 : 64 - 48;

	return (uint64_t)((int64_t)(va << unused) >> unused) == va;
}

static enum gva_outcome translate(struct walk *w)
{
	enum gva_outcome outcome;

	if (!long_mode(w->mode))
		w->va &= UINT32_MAX;
	if ((w->mode->cr0 & CR0_PG) == 0) {
		w->out->gpa = gpa(w->va);
		w->out->rights = PT_RWX | PT_USER;
		return GVA_OK;
	}
	if (long_mode(w->mode) && !canonical(w->mode, w->va)) {
		w->out->vector = VECTOR_GP;
		return GVA_NONCANONICAL;
	}
	setup(w);
	epoch_enter();
	outcome = walk(w);
	epoch_exit();
	return outcome;
}

enum gva_outcome gva_translate(struct vm_space *space, const struct gva_mode *mode, gva_t at,
			       struct gva_access access, struct gva_result *out,
			       struct gva_trace *trace)
{
	struct gva_trace own;
	struct walk w = {
		.space = space,
		.mode = mode,
		.access = access,
		.out = out,
		.trace = trace,
		.va = at.gva,
	};

	REQUIRES(mode->maxphyaddr >= 32 && mode->maxphyaddr <= 52);
	if (trace == NULL)
		w.trace = &own;
	w.trace->n = 0;
	if (access.implicit)
		w.access.user = false;
	*out = (struct gva_result){ 0 };
	out->outcome = translate(&w);
	return out->outcome;
}

static int read_pdptes(struct vm_space *space, const struct gva_mode *mode, uint64_t pdpte[4])
{
	uint64_t table = mode->cr3 & UINT64_C(0xffffffe0);

	for (unsigned i = 0; i < 4; i++) {
		int err = guest_word_read(space, gpa(table + 8 * i), 8, true, &pdpte[i]);

		if (err != 0)
			return err;
		if ((pdpte[i] & E_P) != 0 && pdpte_reserved(mode, pdpte[i]))
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
