/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Copies, piece by piece: what lies together on both sides is moved at once.
 *
 *      reader   |---- page ----|---- page ----|--          one side may be our own memory,
 *      writer        |------ page ------|---- page --      which is one piece
 *      pieces        |---------|--------|-----|--
 */
#include "vmio/piece.h"
#include "vmio/virtual.h"

/* Bytes after which a copy opens another epoch section of its own: enough that it costs nothing,
 * little enough that nobody waits long for memory. A page is copied in one. */
#define SECTION (UINT64_C(64) << 10)

/* From `r` or our memory to `w` or our memory; one of the two is NULL, and then `mine` is where our
 * bytes are. Without that, `byte` is all of them. */
struct job {
	struct vm_io *r, *w;
	char *mine;
	uint8_t byte;
};

static inline uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Both sides of a piece; *n is what lies together on both. */
static int copy_begin(const struct job *j, struct piece p[2], uint64_t *n)
{
	int err = piece_begin(j->r, *n, &p[0]);

	if (err != 0)
		return err;
	*n = p[0].n;
	err = piece_begin(j->w, *n, &p[1]);
	if (err != 0)
		piece_end(j->r, &p[0], 0);
	else
		*n = p[1].n;
	return err;
}

/* One piece. *n is how much of it was copied. */
static int two_sided(const struct job *j, uint64_t *n)
{
	struct piece p[2];
	uint64_t max;
	int err = copy_begin(j, p, n);

	if (err != 0) {
		*n = 0;
		return err;
	}
	max = *n;
	*n -= move_any(p[1].at, p[0].at, max);
	piece_end(j->r, &p[0], *n);
	piece_end(j->w, &p[1], *n);
	return *n == max ? 0 : -EFAULT;
}

/* The same from or to our memory, `done` bytes on. */
static int one_sided(const struct job *j, uint64_t done, uint64_t *n)
{
	struct vm_io *io = j->r != NULL ? j->r : j->w;
	struct piece p;
	uint64_t rest;
	int err = piece_begin(io, *n, &p);

	*n = 0;
	if (err != 0)
		return err;
	if (j->mine == NULL)
		rest = move_fill(p.at, j->byte, p.n);
	else if (j->r != NULL)
		rest = move_any(j->mine + done, p.at, p.n);
	else
		rest = move_any(p.at, j->mine + done, p.n);
	*n = p.n - rest;
	piece_end(io, &p, *n);
	return rest == 0 ? 0 : -EFAULT;
}

static int transfer(const struct job *j, uint64_t len, uint64_t *done)
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
		err = j->r != NULL && j->w != NULL ? two_sided(j, &n) : one_sided(j, *done, &n);
		*done += n;
		some += n;
	}
	epoch_exit();
	return err;
}

/* What an earlier copy found is not this one's. */
static void no_fault_yet(const struct vm_io *io)
{
	if (io->virt != NULL)
		*io->virt->fault = (struct gva_result){ .outcome = GVA_OK };
}

int vm_copy_rest(struct vm_reader *r, struct vm_writer *w, uint64_t len, uint64_t *copied)
{
	struct job j = { .r = &r->io, .w = &w->io };
	int err;

	no_fault_yet(&r->io);
	no_fault_yet(&w->io);
	/* Our memory is one piece. */
	if (r->io.space == NULL && w->io.space != NULL) {
		j = (struct job){ .w = &w->io, .mine = vm_io_ptr(&r->io) };
		err = transfer(&j, len, copied);
		r->io.at += *copied;
	} else if (w->io.space == NULL && r->io.space != NULL) {
		j = (struct job){ .r = &r->io, .mine = vm_io_ptr(&w->io) };
		err = transfer(&j, len, copied);
		w->io.at += *copied;
	} else {
		err = transfer(&j, len, copied);
	}
	return err;
}

int vm_fill(struct vm_writer *w, uint8_t byte, uint64_t len, uint64_t *filled)
{
	struct job j = { .w = &w->io, .byte = byte };
	uint64_t done;
	int err = transfer(&j, smaller(vm_avail(w), len), &done);

	if (filled != NULL)
		*filled = done;
	return err;
}

/* All or nothing for the cursor: it goes back to where it was. */
static int all(const struct job *j, struct vm_io *io, uint64_t len)
{
	uint64_t at = io->at, end = io->end, first = io->first, list_rest = io->list_rest, done;
	unsigned list_next = io->list_next;
	int err;

	if (len > vm_io_left(io))
		return -ERANGE;
	err = transfer(j, len, &done);
	if (err == 0)
		return 0;
	io->at = at;
	if (io->space != NULL)
		io->low = io->limit = at;
	io->end = end;
	io->first = first;
	io->list_next = list_next;
	io->list_rest = list_rest;
	return err;
}

int vm_read_rest(struct vm_reader *r, void *dst, size_t len)
{
	struct job j = { .r = &r->io, .mine = dst };

	return all(&j, &r->io, len);
}

int vm_write_rest(struct vm_writer *w, const void *src, size_t len)
{
	/* Only read from. */
	struct job j = { .w = &w->io, .mine = (char *)(uintptr_t)src };

	return all(&j, &w->io, len);
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
