/* SPDX-License-Identifier: MPL-2.0 */
/*
 * VmReader and VmWriter: the only way to a guest's bytes (seeds 000 and 004). A reader or writer
 * stands somewhere in a range of hypervisor memory, of a guest's physical memory, or of a guest's
 * virtual memory (vmio/virtual.h), and moves as it copies.
 *
 *      create ──▶ activate ──▶ use ──▶ dispose ──▶ remove        over a guest; hypervisor memory
 *                    ▲  -EBUSY: others are there  │              needs only the first and the third
 *                    └────────────────────────────┘
 *
 * Guest memory is reached page by page through the space's own tables, with the rights of the
 * mapping, and brought in by the space's fault handler where it is missing. Writing marks the page
 * dirty. Guest memory is hostile: what is read is a copy, each byte of it loaded once.
 *
 * Who changes a mapping, and who copies. A page is looked up once and remembered ("page last
 * used") as a TLB would, by the generation of the space (mm/tlb.h), which changes with each flush:
 *
 *      this reader                              another CPU
 *      epoch_enter; lookup: frame F
 *                                               entry := absent; generation 8 -> 9
 *                                               F is retired: waits for our section
 *      generation is not 8: looks up again      vm_cursor_close returns
 *      epoch_exit
 *                                               F goes to the allocator
 *
 * Inside an open epoch section of the caller consecutive accesses to one page pay for one lookup;
 * outside, each operation opens its own. A copy that had begun when the mapping was taken away ends
 * with the frame that was there, maybe after vm_cursor_close has returned: whoever then wants to
 * see all of it (to send the page away, to count it as clean) waits for a grace period first.
 *
 * Bytes are copied from low to high, and where the destination lies ahead in the source the result
 * is that of copying byte by byte. Addresses, lengths and offsets are in bytes. Errors of all
 * copies: -EFAULT: the next byte is in no memory of the guest, or has not the right; -ENOMEM: it
 * would have to be brought in and could not. What was done until then has been done and counted.
 */
#ifndef VMIO_VMIO_H
#define VMIO_VMIO_H

#include "vmio/guest_word.h"
#include "vmio/move.h"
#include "vmio/owner.h"

/* This reader shares with nobody, as a writer. (The other flags are in vmio/page.h.) */
#define VM_ALONE (1u << 2)

/* The place in the code that uses a guest's memory, and what it may do beyond the usual. Outlives
 * the readers and writers that it is given to. */
struct vm_use {
	const char *who; /* for the log: "console", "loader" */
	unsigned flags;	 /* VM_PRESENT, VM_READ_ONLY_TOO, VM_ALONE */
};

enum vm_io_state {
	VM_IO_HOST,    /* over hypervisor memory: always usable */
	VM_IO_CREATED, /* or disposed of */
	VM_IO_ACTIVE,
	VM_IO_REMOVED,
};

struct vm_virtual; /* vmio/virtual.h */

/* What readers and writers have in common. Its members are vmio's own. */
struct vm_io {
	uint64_t at, end;    /* the range that it stands in, as addresses of its kind */
	uint64_t low, limit; /* [low, limit), where `at` is, lies in our memory `bias` on ... */
	uint64_t bias;
	uint64_t generation; /* ... as long as that is the generation of the space */
	/* The page after it, looked up before it was needed: `room` bytes from `at` on. */
	struct {
		uint64_t at, room, bias, generation;
	} next;
	struct vm_space *space; /* NULL: hypervisor memory */
	const struct vm_use *use;
	struct owner_slot *slot; /* ACTIVE, one range */
	uint64_t id;
	uint64_t first;		     /* start of the first range */
	const struct vm_range *list; /* NULL, or all of its ranges */
	unsigned list_count, list_next;
	uint64_t list_rest; /* bytes in those from list_next on */
	struct vm_virtual *virt;
	uint8_t state;
	bool writes;
	pt_attr_t needs; /* of each page */
};

struct vm_reader {
	struct vm_io io;
};

struct vm_writer {
	struct vm_io io;
};

/* --- creation ------------------------------------------------------------------------------- */

/* Over hypervisor memory [p, p + len). Zero length is allowed everywhere. */
struct vm_reader vm_reader_host(const void *p, size_t len);
struct vm_writer vm_writer_host(void *p, size_t len);

/* Over a variable of any plain type: from_pod. */
#define vm_reader_of(p) vm_reader_host((p), sizeof(*(p)))
#define vm_writer_of(p) vm_writer_host((p), sizeof(*(p)))

/* Over guest-physical [at, at + len). -ERANGE when that wraps, and *r is left alone; what is mapped
 * there is not looked at before the copy. The space must outlive the reader. */
int vm_reader_guest(struct vm_reader *r, struct vm_space *space, gpa_t at, uint64_t len,
		    const struct vm_use *use);
int vm_writer_guest(struct vm_writer *w, struct vm_space *space, gpa_t at, uint64_t len,
		    const struct vm_use *use);

/*
 * Over several ranges, one after the other, as a virtqueue has them. The list is the caller's and
 * stays as it is while the reader lives; it is in hypervisor memory, a copy of what a guest said.
 * -ERANGE: a range wraps, or all together do; -E2BIG: more than OWNER_LIST.
 */
