/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Each CPU has two stacks of single frames, one of them known to be zero, and works on them alone;
 * behind them is one buddy system under a lock.
 *
 *   frame_alloc ──▶ zeroed[cpu] ─┐
 *               └─▶ any[cpu] ◀───┼── frame_put          32 at a time ⇅
 *                                └── buddy (mm/buddy.h)
 *
 * A frame that waits in a stack reads FRAME_CACHED, and a block between the lists and its owner
 * BUSY: nothing that the allocator knows of ever looks as if it had no owner.
 */
#include "mm/frame_alloc.h"

#include <arch/zero.h>

#include "base/contract.h"
#include "base/string.h"
#include "mm/buddy.h"
#include "mm/frame_inside.h"

#define BATCH_ORDER 5

_Static_assert(FRAME_STACK_BATCH == 1 << BATCH_ORDER, "a refill may be one block");

struct frame_cpu frame_cpus[MAX_CPUS];

static _Atomic int64_t fail_after = -1;

void frame_alloc_fail_after(int64_t skip)
{
	atomic_store(&fail_after, skip);
}

bool frame_alloc_fails(void)
{
	return atomic_load_explicit(&fail_after, memory_order_relaxed) >= 0 &&
	       atomic_fetch_sub(&fail_after, 1) == 0;
}

/*
 * Turns over what lies above the lowest `keep` frames. Frames are found upwards and taken off a
 * stack downwards: turned over, one touch after the other gets neighbouring frames, which is easier
 * on caches, on prefetchers, and on whoever reads the list of a guest's mappings.
 */
static void stack_turn(struct frame_stack *s, uint64_t keep)
{
	for (uint64_t low = keep, high = frame_stack_count(s); low + 1 < high; low++) {
		struct frame *f = s->frame[low];

		s->frame[low] = s->frame[--high];
		s->frame[high] = f;
	}
}

/* A block that is BUSY, as single frames. */
static void stack_push_block(struct frame_stack *s, struct frame *f, unsigned order)
{
	for (struct frame *end = f + (UINT64_C(1) << order); f < end; f++) {
		atomic_store_explicit(&f->order, 0, memory_order_relaxed);
		atomic_store_explicit(&f->refs, FRAME_CACHED, memory_order_release);
		frame_stack_push(s, f);
	}
}

static void stack_refill(struct frame_stack *s)
{
	uint64_t before = frame_stack_count(s), room;

	spin_lock(&buddy.lock);
	while ((room = FRAME_STACK_BATCH - frame_stack_count(s)) != 0) {
		unsigned order = 63 - (unsigned)__builtin_clzll(room);
		struct frame *f = buddy_alloc_upto(0, &order);

		if (f == NULL)
			break;
		stack_push_block(s, f, order);
	}
	spin_unlock(&buddy.lock);
	stack_turn(s, before);
}

static void stack_spill(struct frame_stack *s, uint64_t keep)
{
	spin_lock(&buddy.lock);
	while (frame_stack_count(s) > keep)
		buddy_free(frame_stack_pop(s), 0);
	spin_unlock(&buddy.lock);
}

/* One frame when the stack that it should come from is empty; *zero: it is known to read as zero.
 */
static struct frame *single_alloc(struct frame_cpu *c, bool *zero)
{
	if (frame_stack_count(&c->any) == 0)
		stack_refill(&c->any);
	*zero = frame_stack_count(&c->any) == 0;
	if (!*zero)
		return frame_stack_pop(&c->any);
	return frame_stack_count(&c->zeroed) != 0 ? frame_stack_pop(&c->zeroed) : NULL;
}

static struct frame *block_try(unsigned order)
{
	struct frame *f;

	spin_lock(&buddy.lock);
	f = buddy_alloc(order);
	spin_unlock(&buddy.lock);
	return f;
}

/* A block from the lists, BUSY. What this CPU's stacks hold back may be all that it wants. */
static struct frame *block_alloc(unsigned order)
{
	struct frame *f = block_try(order);

	if (f == NULL) {
		frame_alloc_drain();
		f = block_try(order);
	}
	return f;
}

static void zero_frames(struct frame *f, uint64_t n)
{
	arch_zero(hpa_ptr(frame_hpa(f)), n << PAGE_SHIFT);
}

static __attribute__((noinline)) struct frame *alloc_single_slowly(enum frame_kind kind,
								   unsigned flags, uint32_t refs)
{
	struct frame_cpu *c = frame_cpu();
	bool zero = false;
	struct frame *f = single_alloc(c, &zero);

	if (f == NULL)
		return NULL;
	if ((flags & ALLOC_ZERO) != 0 && !zero)
		zero_frames(f, 1);
	return frame_hand_out(c, f, kind, refs);
}

static inline struct frame *block_hand_out(struct frame *f, unsigned order, enum frame_kind kind,
					   uint32_t refs)
{
	f->kind = (uint8_t)kind;
	frame_book(frame_cpu(), kind, (int64_t)(PAGE_SIZE << order));
	atomic_store_explicit(&f->link.list, 0, memory_order_relaxed);
	atomic_store_explicit(&f->refs, refs, memory_order_release);
	return f;
}

