/* SPDX-License-Identifier: MPL-2.0 */
/*
 * VmSpace: the memory of one guest, as a table of stage 2 and the rules for changing it (seed 003).
 * Generic over the format: ept/ creates one with EPT or NPT.
 *
 * A mapping is changed through a cursor only. A cursor is a lock over a range of guest-physical
 * addresses: while it is open nobody else changes a translation of that range, and read-only
 * cursors over the same range do not exclude each other. What a mutating cursor removes is retired:
 * it reaches the allocator when no CPU can translate to it any more, at the latest when
 * vm_cursor_close returns (translations) and after a grace period (lock-free walkers).
 *
 *      struct vm_cursor c;
 *
 *      err = vm_cursor_open(&c, space, gpa(0x200000), gpa(0x400000), VM_CHANGE);
 *      if (!err) {
 *              pages = vm_unmap(&c, 0x200000);
 *              vm_cursor_close(&c);      <- flushed here, once
 *      }
 *
 * Addresses and lengths are in bytes and multiples of 4 KiB. Errors leave the space as it was.
 * A cursor is used by the CPU that opened it, which does not sleep or enter a guest meanwhile.
 */
#ifndef MM_VM_SPACE_H
#define MM_VM_SPACE_H

#include "base/addr.h"
#include "mm/cursor.h"
#include "mm/owners.h"
#include "mm/pt.h"
#include "mm/pt_ops.h"

struct vm_space;

/*
 * Brings in memory when something touches a page that is not mapped, or not with the rights wanted:
 * the guest's own accesses (through hv/) and the hypervisor's copies (through vmio/).
 * `want` is PT_READ, PT_WRITE or PT_EXEC. Called inside an epoch section, without any lock.
 * 0: mapped now, try again. -EFAULT: there is no memory at that address, or not with that right.
 * -ENOMEM: there would be, but the host has none left.
 */
typedef int (*vm_fault_handler)(void *context, gpa_t at, pt_attr_t want);

#define VM_DEVICES 16

/* Memory of a device that is mapped into a guest (mm/vm_device.h). */
struct vm_device {
	gpa_t gpa;
	hpa_t hpa;
	uint64_t len; /* bytes */
};

struct vm_space {
	struct pt pt;
	vm_fault_handler fault;
	void *fault_context;
	struct spinlock device_lock; /* LOCK_SPACE: the two below */
	unsigned devices;
	struct vm_device device[VM_DEVICES];
	struct owners owners; /* live readers and writers */
};

/* -ENOMEM: no memory for the root table; *space is not usable then. */
int vm_space_init(struct vm_space *space, const struct pt_ops *ops);

/*
 * Unmaps everything and gives all tables back. Precondition: no cursor is open, no vCPU uses it, no
 * reader or writer is active (panics and names one), this CPU is outside any epoch section.
 */
void vm_space_destroy(struct vm_space *space);

/* Attaches the handler, or none (NULL). Precondition: nobody uses the space yet. */
void vm_space_set_fault_handler(struct vm_space *space, vm_fault_handler fault, void *context);

/* Calls the handler. -EFAULT when there is none. */
int vm_space_fault(struct vm_space *space, gpa_t at, pt_attr_t want);

/*
 * This CPU is about to run on the space. True: it must throw away all that it has cached of it
 * first. Until vm_space_leave the CPU belongs to those that flushes interrupt. See mm/tlb.h for
 * what the caller owes.
 */
static inline bool vm_space_activate(struct vm_space *space)
{
	return tlb_enter(&space->pt.tlb);
}

static inline void vm_space_leave(struct vm_space *space)
{
	tlb_leave(&space->pt.tlb);
}

/* The CPUs that run on the space, bit n for CPU n. A snapshot. */
static inline uint64_t vm_space_cpus(const struct vm_space *space)
{
	return atomic_load(&space->pt.tlb.inside);
}

