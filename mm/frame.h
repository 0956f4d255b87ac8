/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Frames: one slot of metadata for each 4 KiB of RAM, and the rules of who may use it.
 *
 *          frame_alloc           frame_get                     the count word, `refs`:
 *   free ────────────▶ SHARED(1) ⇄ SHARED(n)                   0          UNUSED
 *     ▲                ▲   │   ▲                               1          BUSY
 *     │  frame_from_unique │ frame_to_unique                   n + 1      SHARED(n)
 *     │                    ▼                                   UNIQUE     of one owner
 *     │                 UNIQUE                                 HEAD + o   first of a free block
 *     │                    │ frame_put of the last,            CACHED     in a CPU's stack
 *     └──── BUSY ◀─────────┘ frame_unique_drop
 *      destructor done
 *
 * Zero means UNUSED so that a zeroed array is a valid one, and the last put lands on BUSY by
 * itself, so that nobody can take the frame before its destructor has finished. UNUSED is what no
 * slot knows the owner of: memory that was never the allocator's (frame_from_unused takes it), and
 * the tails of blocks, free or in use.
 *
 * A frame of 2 MiB or 1 GiB is a block: its first slot, the head, carries order 9 or 18, the kind
 * and the count. The others, the tails, are not touched: they read UNUSED, and belong to the block
 * because an aligned slot before them is the head of one that reaches them (frame_head). A
 * reference to any page of a block counts on the head, and the block is freed as a whole.
 */
#ifndef MM_FRAME_H
#define MM_FRAME_H

#include <stdatomic.h>

#include "base/addr.h"
#include "base/epoch.h"
#include "base/lock.h"

#define FRAME_ORDER_4K 0
#define FRAME_ORDER_2M 9
#define FRAME_ORDER_1G 18
#define FRAME_ORDERS   (FRAME_ORDER_1G + 1)

/* What a frame is used as; also the row of the accounts in `mem`. */
enum frame_kind {
	FRAME_FREE = 0,	    /* the allocator's */
	FRAME_RESERVED,	    /* firmware's, holes: never handed out */
	FRAME_IMAGE,	    /* Nestling's text, data, boot modules */
	FRAME_META,	    /* frame metadata */
	FRAME_KERNEL,	    /* stacks, per-CPU areas, control blocks, bitmaps */
	FRAME_HOST_TABLE,   /* page-table node of Nestling itself */
	FRAME_STAGE2_TABLE, /* page-table node of a guest */
	FRAME_GUEST,	    /* guest RAM: untyped, the only kind whose bytes may be copied raw */
	FRAME_KINDS,
};

#define FRAME_UNUSED	0u
#define FRAME_BUSY	1u
#define FRAME_REFS_MAX	0x3fffffffu /* references; a count that would exceed it panics */
#define FRAME_UNIQUE	0x60000000u
/* Plus the order: the first frame of a block in the allocator's lists. Kept in the count word, the
 * only one that may be looked at while the frame is somebody else's. */
#define FRAME_FREE_HEAD 0x80000000u
/* In the place of the order: 2 MiB, given back a moment ago, in no list yet. */
#define FRAME_RECENT	FRAME_ORDERS
#define FRAME_CACHED	0xc0000000u

#define FRAME_NONE UINT32_MAX /* no frame number: links are 32-bit, 16 TiB of RAM */

struct frame {
	_Atomic uint32_t refs;
	uint8_t kind;	       /* enum frame_kind */
	_Atomic uint8_t order; /* of the block that this frame is the head of */
	uint16_t present;      /* FRAME_*_TABLE: entries that are not absent; guarded by `lock` */
	union {
		/*
		 * FRAME_*_TABLE. Its two spare bytes are the node's level and "stray": taken out of
		 * its tree, so that whoever locks it late must start again (both guarded by it).
		 * A retired node keeps them through its grace period.
		 */
		union rwlock lock;
		uint64_t word; /* other kinds: the owner's, see frame_set_word */
	};
	union {
		struct epoch_item defer; /* last reference gone, waiting for the grace period */
		/* FRAME_FREE_HEAD: guarded by the allocator's lock. FRAME_UNIQUE: by the list's
		 * owner. */
		struct {
			uint32_t next, prev;
			_Atomic uint64_t list; /* FRAME_UNIQUE: id of the frame_list, 0 for none */
		} link;
	};
};

_Static_assert(sizeof(struct frame) == 32, "the budget: at most 32 bytes a frame");

/* The slot array is linear in the frame number. Valid for frames inside RAM only: see frame_at. */
extern uint64_t frame_limit; /* one past the largest frame number of RAM */

#include <arch/layout.h>

static inline struct frame *frame_slot(uint64_t pfn)
{
	return (struct frame *)META_BASE + pfn;
}

static inline uint64_t frame_pfn(const struct frame *f)
{
	return (uint64_t)(f - (const struct frame *)META_BASE);
}

static inline hpa_t frame_hpa(const struct frame *f)
{
	return hpa(frame_pfn(f) << PAGE_SHIFT);
}

static inline uint64_t frame_size(const struct frame *f)
{
	return PAGE_SIZE << atomic_load_explicit(&f->order, memory_order_relaxed);
}

/*
 * Where host-physical memory of RAM is seen by the hypervisor. The only way from one to the other.
 * Precondition: `a` lies in RAM (frame_at(a) is not NULL) or the linear map is known to have it.
 */
