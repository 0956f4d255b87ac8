/* SPDX-License-Identifier: MPL-2.0 */
#include "vmio/vmio.h"

#include "vmio/piece.h"
#include "vmio/virtual.h"

#define NOWHERE UINT64_MAX

static inline uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void piece_next_range(struct vm_io *io)
{
	while (io->at == io->end) {
		const struct vm_range *range = &io->list[io->list_next++];
		uint64_t len = smaller(range->len, io->list_rest);

		io->at = io->first = io->low = io->limit = range->at.gpa;
		io->end = io->at + len;
		io->list_rest -= len;
	}
}

/* Looks for the page at io->at, where it may have to be made ready first. */
static __attribute__((noinline)) int find_page(struct vm_io *io)
{
	uint64_t generation = vm_page_watch(io->space);
	struct pt_place place;
	int err = vm_page_find(io->space, gpa(io->at), io->writes ? PT_WRITE | VM_MARKS : PT_READ,
			       io->use->flags, io->needs, &place);

	if (err == 0)
		vm_io_remember(io, place, generation);
	return err;
}

/*
 * The page that follows, where it can be had without any effect: so that its copy does not wait for
 * a walk that waits for the stores of this one.
 */
static void look_ahead(struct vm_io *io)
{
	uint64_t generation = vm_page_watch(io->space);
	struct pt_place place = vm_place(io->space, gpa(io->limit), io->needs);

	io->next.at = NOWHERE;
	if (place.at == NULL)
		return;
	io->next.at = io->limit;
	io->next.room = vm_page_room(place, gpa(io->limit));
	io->next.bias = hva_of(place.at).hva - io->limit;
	io->next.generation = generation;
}

/* Makes the page looked up ahead the page last used. Precondition: it is at io->at. False: a
 * translation has been taken away since. */
static bool use_next(struct vm_io *io)
{
	io->next.at = NOWHERE;
	if (!vm_page_unchanged(io->space, io->next.generation))
		return false;
	io->low = io->at;
	io->limit = io->at + smaller(io->next.room, io->end - io->at);
	io->bias = io->next.bias;
	io->generation = io->next.generation;
	return true;
}

void *vm_io_look_beyond(struct vm_io *io, uint64_t n)
{
	if (n > io->limit - io->at)
		return NULL;
	if (io->limit != io->end)
		look_ahead(io);
	return vm_io_ptr(io);
}

void *vm_io_look_next(struct vm_io *io, uint64_t n)
{
	if (!use_next(io))
		return vm_io_look(io, n);
	return n < io->limit - io->at ? vm_io_ptr(io) : vm_io_look_beyond(io, n);
}

void *vm_io_look(struct vm_io *io, uint64_t n)
{
	return vm_io_look_here(io, n);
}

int piece_begin(struct vm_io *io, uint64_t max, struct piece *p)
{
	int err = 0;

	REQUIRES(epoch_inside() && max != 0 && vm_io_left(io) != 0);
	REQUIRES(io->state == VM_IO_ACTIVE || io->state == VM_IO_HOST);
	if (__builtin_expect(io->at == io->end, 0))
		piece_next_range(io);
	if (__builtin_expect(io->virt != NULL, 0)) {
		p->n = smaller(max, io->end - io->at);
		return virtual_piece(io, p);
	}
	if (!vm_io_ready(io, 1))
		err = io->at == io->next.at && use_next(io) ? 0 : find_page(io);
	p->at = vm_io_ptr(io);
	p->n = smaller(max, io->limit - io->at);
	if (err == 0 && p->n == io->limit - io->at && io->limit != io->end)
		look_ahead(io);
	return err;
}

/* --- creation --------------------------------------------------------------------------------- */

/* Member by member: the compiler would clear it all with a string instruction first. */
static inline void io_init(struct vm_io *io, uint64_t at, uint64_t len, bool writes)
{
	io->at = io->first = io->low = at;
	io->end = at + len;
	io->limit = at;
	io->bias = 0;
	io->generation = 0;
	io->next.at = NOWHERE;
	io->space = NULL;
	io->use = NULL;
	io->slot = NULL;
	io->id = 0;
	io->list = NULL;
	io->list_count = io->list_next = 0;
	io->list_rest = 0;
	io->virt = NULL;
	io->state = VM_IO_HOST;
	io->writes = writes;
	io->needs = 0;
}

static inline void io_over(struct vm_io *io, struct vm_space *space, uint64_t at, uint64_t len,
			   const struct vm_use *use, bool writes)
{
	io_init(io, at, len, writes);
	io->space = space;
	io->use = use;
	io->id = owner_new_id();
	io->state = VM_IO_CREATED;
	io->needs = vm_page_needs(writes ? PT_WRITE | VM_MARKS : PT_READ, use->flags);
}

