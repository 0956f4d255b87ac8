/* SPDX-License-Identifier: MPL-2.0 */
#include "vmio/vmio.h"

#include "vmio/piece.h"
#include "vmio/virtual.h"

/* Bytes after which a copy opens another epoch section of its own: enough that it costs nothing,
 * little enough that nobody waits long for memory. A page is copied in one. */
#define SECTION (UINT64_C(64) << 10)

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

static inline int begin(struct vm_io *io, uint64_t max, struct piece *p)
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
		err = find_page(io);
	p->at = vm_io_ptr(io);
	p->n = smaller(max, io->limit - io->at);
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
	io->next.at = NOWHERE;
	/* A translation has been taken away since. */
	if (!vm_page_unchanged(io->space, io->next.generation))
		return vm_io_look(io, n);
	io->low = io->at;
	io->limit = io->at + smaller(io->next.room, io->end - io->at);
	io->bias = io->next.bias;
	io->generation = io->next.generation;
	return n < io->limit - io->at ? vm_io_ptr(io) : vm_io_look_beyond(io, n);
}

void *vm_io_look(struct vm_io *io, uint64_t n)
{
	return vm_io_look_here(io, n);
}

int piece_begin(struct vm_io *io, uint64_t max, struct piece *p)
{
	return begin(io, max, p);
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

/* --- copies ----------------------------------------------------------------------------------- */

/* Both sides of a piece; *n is what lies together on both. */
static int copy_begin(struct vm_io *r, struct vm_io *w, struct piece p[2], uint64_t *n)
{
	int err = piece_begin(r, *n, &p[0]);

	if (err != 0)
		return err;
	*n = p[0].n;
	err = piece_begin(w, *n, &p[1]);
	if (err != 0)
		piece_end(r, &p[0], 0);
	else
		*n = p[1].n;
	return err;
}

/* One piece. *n is how much of it was copied. */
static int copy_piece(struct vm_io *r, struct vm_io *w, uint64_t *n)
{
	struct piece p[2];
	uint64_t max = *n;
	int err = copy_begin(r, w, p, n);

	if (err != 0) {
		*n = 0;
		return err;
	}
	max = *n;
	*n -= move_bytes(p[1].at, p[0].at, max);
	piece_end(r, &p[0], *n);
	piece_end(w, &p[1], *n);
	return *n == max ? 0 : -EFAULT;
}

static int fill_piece(struct vm_io *w, uint8_t byte, uint64_t *n)
{
	struct piece p;
	int err = piece_begin(w, *n, &p);

	*n = 0;
	if (err != 0)
		return err;
	*n = p.n - move_fill(p.at, byte, p.n);
	piece_end(w, &p, *n);
	return *n == p.n ? 0 : -EFAULT;
}

/* All of `len` bytes, from `r`, or `byte` when there is none. */
static int transfer(struct vm_io *r, struct vm_io *w, uint8_t byte, uint64_t len, uint64_t *done)
{
	uint64_t some = 0;
	int err = 0;

	*done = 0;
	if (len == 0)
		return 0;
	epoch_enter();
	while (err == 0 && *done < len) {
		uint64_t n = len - *done;

		if (__builtin_expect(some >= SECTION, 0)) {
			epoch_exit();
			epoch_enter();
			some = 0;
		}
		err = r != NULL ? copy_piece(r, w, &n) : fill_piece(w, byte, &n);
		*done += n;
		some += n;
	}
	epoch_exit();
	return err;
}

int vm_copy(struct vm_reader *r, struct vm_writer *w, uint64_t max, uint64_t *copied)
{
	uint64_t done;
	int err = transfer(&r->io, &w->io, 0, smaller(smaller(vm_remain(r), vm_avail(w)), max),
			   &done);

	if (copied != NULL)
		*copied = done;
	return err;
}

int vm_fill(struct vm_writer *w, uint8_t byte, uint64_t len, uint64_t *filled)
{
	uint64_t done;
	int err = transfer(NULL, &w->io, byte, smaller(vm_avail(w), len), &done);

	if (filled != NULL)
		*filled = done;
	return err;
}

/* One piece in or out, `mine` being ours. -E2BIG: it does not all lie together, nothing is done. */
static inline int only_piece(struct vm_io *io, void *mine, size_t len, bool writes)
{
	struct piece p = { 0 };
	int err;

	if (__builtin_expect(len == 0 || len > io->end - io->at, 0))
		return -E2BIG;
	epoch_enter();
	err = begin(io, len, &p);
	if (__builtin_expect(err == 0, 1)) {
		if (p.n < len)
			err = -E2BIG;
		else if (move_bytes(writes ? p.at : mine, writes ? mine : p.at, len) != 0)
			err = -EFAULT;
		piece_end(io, &p, err == 0 ? len : 0);
	}
	epoch_exit();
	return err;
}

/* The same for several pieces: all or nothing. */
static __attribute__((noinline)) int read_pieces(struct vm_reader *r, void *dst, size_t len)
{
	struct vm_writer to = vm_writer_host(dst, len);
	struct vm_reader from = *r;
	uint64_t done;
	int err;

	if (len > vm_remain(r))
		return -ERANGE;
	err = transfer(&from.io, &to.io, 0, len, &done);
	if (err == 0)
		*r = from;
	return err;
}

static __attribute__((noinline)) int write_pieces(struct vm_writer *w, const void *src, size_t len)
{
	struct vm_reader from = vm_reader_host(src, len);
	struct vm_writer to = *w;
	uint64_t done;
	int err;

	if (len > vm_avail(w))
		return -ERANGE;
	err = transfer(&from.io, &to.io, 0, len, &done);
	if (err == 0)
		*w = to;
	return err;
}

int vm_read_rest(struct vm_reader *r, void *dst, size_t len)
{
	int err = only_piece(&r->io, dst, len, false);

	return err == -E2BIG ? read_pieces(r, dst, len) : err;
}

int vm_write_rest(struct vm_writer *w, const void *src, size_t len)
{
	/* Only read from. */
	int err = only_piece(&w->io, (void *)(uintptr_t)src, len, true);

	return err == -E2BIG ? write_pieces(w, src, len) : err;
}

int vm_read_guest(struct vm_space *space, gpa_t at, void *dst, size_t len, const struct vm_use *use)
{
	struct vm_reader r;
	int err = vm_reader_guest(&r, space, at, len, use);

	if (err == 0)
		err = vm_io_activate(&r.io);
	if (err != 0)
		return err;
	err = vm_read_bytes(&r, dst, len);
	vm_io_dispose(&r.io);
	vm_io_remove(&r.io);
	return err;
}

int vm_write_guest(struct vm_space *space, gpa_t at, const void *src, size_t len,
		   const struct vm_use *use)
{
	struct vm_writer w;
	int err = vm_writer_guest(&w, space, at, len, use);

	if (err == 0)
		err = vm_io_activate(&w.io);
	if (err != 0)
		return err;
	err = vm_write_bytes(&w, src, len);
	vm_io_dispose(&w.io);
	vm_io_remove(&w.io);
	return err;
}