/*
 * Lock-free lookup of the page that contains `at`. Precondition: inside an epoch section; the frame
 * stays allocated until the section ends, but the mapping may be gone when this returns.
 */
static inline struct pt_hit vm_lookup(const struct vm_space *space, gpa_t at)
{
	return space->pt.ops->lookup(&space->pt, at.gpa);
}

/*
 * Where the byte at `at` is in our memory, if its page has all that `needs` says: rights to read
 * and write, marks, PT_TRACKED. Otherwise, and where nothing is mapped, the answer's `at` is NULL.
 * For vmio, which alone reaches a guest's bytes. Precondition: as vm_lookup, and `needs` is not 0.
 */
static inline struct pt_place vm_place(const struct vm_space *space, gpa_t at, pt_attr_t needs)
{
	return space->pt.ops->place(&space->pt, at.gpa, needs);
}

/* vm_lookup as a leaf: true and *out filled when something is mapped. */
static inline bool vm_translate(const struct vm_space *space, gpa_t at, struct pt_leaf *out)
{
	return pt_translate(&space->pt, at.gpa, out);
}

/*
 * Sets accessed or dirty marks of the page that contains `at`, as the CPU would have done for an
 * access that the hypervisor makes in the guest's place. False: nothing is mapped there.
 * Precondition: inside an epoch section.
 */
bool vm_mark(struct vm_space *space, gpa_t at, pt_attr_t marks);

/* Lock-free walk, each level's entry as it stands; returns the number of steps (1 .. levels).
 * Precondition: inside an epoch section. */
unsigned vm_walk(struct vm_space *space, gpa_t at, struct pt_step steps[PT_MAX_LEVELS]);

/* Entry `index` of a table as a leaf of `level`, for printing. */
struct pt_leaf vm_decode(struct vm_space *space, uint64_t raw, unsigned level);

enum vm_access {
	VM_READ,   /* query, find_next, jump */
	VM_CHANGE, /* those, and map, unmap, protect */
};

struct vm_cursor {
	struct pt_cursor c;
	struct vm_space *space;
	struct flusher flusher; /* what was removed, and is still reachable by some CPU */
};

/*
 * Locks [start, end). Errors: -ERANGE (empty, reversed or outside the table's addresses), -EINVAL
 * (not page-aligned), -ENOMEM (VM_CHANGE only). No cursor is open then. An open cursor is an epoch
 * section.
 */
static inline int vm_cursor_open(struct vm_cursor *c, struct vm_space *space, gpa_t start,
				 gpa_t end, enum vm_access access)
{
	c->space = space;
	flusher_init(&c->flusher, &space->pt);
	return space->pt.ops->open(&c->c, &space->pt, start.gpa, end.gpa, access == VM_CHANGE);
}

/*
 * Tells the CPUs that are in the guest now, without waiting: they flush while the caller does
 * something else. What is changed later is flushed again.
 */
static inline void vm_cursor_dispatch(struct vm_cursor *c)
{
	flusher_dispatch(&c->flusher);
}

/*
 * Dispatches and syncs now, with the cursor's locks held, so that nobody can map the same place
 * meanwhile and be flushed away unseen: after this no CPU can use what was removed. Every operation
 * that needs room in the flusher does so by itself.
 */
static inline void vm_cursor_flush(struct vm_cursor *c)
{
	flusher_settle(&c->flusher, &c->space->pt.tlb);
}

/* Flushes what has to be flushed, waits until no CPU can reach what was removed, unlocks. */
static inline void vm_cursor_close(struct vm_cursor *c)
{
	if (flusher_issued(&c->flusher) || c->flusher.generation != 0)
		vm_cursor_flush(c);
	if (CHECKED)
		flusher_fini(&c->flusher);
	c->space->pt.ops->close(&c->c);
}

/* Where the cursor stands: start <= at <= end. */
gpa_t vm_cursor_at(const struct vm_cursor *c);