int vm_reader_list(struct vm_reader *r, struct vm_space *space, const struct vm_range *ranges,
		   unsigned n, const struct vm_use *use);
int vm_writer_list(struct vm_writer *w, struct vm_space *space, const struct vm_range *ranges,
		   unsigned n, const struct vm_use *use);

/* --- ownership ------------------------------------------------------------------------------ */

/*
 * Takes its place among the live readers and writers of the space: a writer excludes all that
 * overlap, readers share but for VM_ALONE. -EBUSY: somebody is in the way, owner_conflict() says
 * who; -ENOSPC. Then it is not active. A copy of an active reader (of the struct) is usable while
 * the original is active, and is not disposed of. The whole range is claimed, wherever it stands.
 * Those over guest-virtual memory claim each piece as they copy it.
 * Precondition: over a guest, created or disposed of.
 */
int vm_io_activate(struct vm_io *io);

/* Gives its place up. It stands where it stood and may be activated again. Precondition: active. */
void vm_io_dispose(struct vm_io *io);

/* Ends it: its id is never seen again. Precondition: created or disposed of. */
void vm_io_remove(struct vm_io *io);

/* --- where it stands ------------------------------------------------------------------------ */

static inline uint64_t vm_io_left(const struct vm_io *io)
{
	return io->end - io->at + io->list_rest;
}

/* Bytes that can be read, and written. */
static inline uint64_t vm_remain(const struct vm_reader *r)
{
	return vm_io_left(&r->io);
}

static inline uint64_t vm_avail(const struct vm_writer *w)
{
	return vm_io_left(&w->io);
}

/* The address of the next byte, of the reader's own kind; where none is left, that after the last
 * one (of a list without any bytes: 0). */
uint64_t vm_io_at(const struct vm_io *io);

/* Ends it after at most n bytes from here, for good. What it has claimed stays claimed. */
void vm_io_limit(struct vm_io *io, uint64_t n);

/* Moves on by n bytes without looking at them. Precondition: n <= vm_io_left. */
void vm_io_skip(struct vm_io *io, uint64_t n);

/* Stands `offset` bytes after the start of its range. -ERANGE: beyond its end; -EINVAL: it has
 * several ranges. Then it does not move. */
static inline int vm_io_seek(struct vm_io *io, uint64_t offset)
{
	uint64_t to = io->first + offset;

	if (__builtin_expect(io->list != NULL, 0))
		return -EINVAL;
	if (__builtin_expect(offset > io->end - io->first, 0))
		return -ERANGE;
	/* Another page than the one last used. */
	if (to < io->low || to > io->limit)
		io->low = io->limit = to;
	io->at = to;
	return 0;
}

/* --- copies --------------------------------------------------------------------------------- */

/* Fills with a byte, as vm_copy. */
int vm_fill(struct vm_writer *w, uint8_t byte, uint64_t len, uint64_t *filled);

/* The whole of vm_read_bytes and vm_write_bytes, not in place. */
int vm_read_rest(struct vm_reader *r, void *dst, size_t len);
int vm_write_rest(struct vm_writer *w, const void *src, size_t len);

/* Are the next n bytes those of the page last used, and is that still so? */
static inline bool vm_io_ready(const struct vm_io *io, uint64_t n)
{
	if (__builtin_expect(n > io->limit - io->at, 0))
		return false;
	return io->space == NULL ||
	       (epoch_inside() && vm_page_unchanged(io->space, io->generation));
}

static inline void *vm_io_ptr(const struct vm_io *io)
{
	return hva_ptr(hva(io->bias + io->at));
}

/* The page at io->at becomes the page last used; it may begin before the range does. */
static inline void vm_io_remember(struct vm_io *io, struct pt_place place, uint64_t generation)
{
	uint64_t last = io->at | (place.size - 1);

	io->low = last & -place.size;
	io->limit = last < io->end ? last + 1 : io->end;
	io->bias = hva_of(place.at).hva - io->at;
	io->generation = generation;
}

/* vm_io_look where the page looked up ahead is wanted now; and where that last used ends with, or
 * before, the n bytes: who uses up a page wants the one after it. */
void *vm_io_look_next(struct vm_io *io, uint64_t n);
void *vm_io_look_beyond(struct vm_io *io, uint64_t n);

static inline __attribute__((always_inline)) void *vm_io_look_here(struct vm_io *io, uint64_t n)
{
	struct vm_space *space = io->space;
	uint64_t at = io->at, generation;
	struct pt_place place;

	/* Nothing, or more than there is. */
	if (__builtin_expect(n - 1 >= io->end - at || !epoch_inside() || io->virt != NULL, 0))
		return NULL;
	REQUIRES(io->state == VM_IO_ACTIVE || io->state == VM_IO_HOST);
	if (__builtin_expect(at == io->next.at, 0))
		return vm_io_look_next(io, n);
	generation = vm_page_watch(space);
	place = vm_place(space, gpa(at), io->needs);
	if (__builtin_expect(place.at == NULL, 0))
		return NULL;
	vm_io_remember(io, place, generation);
	return n < io->limit - at ? place.at : vm_io_look_beyond(io, n);
}

