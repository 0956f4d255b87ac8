/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/fuzz/cursor.h"

#include <string.h>

#include "base/err.h"
#include "tests/fuzz/parties.h"
#include "tests/host/gva_ref.h"
#include "tests/host/gva_world.h"

struct cursor cursors[CURSORS];
uint8_t cursor_host[CURSOR_HOST] __attribute__((aligned(64))), cursor_host_twin[CURSOR_HOST];
struct gva_mode cursor_mode;
struct gva_result cursor_fault_twin;

static struct gva_result fault;
struct vm_virtual cursor_vcpu = { .mode = &cursor_mode, .fault = &fault };

void cursors_begin(void)
{
	memset(cursors, 0, sizeof(cursors));
	for (unsigned i = 0; i < CURSOR_HOST; i++)
		cursor_host[i] = cursor_host_twin[i] = (uint8_t)(i * 7 + i / 251 + 1);
	cursor_mode = (struct gva_mode){ .maxphyaddr = 46 };
	cursor_vcpu = (struct vm_virtual){ .mode = &cursor_mode, .fault = &fault };
	fault = cursor_fault_twin = (struct gva_result){ 0 };
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* --- where it stands -------------------------------------------------------------------------- */

/* The range of the next byte, and how far that is in it. Precondition: there is one. */
static const struct vm_range *here(const struct cursor *c, uint64_t *offset)
{
	const struct vm_range *range = c->ranges;

	for (*offset = c->at; *offset >= range->len; range++)
		*offset -= range->len;
	return range;
}

uint64_t cursor_left_here(const struct cursor *c)
{
	uint64_t offset;

	if (cursor_left(c) == 0)
		return 0;
	return smaller(here(c, &offset)->len - offset, cursor_left(c));
}

static uint64_t address(const struct cursor *c)
{
	uint64_t offset;
	const struct vm_range *range = here(c, &offset);

	return range->at.gpa + offset;
}

void cursors_check(void)
{
	for (unsigned i = 0; i < CURSORS; i++) {
		const struct cursor *c = &cursors[i];
		const struct vm_io *io = &c->real.io;

		if (c->kind == CURSOR_NONE)
			continue;
		FUZZ_CHECK(vm_io_left(io) == cursor_left(c));
		if (cursor_left(c) != 0 && c->kind == CURSOR_OVER_HOST)
			FUZZ_CHECK(hva_ptr(hva(vm_io_at(io))) == cursor_host + address(c));
		else if (cursor_left(c) != 0)
			FUZZ_CHECK(vm_io_at(io) == address(c));
	}
	FUZZ_CHECK(memcmp(cursor_host, cursor_host_twin, CURSOR_HOST) == 0);
	/* Which piece of a copy was the last depends on what is remembered of larger pages. */
	if (fault.outcome != GVA_OK || cursor_fault_twin.outcome != GVA_OK)
		FUZZ_CHECK(gva_world_same(&fault, &cursor_fault_twin));
}

const struct cursor *cursors_busy[2];

bool cursors_look_ahead(uint64_t at)
{
	bool ahead = false;

	for (unsigned i = 0; i < 2; i++) {
		const struct vm_io *io = cursors_busy[i] != NULL ? &cursors_busy[i]->real.io : NULL;

		if (io == NULL || io->space == NULL)
			continue;
		if (io->at == at)
			return false;
		ahead = ahead || io->limit == at;
	}
	return ahead;
}

/* --- claims ----------------------------------------------------------------------------------- */

struct owner_party cursor_party(const struct cursor *c)
{
	bool alone = (c->use.flags & VM_ALONE) != 0;

	return (struct owner_party){
		.id = c->real.io.id,
		.who = c->use.who,
		.kind = c->writes ? OWNER_WRITES
			: alone	  ? OWNER_READS_ALONE
				  : OWNER_READS,
	};
}

int cursor_claim(struct cursor *c)
{
	struct owner_party party = cursor_party(c);

	if (c->kind == CURSOR_OVER_LIST)
		return parties_claim_list(&guest_space, c->ranges, c->n, &party, OWNER_SLOTS);
	if (c->kind == CURSOR_OVER_VIRTUAL)
		return 0;
	return parties_claim(&guest_space, c->ranges[0].at.gpa, c->ranges[0].at.gpa + c->limit,
			     &party, OWNER_SLOTS);
}

/* --- guest-virtual ---------------------------------------------------------------------------- */

static uint8_t *table_word(uint64_t at, pt_attr_t want, bool bring_in, int *err)
{
	struct guest_leaf leaf;
	uint64_t where;

	*err = guest_touch(at, want, bring_in ? 0 : VM_PRESENT, &leaf);
	if (*err != 0)
		return NULL;
	where = leaf.hpa + (at - leaf.gpa);
	if (guest_before_hole(where, 1) == 0)
		*err = -EFAULT;
	return *err == 0 ? guest_twin(where) : NULL;
}

static void table_marked(uint64_t at)
{
	struct guest_leaf leaf;

	FUZZ_CHECK(guest_touch(at, PT_WRITE, VM_PRESENT, &leaf) == 0);
	guest_mark(at);
	guest_touched(leaf.hpa + (at - leaf.gpa), 8);
}

static const struct gva_ref_memory tables = { .word = table_word, .marked = table_marked };

static int outcome_error(enum gva_outcome outcome)
{
	if (outcome == GVA_NO_MEMORY)
		return -ENOMEM;
	return outcome == GVA_OK ? 0 : outcome == GVA_BUSY ? -ETIMEDOUT : -EFAULT;
}

static int translate(const struct cursor *c, uint64_t at, struct gva_result *result)
{
	struct gva_access access = {
		.kind = c->writes ? GVA_WRITE : GVA_READ,
		.user = cursor_vcpu.user,
		.implicit = cursor_vcpu.implicit,
		.probe = (c->use.flags & VM_PRESENT) != 0,
	};

	*result = gva_ref_translate(&tables, &cursor_mode, at, access);
	return outcome_error(result->outcome);
}

/* --- pieces ----------------------------------------------------------------------------------- */

/* Guest-physical memory; *p->n is the most that is wanted. */
static int touch(const struct cursor *c, uint64_t at, struct piece_twin *p)
{
	struct guest_leaf leaf;
	int err = guest_touch(at, c->writes ? PT_WRITE : PT_READ, c->use.flags, &leaf);

	if (err != 0)
		return err;
	p->guest = true;
	p->hpa = leaf.hpa + (at - leaf.gpa);
	p->at = guest_twin(p->hpa);
	p->n = smaller(p->n, leaf.size - (at - leaf.gpa));
	return 0;
}

static int virtual_begin(struct cursor *c, uint64_t at, struct piece_twin *p)
{
	struct owner_party party = cursor_party(c);
	struct gva_result result;
	int err = translate(c, at, &result);
	uint64_t size = result.page_size != 0 ? result.page_size : PAGE_SIZE, to = result.gpa.gpa;

	p->n = smaller(p->n, size - at % size);
	if (err == 0)
		err = touch(c, to, p);
	if (err == 0)
		err = parties_claim(&guest_space, to, to + p->n, &party, OWNER_SLOTS);
	cursor_fault_twin = result;
	return err;
}

int cursor_begin(struct cursor *c, uint64_t max, struct piece_twin *p)
{
	uint64_t at = address(c);

	*p = (struct piece_twin){ .n = smaller(max, cursor_left_here(c)) };
	if (c->kind == CURSOR_OVER_HOST) {
		p->at = cursor_host_twin + at;
		return 0;
	}
	if (c->kind == CURSOR_OVER_VIRTUAL)
		return virtual_begin(c, at, p);
	return touch(c, at, p);
}

void cursor_end(struct cursor *c, uint64_t n)
{
	c->at += n;
	if (c->kind == CURSOR_OVER_VIRTUAL)
		parties_release(&guest_space, c->real.io.id);
}

/* From low to high, up to what cannot be accessed. Returns how many bytes that were. */
static uint64_t move(struct piece_twin *to, const struct piece_twin *from, uint8_t byte, uint64_t n)
{
	if (to->guest)
		n = guest_before_hole(to->hpa, n);
	if (from != NULL && from->guest)
		n = guest_before_hole(from->hpa, n);
	for (uint64_t i = 0; i < n; i++)
		to->at[i] = from != NULL ? from->at[i] : byte;
	if (to->guest)
		guest_touched(to->hpa, n);
	return n;
}

/* One piece of at most *n bytes; *n is how much of it was done. */
static int transfer_piece(struct cursor *r, struct cursor *w, uint8_t byte, uint64_t *n)
{
	struct piece_twin from, to;
	uint64_t max = *n;
	int err = r != NULL ? cursor_begin(r, max, &from) : 0;

	*n = 0;
	if (err != 0)
		return err;
	err = cursor_begin(w, r != NULL ? from.n : max, &to);
	if (err == 0) {
		*n = move(&to, r != NULL ? &from : NULL, byte, to.n);
		cursor_end(w, *n);
	}
	if (r != NULL)
		cursor_end(r, *n);
	return err == 0 && *n != to.n ? -EFAULT : err;
}

int cursor_transfer(struct cursor *r, struct cursor *w, uint8_t byte, uint64_t max, uint64_t *done)
{
	int err = 0;

	/* A copy has no fault of an earlier one. */
	if (r != NULL && (r->kind == CURSOR_OVER_VIRTUAL || w->kind == CURSOR_OVER_VIRTUAL))
		cursor_fault_twin = (struct gva_result){ 0 };
	for (*done = 0; err == 0 && *done < max;) {
		uint64_t n = max - *done;

		err = transfer_piece(r, w, byte, &n);
		*done += n;
	}
	return err;
}

/* One piece more of `mine`. */
static int all_piece(struct cursor *c, struct piece_twin *p, uint8_t *mine)
{
	struct piece_twin own = { .at = mine };
	uint64_t n = move(c->writes ? p : &own, c->writes ? &own : p, 0, p->n);

	cursor_end(c, n);
	return n == p->n ? 0 : -EFAULT;
}

static int all_pieces(struct cursor *c, uint8_t *mine, uint64_t len)
{
	struct piece_twin p;
	int err = 0;

	for (uint64_t done = 0; err == 0 && done < len; done += p.n) {
		err = cursor_begin(c, len - done, &p);
		if (err == 0)
			err = all_piece(c, &p, mine + done);
	}
	return err;
}

/* What lies together in one piece is done at once; else it begins anew. */
int cursor_all(struct cursor *c, uint8_t *mine, uint64_t len)
{
	uint64_t start = c->at;
	struct piece_twin p = { .n = 0 };
	int err = 0;

	if (len > cursor_left(c))
		return -ERANGE;
	if (len != 0 && len <= cursor_left_here(c))
		err = cursor_begin(c, len, &p);
	if (err == 0 && p.n == len && len != 0) {
		err = all_piece(c, &p, mine);
	} else if (err == 0) {
		if (p.n != 0)
			cursor_end(c, 0);
		err = all_pieces(c, mine, len);
	}
	if (err != 0)
		c->at = start;
	return err;
}