/*
 * What is at the cursor. *out is the mapping that covers it, or with attr 0 the empty slot; either
 * may reach beyond the cursor's range. -EFAULT at the end of the range. Does not move.
 */
int vm_query(struct vm_cursor *c, struct pt_leaf *out);

/*
 * Moves to the first mapping at or after the cursor within `len` bytes: true, and the cursor stands
 * at it (where it was, if a page already covers it). False: nothing there, the cursor stands at
 * exactly start + len. Precondition: len page-aligned, within the range that is left.
 */
bool vm_find_next(struct vm_cursor *c, uint64_t len);

/*
 * One step of an iteration over all mappings: the next one within `len` bytes is in *out, and the
 * cursor stands after it (at start + len, if it reaches beyond). False: as vm_find_next.
 */
bool vm_next(struct vm_cursor *c, uint64_t len, struct pt_leaf *out);

/* Moves to `at`, start <= at <= end. -ERANGE outside, -EINVAL unaligned; then it does not move. */
int vm_jump(struct vm_cursor *c, gpa_t at);

/*
 * Makes sure that mapping cannot fail for want of tables, of which it needs at most `tables`.
 * -ENOMEM: nothing reserved. What is left over is given back at close.
 */
int vm_reserve(struct vm_cursor *c, unsigned tables);

/*
 * Maps the block `frame` (4 KiB, 2 MiB or 1 GiB by its order) at the cursor and moves past it. The
 * caller's reference moves into the mapping. A mapping that was there is replaced and retired.
 * Errors: -EINVAL (cursor not aligned to the block; rights the format cannot express; memory type),
 * -ERANGE (does not fit into what is left of the range), -ENOMEM. Then the reference stays the
 * caller's and nothing is changed.
 */
static inline int vm_map(struct vm_cursor *c, struct frame *frame, pt_attr_t attr)
{
	REQUIRES(frame->order % 9 == 0 && frame_refs(frame) != 0);
	if (flusher_full(&c->flusher))
		vm_cursor_flush(c);
	return c->space->pt.ops->map(&c->c, frame_hpa(frame), pt_block_level(frame),
				     attr | PT_TRACKED, &c->flusher);
}

/* As vm_map, but never replaces: -EEXIST when something is there, be it an empty table. */
static inline int vm_map_new(struct vm_cursor *c, struct frame *frame, pt_attr_t attr)
{
	REQUIRES(frame->order % 9 == 0 && frame_refs(frame) != 0);
	return c->space->pt.ops->map_new(&c->c, frame_hpa(frame), pt_block_level(frame),
					 attr | PT_TRACKED);
}

/*
 * Maps [start, start + len), untracked memory (a device's), with the largest pages that fit, and
 * moves past it. Errors as vm_map, and -ERANGE above the CPU's physical addresses. On -ENOMEM the
 * part before the cursor's new position is mapped.
 */
int vm_map_untracked_many(struct vm_cursor *c, hpa_t start, uint64_t len, pt_attr_t attr);

static inline int vm_map_untracked(struct vm_cursor *c, hpa_t start, uint64_t len, pt_attr_t attr)
{
	if (len != PAGE_SIZE || flusher_full(&c->flusher))
		return vm_map_untracked_many(c, start, len, attr);
	return c->space->pt.ops->map(&c->c, start, 1, attr & ~PT_TRACKED, &c->flusher);
}

/*
 * Maps `n` blocks (of 4 KiB, 2 MiB or 1 GiB) one after the other, each as vm_map does, with one
 * walk for each table. *done of them are mapped, and their references have moved, also when an
 * error stops it: that block's error as of vm_map.
 */
int vm_map_frames(struct vm_cursor *c, struct frame *const *frames, uint64_t n, pt_attr_t attr,
		  uint64_t *done);

