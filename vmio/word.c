/* SPDX-License-Identifier: MPL-2.0 */
/* Single words: one access each. */
#include "vmio/piece.h"

/* The word at the cursor, inside an epoch section. */
static int word_begin(struct vm_io *io, size_t size, struct piece *p)
{
	int err;

	if (!word_size(size))
		return -EINVAL;
	if (size > vm_io_left(io))
		return -ERANGE;
	if (io->at == io->end)
		piece_next_range(io);
	/* Pages are aligned, in the guest and here. */
	if ((io->at & (size - 1)) != 0)
		return -EINVAL;
	if (size > io->end - io->at)
		return -ERANGE;
	err = piece_begin(io, size, p);
	/* An aligned word lies in one page. */
	ENSURES(err != 0 || p->n == size);
	return err;
}

int vm_read_once(struct vm_reader *r, size_t size, uint64_t *value)
{
	struct piece p = { 0 };
	int err;

	epoch_enter();
	err = word_begin(&r->io, size, &p);
	if (err == 0) {
		err = word_load(p.at, size, value);
		piece_end(&r->io, &p, err == 0 ? size : 0);
	}
	epoch_exit();
	return err;
}

int vm_write_once(struct vm_writer *w, size_t size, uint64_t value)
{
	struct piece p = { 0 };
	int err;

	epoch_enter();
	err = word_begin(&w->io, size, &p);
	if (err == 0) {
		err = word_store(p.at, size, value);
		piece_end(&w->io, &p, err == 0 ? size : 0);
	}
	epoch_exit();
	return err;
}

int vm_atomic_load(struct vm_io *io, size_t size, uint64_t *value)
{
	struct piece p = { 0 };
	int err;

	epoch_enter();
	err = word_begin(io, size, &p);
	if (err == 0) {
		err = word_load(p.at, size, value);
		piece_end(io, &p, 0);
	}
	epoch_exit();
	return err;
}

/*
 * The mark was set when the page was looked up. Whoever has taken it away since has changed the
 * generation before the exchange could be missed: an exchange is a full barrier.
 */
static void marked_still(struct vm_io *io)
{
	if (io->space != NULL && io->virt == NULL && !vm_io_ready(io, 1))
		vm_mark(io->space, gpa(io->at), VM_MARKS);
}

int vm_compare_exchange(struct vm_writer *w, size_t size, uint64_t *old, uint64_t new)
{
	struct piece p = { 0 };
	int err;

	epoch_enter();
	err = word_begin(&w->io, size, &p);
	if (err == 0) {
		err = word_swap(p.at, size, old, new);
		marked_still(&w->io);
		piece_end(&w->io, &p, 0);
	}
	epoch_exit();
	return err;
}

/* How often somebody else may come first. */
#define TRIES 64

int vm_fetch_or(struct vm_writer *w, size_t size, uint64_t bits, uint64_t *old)
{
	uint64_t was = 0;
	int err = vm_atomic_load(&w->io, size, &was);

	if (err != 0)
		return err;
	err = -EAGAIN;
	for (unsigned i = 0; i < TRIES && err == -EAGAIN; i++)
		err = vm_compare_exchange(w, size, &was, was | bits);
	if (err == 0 && old != NULL)
		*old = was;
	return err == -EAGAIN ? -ETIMEDOUT : err;
}
