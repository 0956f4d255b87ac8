/* SPDX-License-Identifier: MPL-2.0 */
#include "vmio/vmio.h"

#include "base/contract.h"
#include "base/err.h"
#include "base/string.h"

struct vm_reader vm_reader_host(const void *p, size_t len)
{
	return (struct vm_reader){ { .at.host = hva_of(p), .left = len } };
}

struct vm_writer vm_writer_host(void *p, size_t len)
{
	return (struct vm_writer){ { .at.host = hva_of(p), .left = len } };
}

static int io_guest(struct vm_io *io, struct vm_space *space, gpa_t at, uint64_t len)
{
	if (at.gpa + len < at.gpa)
		return -ERANGE;
	*io = (struct vm_io){ .space = space, .at.guest = at, .left = len };
	return 0;
}

int vm_reader_guest(struct vm_reader *r, struct vm_space *space, gpa_t at, uint64_t len)
{
	return io_guest(&r->io, space, at, len);
}

int vm_writer_guest(struct vm_writer *w, struct vm_space *space, gpa_t at, uint64_t len)
{
	return io_guest(&w->io, space, at, len);
}

static void io_advance(struct vm_io *io, uint64_t n)
{
	REQUIRES(n <= io->left);
	if (io->space != NULL)
		io->at.guest = gpa_add(io->at.guest, n);
	else
		io->at.host = hva_add(io->at.host, n);
	io->left -= n;
}

/*
 * Where the next bytes are, and in *n how many of them lie together (at most *n). Brings memory in
 * through the space's fault handler. Inside an epoch section, for the length of which the answer's
 * memory stays what it is, even if it is unmapped meanwhile.
 */
static int io_resolve(struct vm_io *io, pt_attr_t want, void **p, uint64_t *n)
{
	struct pt_leaf leaf;
	uint64_t offset;

	if (*n > io->left)
		*n = io->left;
	if (io->space == NULL) {
		*p = hva_ptr(io->at.host);
		return 0;
	}
	while (!vm_translate(io->space, io->at.guest, &leaf) || (leaf.attr & want) == 0) {
		int err = vm_space_fault(io->space, io->at.guest, want);

		if (err != 0)
			return err;
	}
	/* Only RAM has bytes; a device's registers are not memory to be copied. */
	if ((leaf.attr & PT_TRACKED) == 0)
		return -EFAULT;
	offset = io->at.guest.gpa - leaf.va;
	if (*n > leaf.size - offset)
		*n = leaf.size - offset;
	*p = hpa_ptr(hpa_add(leaf.hpa, offset));
	if (want == PT_WRITE)
		vm_mark(io->space, io->at.guest, PT_ACCESSED | PT_DIRTY);
	return 0;
}

/* One piece that is contiguous on both sides. */
static int copy_piece(struct vm_reader *r, struct vm_writer *w, uint64_t *n)
{
	void *src, *dst;
	int err = io_resolve(&r->io, PT_READ, &src, n);

	if (err == 0)
		err = io_resolve(&w->io, PT_WRITE, &dst, n);
	if (err != 0)
		return err;
	memmove(dst, src, *n);
	io_advance(&r->io, *n);
	io_advance(&w->io, *n);
	return 0;
}

int vm_copy(struct vm_reader *r, struct vm_writer *w, uint64_t max, uint64_t *copied)
{
	uint64_t done = 0;
	int err = 0;

	while (err == 0 && done < max && r->io.left != 0 && w->io.left != 0) {
		uint64_t n = max - done;

		epoch_enter();
		err = copy_piece(r, w, &n);
		epoch_exit();
		if (err == 0)
			done += n;
	}
	if (copied != NULL)
		*copied = done;
	return err;
}

int vm_fill_zero(struct vm_writer *w, uint64_t len, uint64_t *filled)
{
	uint64_t done = 0;
	int err = 0;

	while (err == 0 && done < len && w->io.left != 0) {
		uint64_t n = len - done;
		void *dst;

		epoch_enter();
		err = io_resolve(&w->io, PT_WRITE, &dst, &n);
		if (err == 0) {
			memset(dst, 0, n);
			io_advance(&w->io, n);
			done += n;
		}
		epoch_exit();
	}
	if (filled != NULL)
		*filled = done;
	return err;
}

int vm_read_bytes(struct vm_reader *r, void *dst, size_t len)
{
	struct vm_reader from = *r;
	struct vm_writer to = vm_writer_host(dst, len);
	int err;

	if (len > r->io.left)
		return -ERANGE;
	err = vm_copy(&from, &to, len, NULL);
	if (err == 0)
		*r = from;
	return err;
}

int vm_write_bytes(struct vm_writer *w, const void *src, size_t len)
{
	struct vm_reader from = vm_reader_host(src, len);
	struct vm_writer to = *w;
	int err;

	if (len > w->io.left)
		return -ERANGE;
	err = vm_copy(&from, &to, len, NULL);
	if (err == 0)
		*w = to;
	return err;
}