static __attribute__((noinline)) struct frame *
block_alloc_slowly(unsigned order, enum frame_kind kind, unsigned flags, uint32_t refs)
{
	struct frame *f = block_alloc(order);

	if (f == NULL)
		return NULL;
	if ((flags & ALLOC_ZERO) != 0)
		zero_frames(f, UINT64_C(1) << order);
	return block_hand_out(f, order, kind, refs);
}

struct frame *frame_alloc_slowly(unsigned order, enum frame_kind kind, unsigned flags,
				 uint32_t refs)
{
	struct frame *f;

	if (order == 0)
		return alloc_single_slowly(kind, flags, refs);
	if (order == FRAME_ORDER_2M && flags == 0) {
		f = buddy_recent_take();
		if (f != NULL)
			return block_hand_out(f, FRAME_ORDER_2M, kind, refs);
	}
	return block_alloc_slowly(order, kind, flags, refs);
}

static struct frame *run_try(uint64_t n, uint64_t align)
{
	struct frame *f;

	spin_lock(&buddy.lock);
	f = buddy_alloc_run(n, align);
	spin_unlock(&buddy.lock);
	return f;
}

struct frame *frame_alloc_contiguous(uint64_t n, uint64_t align, enum frame_kind kind,
				     unsigned flags)
{
	struct frame *first;

	REQUIRES(n != 0 && align != 0 && (align & (align - 1)) == 0 && kind != FRAME_FREE);
	if (CHECKED && frame_alloc_fails())
		return NULL;
	first = run_try(n, align);
	if (first == NULL) {
		frame_alloc_drain();
		first = run_try(n, align);
	}
	if (first == NULL)
		return NULL;
	if ((flags & ALLOC_ZERO) != 0)
		zero_frames(first, n);
	frame_book(frame_cpu(), kind, (int64_t)(n << PAGE_SHIFT));
	for (struct frame *f = first; f < first + n;) {
		uint64_t parts = frame_size(f) / PAGE_SIZE;

		frame_block_cut(f, parts, 0, kind, FRAME_BUSY + 1);
		f += parts;
	}
	return first;
}

static __attribute__((noinline)) void release_slowly(struct frame *head, unsigned order)
{
	if (order == 0) {
		stack_spill(&frame_cpu()->any, FRAME_STACK_BATCH);
		frame_release_fast(head);
		return;
	}
	spin_lock(&buddy.lock);
	buddy_free(head, order);
	spin_unlock(&buddy.lock);
}

void frame_alloc_release(struct frame *head)
{
	unsigned order = atomic_load_explicit(&head->order, memory_order_relaxed);

	if (order != 0) {
		frame_book(frame_cpu(), (enum frame_kind)head->kind,
			   -(int64_t)(PAGE_SIZE << order));
		head->kind = FRAME_FREE;
	}
	if (order != FRAME_ORDER_2M || !buddy_recent_give(head))
		release_slowly(head, order);
}

void frame_alloc_add(hpa_t start, uint64_t bytes)
{
	uint64_t pfn = start.hpa >> PAGE_SHIFT, end = pfn + (bytes >> PAGE_SHIFT);

	REQUIRES(((start.hpa | bytes) & (PAGE_SIZE - 1)) == 0 && end <= frame_limit);
	spin_lock(&buddy.lock);
	for (unsigned order = 0; !buddy.ready && order < FRAME_ORDERS; order++)
		buddy.first[order] = FRAME_NONE;
	buddy.ready = true;
	buddy.total += bytes;
	buddy_free_range(pfn, end);
	spin_unlock(&buddy.lock);
}

unsigned frame_alloc_prezero(unsigned n)
{
	struct frame_cpu *c = frame_cpu();
	uint64_t before = frame_stack_count(&c->zeroed);
	unsigned added = 0;

	while (added < n && frame_stack_count(&c->zeroed) < FRAME_STACK_MAX) {
		bool zero;
		struct frame *f = single_alloc(c, &zero);

		if (f == NULL)
			break;
		if (!zero)
			zero_frames(f, 1);
		frame_stack_push(&c->zeroed, f);
		if (zero) /* nothing but zeroed frames is left */
			break;
		added++;
	}
	stack_turn(&c->zeroed, before);
	return added;
}

void frame_alloc_drain(void)
{
	struct frame_cpu *c = frame_cpu();

	stack_spill(&c->any, 0);
	stack_spill(&c->zeroed, 0);
	spin_lock(&buddy.lock);
	buddy_settle();
	spin_unlock(&buddy.lock);
}

void frame_alloc_forget(void)
{
	memset(frame_cpus, 0, sizeof(frame_cpus));
	spin_lock(&buddy.lock);
	buddy.ready = false;
	buddy.recents = 0;
	buddy.total = buddy.free = 0;
	spin_unlock(&buddy.lock);
}