/*
 * Removes everything in [at, at + len) and moves past it. Pages that reach over an end are split
 * and keep their outer part. *pages is the number of 4 KiB pages that were mapped there, those of
 * large pages and of untracked memory included.
 * -ENOMEM: a page had to be split and there was no memory; *pages counts what was removed, the
 * cursor stands where it stopped. Precondition: len page-aligned, within the range that is left.
 */
int vm_unmap_rest(struct vm_cursor *c, uint64_t limit, uint64_t *pages);

static inline int vm_unmap(struct vm_cursor *c, uint64_t len, uint64_t *pages)
{
	uint64_t limit = c->c.va + len;
	int err;

	REQUIRES((len & (PAGE_SIZE - 1)) == 0 && len <= c->c.end - c->c.va);
	*pages = 0;
	err = c->space->pt.ops->unmap(&c->c, limit, &c->flusher, pages);
	return err != 0 || c->c.va == limit ? err : vm_unmap_rest(c, limit, pages);
}

/*
 * Takes out the next mapping within `len` bytes, or a whole table where the range covers all of it,
 * and moves past it; a page that reaches over an end is split and keeps its outer part. What was
 * there is retired. 0; -ENOENT: nothing, the cursor stands at start + len; -ENOMEM: could not
 * split, nothing changed. Precondition as vm_unmap.
 */
int vm_take_next(struct vm_cursor *c, uint64_t len, struct pt_fragment *out);

/*
 * Changes all mappings in [at, at + len) as vm_protect_next does one, and moves past them. *pages
 * is the number of 4 KiB pages that were mapped there. -EINVAL: nothing is changed; -ENOMEM: a page
 * had to be split, *pages counts what was changed, the cursor stands where it stopped.
 */
int vm_protect(struct vm_cursor *c, uint64_t len, pt_attr_t attr, uint64_t *pages);

/*
 * Joins the 512 pages of `size` / 512 at the cursor into one of `size` (2 MiB or 1 GiB) and moves
 * past it. They must be neighbours in host memory too, aligned to `size`, and alike but for their
 * marks; the large page has the marks that any of them had, those included that the CPU sets until
 * the end. Tracked pages must be all of one block, or frames of one kind that nothing else refers
 * to: these become one block.
 * Errors: -EINVAL (size, or the cursor not aligned to it), -ERANGE (does not fit into the range, or
 * the range is less than a whole table's entry), -ENOENT (no such 512 pages), -EBUSY (somebody else
 * holds one of the frames). Nothing is changed then. Flushes, and waits for it.
 */
int vm_collapse(struct vm_cursor *c, uint64_t size);

/*
 * Changes the rights (PT_RIGHTS, PT_USER and memory type bits) of the next mapping within `len`
 * bytes to those of `attr`, splitting it when it is not wholly inside; accessed, dirty and tracked
 * stay as they are, and bits that the CPU sets meanwhile are not lost. *out is what the mapping was
 * before, clipped to the part that was changed; the cursor stands after it.
 * 0; -ENOENT: no mapping in `len` bytes, the cursor stands at start + len; -EINVAL: rights that the
 * format cannot express; -ENOMEM: could not split, nothing changed, the cursor stands at the
 * mapping. Taking rights away takes effect on all CPUs when vm_cursor_close returns.
 */
int vm_protect_next(struct vm_cursor *c, uint64_t len, pt_attr_t attr, struct pt_leaf *out);

/* Clears marks (PT_ACCESSED, PT_DIRTY) of the next mapping; as vm_protect_next otherwise. */
int vm_clear_marks_next(struct vm_cursor *c, uint64_t len, pt_attr_t marks, struct pt_leaf *out);

/*
 * Audits T1-T7 over the whole table: levels, counts of entries, alignment, references, no stray
 * node reachable. Locks the table as a reader. Returns the number of violations, each told to
 * `report`.
 */
struct vm_audit {
	uint64_t nodes, leaves[4], violations;
};
void vm_audit(struct vm_space *space, struct vm_audit *out, void (*report)(const char *text));

#endif