struct vm_reader vm_reader_host(const void *p, size_t len)
{
	struct vm_reader r;

	io_init(&r.io, hva_of(p).hva, len, false);
	r.io.limit = r.io.end;
	return r;
}

struct vm_writer vm_writer_host(void *p, size_t len)
{
	struct vm_writer w;

	io_init(&w.io, hva_of(p).hva, len, true);
	w.io.limit = w.io.end;
	return w;
}

int vm_reader_guest(struct vm_reader *r, struct vm_space *space, gpa_t at, uint64_t len,
		    const struct vm_use *use)
{
	if (at.gpa + len < at.gpa)
		return -ERANGE;
	io_over(&r->io, space, at.gpa, len, use, false);
	return 0;
}

int vm_writer_guest(struct vm_writer *w, struct vm_space *space, gpa_t at, uint64_t len,
		    const struct vm_use *use)
{
	if (at.gpa + len < at.gpa)
		return -ERANGE;
	io_over(&w->io, space, at.gpa, len, use, true);
	return 0;
}

static int io_list(struct vm_io *io, struct vm_space *space, const struct vm_range *ranges,
		   unsigned n, const struct vm_use *use, bool writes)
{
	uint64_t all = 0;

	if (n > OWNER_LIST)
		return -E2BIG;
	for (unsigned i = 0; i < n; i++) {
		if (ranges[i].at.gpa + ranges[i].len < ranges[i].at.gpa ||
		    all + ranges[i].len < all)
			return -ERANGE;
		all += ranges[i].len;
	}
	io_over(io, space, 0, 0, use, writes);
	io->list = ranges;
	io->list_count = n;
	io->list_rest = all;
	return 0;
}

int vm_reader_list(struct vm_reader *r, struct vm_space *space, const struct vm_range *ranges,
		   unsigned n, const struct vm_use *use)
{
	return io_list(&r->io, space, ranges, n, use, false);
}

int vm_writer_list(struct vm_writer *w, struct vm_space *space, const struct vm_range *ranges,
		   unsigned n, const struct vm_use *use)
{
	return io_list(&w->io, space, ranges, n, use, true);
}

void vm_reader_virtual(struct vm_reader *r, struct vm_space *space, gva_t at, uint64_t len,
		       struct vm_virtual *virt, const struct vm_use *use)
{
	io_over(&r->io, space, at.gva, len, use, false);
	r->io.virt = virt;
}

void vm_writer_virtual(struct vm_writer *w, struct vm_space *space, gva_t at, uint64_t len,
		       struct vm_virtual *virt, const struct vm_use *use)
{
	io_over(&w->io, space, at.gva, len, use, true);
	w->io.virt = virt;
}

/* --- ownership -------------------------------------------------------------------------------- */

int vm_io_activate(struct vm_io *io)
{
	struct owner_party party;
	int err = 0;

	REQUIRES(io->state == VM_IO_CREATED);
	party = piece_party(io);
	if (io->list != NULL)
		err = owner_claim_list(io->space, io->list, io->list_count, &party);
	else if (io->virt == NULL)
		err = owner_claim(io->space, io->first, io->end, &party, &io->slot);
	if (err == 0)
		io->state = VM_IO_ACTIVE;
	return err;
}

void vm_io_dispose(struct vm_io *io)
{
	REQUIRES(io->state == VM_IO_ACTIVE);
	if (io->list != NULL)
		owner_release_list(io->space, io->id);
	owner_release(io->slot, io->id);
	io->slot = NULL;
	io->low = io->limit = io->at;
	io->next.at = NOWHERE;
	io->state = VM_IO_CREATED;
}

void vm_io_remove(struct vm_io *io)
{
	REQUIRES(io->state == VM_IO_CREATED);
	io->state = VM_IO_REMOVED;
}

/* --- where it stands -------------------------------------------------------------------------- */

uint64_t vm_io_at(const struct vm_io *io)
{
	const struct vm_range *range;

	if (io->at != io->end || io->list_rest == 0)
		return io->at;
	for (range = &io->list[io->list_next]; range->len == 0;)
		range++;
	return range->at.gpa;
}

void vm_io_limit(struct vm_io *io, uint64_t n)
{
	uint64_t here = smaller(n, io->end - io->at);

	io->end = io->at + here;
	io->limit = io->at + smaller(io->limit - io->at, here);
	io->list_rest = smaller(io->list_rest, n - here);
}

void vm_io_skip(struct vm_io *io, uint64_t n)
{
	REQUIRES(n <= vm_io_left(io));
	while (n != 0) {
		uint64_t step;

		if (io->at == io->end)
			piece_next_range(io);
		step = smaller(n, io->end - io->at);
		if (step > io->limit - io->at)
			io->low = io->limit = io->at + step;
		io->at += step;
		n -= step;
	}
}