/*
 * Inside an epoch section of the caller: makes the page where it stands the page last used, and
 * gives the place of the next n bytes in our memory. NULL: one walk is not enough, and it is up to
 * vm_read_rest or vm_write_rest.
 */
void *vm_io_look(struct vm_io *io, uint64_t n);

/* The same for words without a call but for the walk. */
static inline __attribute__((always_inline)) void *vm_io_find(struct vm_io *io, uint64_t n)
{
	return __builtin_constant_p(n) && n <= 8 ? vm_io_look_here(io, n) : vm_io_look(io, n);
}

/* vm_copy where the bytes do not lie together on both sides; len is that of the copy. */
int vm_copy_rest(struct vm_reader *r, struct vm_writer *w, uint64_t len, uint64_t *copied);

/*
 * Copies min(left of r, left of w, max) bytes; both move by exactly what was copied, which is in
 * *copied (may be NULL) in every case. Also -EBUSY: guest-virtual memory that somebody else uses,
 * or that the copy itself uses on its other side.
 * Precondition, here and above: active. No lock held that the space's fault handler takes.
 */
static inline int vm_copy(struct vm_reader *r, struct vm_writer *w, uint64_t max, uint64_t *copied)
{
	uint64_t n = vm_remain(r) < vm_avail(w) ? vm_remain(r) : vm_avail(w), done;
	int err = 0;

	n = n < max ? n : max;
	if (vm_io_ready(&r->io, n) && vm_io_ready(&w->io, n)) {
		done = n - move_any(vm_io_ptr(&w->io), vm_io_ptr(&r->io), n);
		r->io.at += done;
		w->io.at += done;
		err = done == n ? 0 : -EFAULT;
	} else {
		err = vm_copy_rest(r, w, n, &done);
	}
	if (copied != NULL)
		*copied = done;
	return err;
}

/* Copies out or in, all or nothing for the cursor: -ERANGE (fewer than `len` bytes left) and the
 * errors of a copy leave it where it was; bytes of the destination may have been written. */
static inline __attribute__((always_inline)) int vm_read_bytes(struct vm_reader *r, void *dst,
							       size_t len)
{
	void *at = NULL;

	if (__builtin_expect(vm_io_ready(&r->io, len), 1))
		at = vm_io_ptr(&r->io);
	else if ((at = vm_io_find(&r->io, len)) == NULL)
		return vm_read_rest(r, dst, len);
	if (__builtin_expect(move_bytes(dst, at, len) != 0, 0))
		return -EFAULT;
	r->io.at += len;
	return 0;
}

static inline __attribute__((always_inline)) int vm_write_bytes(struct vm_writer *w,
								const void *src, size_t len)
{
	void *at = NULL;

	if (__builtin_expect(vm_io_ready(&w->io, len), 1))
		at = vm_io_ptr(&w->io);
	else if ((at = vm_io_find(&w->io, len)) == NULL)
		return vm_write_rest(w, src, len);
	if (__builtin_expect(move_bytes(at, src, len) != 0, 0))
		return -EFAULT;
	w->io.at += len;
	return 0;
}

/* A variable of any plain type, of any alignment in the guest; it may be torn. */
#define vm_read_val(r, p)  vm_read_bytes((r), (p), sizeof(*(p)))
#define vm_write_val(w, p) vm_write_bytes((w), (p), sizeof(*(p)))

/* --- single words --------------------------------------------------------------------------- */

/*
 * One access of `size` bytes (1, 2, 4 or 8), never torn or repeated. The first two move, the others
 * do not. -EINVAL: another size, or not aligned to it; -ERANGE: fewer bytes are left in the range
 * that it stands in; and the errors of a copy. Then nothing is changed, read or moved. A writer's
 * page is marked dirty by all of them, also where the exchange does not take place, as by the CPU.
 */
int vm_read_once(struct vm_reader *r, size_t size, uint64_t *value);
int vm_write_once(struct vm_writer *w, size_t size, uint64_t value);

/* An atomic load, sequentially consistent with the two below. */
int vm_atomic_load(struct vm_io *io, size_t size, uint64_t *value);

/* Puts `new` in the place of *old, of which `size` bytes count. -EAGAIN: something else is there,
 * which *old is now. */
int vm_compare_exchange(struct vm_writer *w, size_t size, uint64_t *old, uint64_t new);

/* Sets bits; *old (may be NULL) is what was there. -ETIMEDOUT: others change it all the time. */
int vm_fetch_or(struct vm_writer *w, size_t size, uint64_t bits, uint64_t *old);

/* --- all at once ---------------------------------------------------------------------------- */

/* Create, activate, copy `len` bytes at `at`, dispose, remove. Also -ERANGE, -EBUSY, -ENOSPC; on
 * errors some of the destination may have been written. */
int vm_read_guest(struct vm_space *space, gpa_t at, void *dst, size_t len,
		  const struct vm_use *use);
int vm_write_guest(struct vm_space *space, gpa_t at, const void *src, size_t len,
		   const struct vm_use *use);

#endif
