/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Fair locks. Both are ticket locks: one locked instruction to take, a plain store to give back,
 * waiters served in the order of their arrival. Taken with interrupts off or in code that no
 * interrupt handler shares a lock with; the holder never sleeps.
 *
 * Lock order, outermost first (a checked build asserts it, see lock_order_enter):
 *
 *   LOCK_GUESTS      the list of guests                                     guest/
 *   LOCK_SPACE       one VmSpace: its lists of readers, writers, devices     mm/, vmio/
 *   LOCK_NODE        a page-table node; many at a time, parents before       mm/
 *                    children, lower addresses before higher ones
 *   LOCK_KAREA       free ranges of the kernel area                          mm/
 *   LOCK_ALLOC       the frame allocator                                     mm/
 *   LOCK_LEAF        locks under which nothing else is taken (printing)      all
 */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include <arch/this_cpu.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/contract.h"

enum lock_class {
	LOCK_GUESTS,
	LOCK_SPACE,
	LOCK_NODE,
	LOCK_KAREA,
	LOCK_ALLOC,
	LOCK_LEAF,
	LOCK_CLASSES,
};

/*
 * Ledger of the locks that this CPU holds, by class; used in checked builds only. `enter` panics
 * when a lock of a class at or below `class` is already held (LOCK_NODE may nest in itself).
 */
void lock_order_enter(enum lock_class class);
void lock_order_exit(enum lock_class class);
/* How many locks of all classes this CPU holds. Always 0 in an unchecked build. */
unsigned lock_held(void);

static inline void lock_note_enter(enum lock_class class)
{
	if (CHECKED)
		lock_order_enter(class);
}

static inline void lock_note_exit(enum lock_class class)
{
	if (CHECKED)
		lock_order_exit(class);
}

struct spinlock {
	_Atomic uint32_t next;
	_Atomic uint32_t serving;
	enum lock_class class;
};

#define SPINLOCK_INIT(cls)     \
	{                      \
		.class = (cls) \
	}

static inline void spin_lock(struct spinlock *l)
{
	lock_note_enter(l->class);
	uint32_t me = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed);

	while (atomic_load_explicit(&l->serving, memory_order_acquire) != me)
		cpu_relax();
}

static inline void spin_unlock(struct spinlock *l)
{
	uint32_t me = atomic_load_explicit(&l->serving, memory_order_relaxed);

	atomic_store_explicit(&l->serving, me + 1, memory_order_release);
	lock_note_exit(l->class);
}

/*
 * A fair reader-writer lock in eight bytes: `next` hands out tickets; `read` is the ticket that may
 * enter as a reader, `write` the one that may enter as a writer. A reader lets the next ticket read
 * as soon as it is in, and lets it write when it leaves. At most 65535 waiters.
 */
union rwlock {
	_Atomic uint64_t all;
	struct {
		_Atomic uint16_t write;
		_Atomic uint16_t read;
		_Atomic uint16_t next;
		uint8_t user[2]; /* not the lock's: whoever embeds it may use them */
	};
	_Atomic uint32_t write_read; /* the two that a leaving writer advances with one store */
};

_Static_assert(sizeof(union rwlock) == 8, "rwlock lives in frame metadata");

static inline void rw_write_lock(union rwlock *l)
{
	uint16_t me = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed);

	while (atomic_load_explicit(&l->write, memory_order_acquire) != me)
		cpu_relax();
}

static inline void rw_write_unlock(union rwlock *l)
{
	/* Nobody else writes the two counters while a writer is in. */
	uint32_t wr = atomic_load_explicit(&l->write_read, memory_order_relaxed);
	uint16_t w = (uint16_t)(wr + 1), r = (uint16_t)((wr >> 16) + 1);

	atomic_store_explicit(&l->write_read, (uint32_t)r << 16 | w, memory_order_release);
}

static inline void rw_read_lock(union rwlock *l)
{
	uint16_t me = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed);

	/* Read both counters at once: the acquire pairs with the leaving writer's store of both. */
	while (atomic_load_explicit(&l->write_read, memory_order_acquire) >> 16 != me)
		cpu_relax();
	/* Only the ticket that `read` names may advance it: a plain store is enough. */
	atomic_store_explicit(&l->read, (uint16_t)(me + 1), memory_order_release);
}

static inline void rw_read_unlock(union rwlock *l)
{
	atomic_fetch_add_explicit(&l->write, 1, memory_order_release);
}

/* A lock that nobody else can see yet, put into the state "held by a writer" with plain stores. */
static inline void rw_init_write_locked(union rwlock *l)
{
	atomic_store_explicit(&l->all, UINT64_C(1) << 32, memory_order_relaxed);
}

static inline void rw_init(union rwlock *l)
{
	atomic_store_explicit(&l->all, 0, memory_order_relaxed);
}

/* Snapshot for contracts: somebody holds it, or waits for it. */
static inline bool rw_is_held(const union rwlock *l)
{
	uint64_t all = atomic_load_explicit(&l->all, memory_order_relaxed);

	return (uint16_t)(all >> 32) != (uint16_t)all; /* tickets given out, and given back */
}

#endif