static inline hva_t hpa_to_hva(hpa_t a)
{
	return hva(LINEAR_BASE + a.hpa);
}

static inline void *hpa_ptr(hpa_t a)
{
	return hva_ptr(hpa_to_hva(a));
}

/* The inverse, for an address inside the linear map. */
static inline hpa_t hva_to_hpa(hva_t a)
{
	return hpa(a.hva - LINEAR_BASE);
}

/*
 * Tells that [start, start + bytes) is RAM and has slots, all zero. At boot, in ascending order, at
 * most FRAME_REGIONS times; pages of RAM that nobody registered do not exist for frame_at. A 2 MiB
 * piece of memory, aligned, that holds any RAM has slots for all of it.
 */
#define FRAME_REGIONS 256
void frame_init_region(hpa_t start, uint64_t bytes);
/* Tests only: no RAM at all, as before the first region. */
void frame_forget_regions(void);

/*
 * The slot of the frame that contains `a`, or NULL when `a` lies in no RAM. Does not resolve tails.
 */
struct frame *frame_at(hpa_t a);

/*
 * The head of the block that `f` belongs to; `f` itself for a head, a plain frame, or free memory.
 * Takes no lock. For memory that is in use all the while the answer is a block that holds it, also
 * while another CPU splits the block or joins it to a larger one (mm/frame_block.h).
 */
struct frame *frame_head(struct frame *f);

/* What a frame is, at this moment. */
enum frame_state {
	FRAME_STATE_UNUSED, /* of no block: for frame_from_unused */
	FRAME_STATE_BUSY,   /* being made, or its last owner is just taking it down */
	FRAME_STATE_SHARED,
	FRAME_STATE_UNIQUE,
	FRAME_STATE_FREE, /* the allocator's: in its lists or stacks, or the tail of such a block */
	FRAME_STATE_TAIL, /* inside a block in use, but not its head */
};

/* Snapshot. `f` is a slot in RAM. */
enum frame_state frame_state(const struct frame *f);

/*
 * Takes the frame at `at`, which has no owner and is not the allocator's (memory that boot found,
 * that a guest image lay in), as one of `kind` with one reference. Its `word` is 0. Its bytes are
 * booked as used by `kind` and become part of the total: whoever had booked them by hand
 * (frame_account_add) takes that back. The last put gives it to the allocator.
 *
 * 0, or with nothing changed and *f untouched:
 *   -EINVAL  `at` is not page-aligned             -EEXIST  it is shared, or the tail of a block
 *   -ERANGE  it is not in RAM                     -EACCES  it is unique
 *   -EBUSY   it is being made or taken down       -EPERM   it is the allocator's
 */
int frame_from_unused(hpa_t at, enum frame_kind kind, struct frame **f);

/*
 * One more reference to the block that holds `at`, for a caller that owns none. Takes no lock. The
 * errors are those of frame_from_unused, and -ENOENT for a frame that is not in use.
 */
int frame_from_in_use(hpa_t at, struct frame **f);

/*
 * A reference as a plain address, for storing it where no pointer fits; the address owns it then.
 * frame_from_raw takes it back: panics in checked builds when no shared head is there.
 */
hpa_t frame_into_raw(struct frame *f);
struct frame *frame_from_raw(hpa_t at);

/*
 * The bytes of an untyped frame, frame_size(f) of them; the only kinds whose bytes may be read and
 * written as such are those that frame_kind_untyped names. Panics for the others: the bytes of a
 * page-table node are the engine's.
 */
bool frame_kind_untyped(enum frame_kind kind);
void *frame_bytes(struct frame *f);

/* The bytes of a block of FRAME_KERNEL: what the rooms above keep in memory of their own. Panics
 * for the others: those of a guest are vmio's. */
void *frame_own_bytes(const struct frame *f);

/*
 * One more, or n more, references for a caller that owns one already. `f` is a head.
 * Panics long before the count could wrap (FRAME_REFS_MAX).
 */
void frame_get(struct frame *f);
void frame_get_n(struct frame *f, uint32_t n);

/*
 * Gives one reference back. The last one runs the kind's destructor, exactly once, and hands the
 * memory to the allocator. `f` is a head. Panics when there is no reference to give back.
 */
void frame_put(struct frame *f);

/*
 * frame_put for memory that lock-free walkers may still be looking at: the last reference takes
 * effect (BUSY) at once, the destructor and the allocator follow after a grace period.
 */
void frame_put_deferred(struct frame *f);

/*
 * The two halves of frame_put, for owners that tear down in their own way. frame_drop gives one
 * reference back and says whether it was the last: then the frame is BUSY and the caller owes it a
 * frame_finish, which runs the destructor and hands it to the allocator.
 */
bool frame_drop(struct frame *f);
void frame_finish(struct frame *f);

/*
 * frame_finish for a single frame whose bytes all read as zero, such as a page-table node that was
 * emptied: it is kept for who wants a zeroed one next.
 */
void frame_finish_zeroed(struct frame *f);

/* Snapshot of the number of references: 1 when it is unique, 0 when it is free or BUSY. */
uint32_t frame_refs(const struct frame *f);

const char *frame_kind_name(enum frame_kind kind);

/* Destructor of a kind: runs with the frame BUSY, before the allocator gets it. NULL for none. */
void frame_set_destructor(enum frame_kind kind, void (*destroy)(struct frame *f));

#endif
