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
	uint64_t count;			      /* read by all for the accounts: frame_stack_count */
	struct frame *frame[FRAME_STACK_MAX]; /* FRAME_CACHED, order 0 */
};

struct frame_cpu {
	struct frame_stack any, zeroed;
	int64_t used[FRAME_KINDS]; /* bytes; only their sum over all CPUs means something */
} __attribute__((aligned(2048)));

extern struct frame_cpu frame_cpus[MAX_CPUS];

/* This CPU's. Kept in a register: the compiler would rather add up the addresses anew. */
static inline struct frame_cpu *frame_cpu(void)
{
	struct frame_cpu *c = &frame_cpus[cpu_id()];

	__asm__("" : "+r"(c));
	return c;
}

/*
 * Adds to a counter that only this CPU writes: one instruction, not locked. The compiler makes
 * three of an atomic load and store.
 */
static inline void counter_add(void *counter, int64_t n)
{
	__asm__("addq %1, %0" : "+m"(*(int64_t *)counter) : "er"(n) : "cc");
}

/* Of any CPU's stack. */
static inline uint64_t frame_stack_count(const struct frame_stack *s)
{
	return __atomic_load_n(&s->count, __ATOMIC_RELAXED);
}

static inline void frame_stack_push(struct frame_stack *s, struct frame *f)
{
	s->frame[s->count] = f;
	counter_add(&s->count, 1);
}

/* Of this CPU, and not empty. */
static inline struct frame *frame_stack_pop(struct frame_stack *s)
{
	struct frame *f = s->frame[s->count - 1];

	counter_add(&s->count, -1);
	return f;
}

/* Books `bytes` more as used by `kind`. */
static inline void frame_book(struct frame_cpu *c, enum frame_kind kind, int64_t bytes)
{
	counter_add(&c->used[kind], bytes);
}

static inline int64_t frame_booked(const struct frame_cpu *c, enum frame_kind kind)
{
	return __atomic_load_n(&c->used[kind], __ATOMIC_RELAXED);
}

/* A single frame that is BUSY becomes CACHED; there is room for it. */
static inline void frame_stack_keep(struct frame_cpu *c, struct frame_stack *s, struct frame *f)
{
	frame_book(c, (enum frame_kind)f->kind, -(int64_t)PAGE_SIZE);
	f->kind = FRAME_FREE;
	atomic_store_explicit(&f->refs, FRAME_CACHED, memory_order_release);
	frame_stack_push(s, f);
}

/* The end of a single frame that is BUSY, if this CPU's stack has room; else false, unchanged. */
static inline bool frame_release_fast(struct frame *f)
{
	struct frame_cpu *c;

	/* The order is read plain, and so compared in place: nobody else writes it now. */
	if (*(const uint8_t *)&f->order != 0)
		return false;
	c = frame_cpu();
	if (c->any.count == FRAME_STACK_MAX)
		return false;
	frame_stack_keep(c, &c->any, f);
	return true;
}

/* A single frame that was CACHED, for its new owner; `refs`: one reference, or unique. */
static inline struct frame *frame_hand_out(struct frame_cpu *c, struct frame *f,
					   enum frame_kind kind, uint32_t refs)
{
	INVARIANT(atomic_load_explicit(&f->refs, memory_order_relaxed) == FRAME_CACHED);
	f->kind = (uint8_t)kind;
	frame_book(c, kind, (int64_t)PAGE_SIZE);
	if (refs == FRAME_UNIQUE)
		atomic_store_explicit(&f->link.list, 0, memory_order_relaxed);
	atomic_store_explicit(&f->refs, refs, memory_order_release);
	return f;
}

#endif
