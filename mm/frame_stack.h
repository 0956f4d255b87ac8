/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What each CPU keeps for itself in front of the buddy system: two stacks of single frames, one of
 * them known to be zero, and its part of the accounts. Only its own CPU writes it, so nothing here
 * needs a lock or a locked instruction. Of mm/frame*.c; others allocate by mm/frame_alloc.h.
 */
#ifndef MM_FRAME_STACK_H
#define MM_FRAME_STACK_H

#include <arch/this_cpu.h>

#include "base/contract.h"
#include "mm/frame.h"

#define FRAME_STACK_MAX	  64
#define FRAME_STACK_BATCH 32

struct frame_stack {
	_Atomic uint64_t count; /* written by its own CPU, read by all for the accounts */
	struct frame *frame[FRAME_STACK_MAX]; /* FRAME_CACHED, order 0 */
};

struct frame_cpu {
	struct frame_stack any, zeroed;
	_Atomic int64_t used[FRAME_KINDS]; /* bytes; only their sum over all CPUs means something */
} __attribute__((aligned(64)));

extern struct frame_cpu frame_cpus[MAX_CPUS];

static inline struct frame_cpu *frame_cpu(void)
{
	return &frame_cpus[cpu_id()];
}

static inline uint64_t frame_stack_count(const struct frame_stack *s)
{
	return atomic_load_explicit(&s->count, memory_order_relaxed);
}

static inline void frame_stack_push(struct frame_stack *s, struct frame *f)
{
	uint64_t count = frame_stack_count(s);

	s->frame[count] = f;
	atomic_store_explicit(&s->count, count + 1, memory_order_relaxed);
}

/* NULL when it is empty. */
static inline struct frame *frame_stack_pop(struct frame_stack *s)
{
	uint64_t count = frame_stack_count(s);

	if (count == 0)
		return NULL;
	atomic_store_explicit(&s->count, count - 1, memory_order_relaxed);
	return s->frame[count - 1];
}

/* Books `bytes` more as used by `kind`. */
static inline void frame_book(struct frame_cpu *c, enum frame_kind kind, int64_t bytes)
{
	int64_t old = atomic_load_explicit(&c->used[kind], memory_order_relaxed);

	atomic_store_explicit(&c->used[kind], old + bytes, memory_order_relaxed);
}

/* The end of a single frame that is BUSY, if this CPU's stack has room; else false, unchanged. */
static inline bool frame_release_fast(struct frame *f)
{
	struct frame_cpu *c = frame_cpu();

	if (atomic_load_explicit(&f->order, memory_order_relaxed) != 0 ||
	    frame_stack_count(&c->any) == FRAME_STACK_MAX)
		return false;
	frame_book(c, (enum frame_kind)f->kind, -(int64_t)PAGE_SIZE);
	f->kind = FRAME_FREE;
	atomic_store_explicit(&f->refs, FRAME_CACHED, memory_order_release);
	frame_stack_push(&c->any, f);
	return true;
}

/* A single frame that was CACHED, for its new owner. */
static inline struct frame *frame_hand_out(struct frame_cpu *c, struct frame *f,
					   enum frame_kind kind)
{
	INVARIANT(atomic_load_explicit(&f->refs, memory_order_relaxed) == FRAME_CACHED);
	f->kind = (uint8_t)kind;
	frame_book(c, kind, (int64_t)PAGE_SIZE);
	atomic_store_explicit(&f->refs, FRAME_BUSY + 1, memory_order_release);
	return f;
}

#endif
