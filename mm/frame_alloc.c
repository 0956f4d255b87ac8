/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Each CPU has two stacks of single frames, one of them known to be zero, and works on them alone;
 * behind them is one buddy system under a lock.
 *
 *   frame_alloc ──▶ zeroed[cpu] ─┐
 *               └─▶ any[cpu] ◀───┼── frame_put          32 at a time ⇅
 *                                └── buddy: free[0] free[1] ... free[18], linked by frame number
 *
 * A block of order o at frame number p has its buddy at p ^ (1 << o). Free and of the same order,
 * the two become one block of order o + 1; what makes a slot the head of a free block is its count
 * word, FRAME_FREE_HEAD + o, so slots that are not RAM never look like one.
 */
#include "mm/frame_alloc.h"

#include <arch/zero.h>

#include "base/contract.h"
#include "base/list.h"
#include "base/print.h"
#include "base/string.h"

#define STACK_MAX   64
#define STACK_BATCH 32
#define AUDIT_TRIES 1000

struct frame_stack {
	_Atomic unsigned count; /* written by its own CPU, read by all for the accounts */
	struct frame *frame[STACK_MAX];
};

static struct cpu_frames {
	struct frame_stack any, zeroed;
	_Atomic int64_t used[FRAME_KINDS]; /* bytes; only their sum over all CPUs means something */
} __attribute__((aligned(64))) cpus[MAX_CPUS];

static struct {
	struct spinlock lock;
	uint32_t first[FRAME_ORDERS]; /* FRAME_NONE when empty */
	uint64_t total, free;	      /* bytes: of all RAM handed to us; in the lists below */
} buddy = { .lock = SPINLOCK_INIT(LOCK_ALLOC) };

static _Atomic int64_t fail_after = -1;

static inline bool free_head(const struct frame *f, unsigned order)
{
	return atomic_load_explicit(&f->refs, memory_order_relaxed) == FRAME_FREE_HEAD + order;
}

static void list_push(struct frame *f, unsigned order)
{
	uint32_t pfn = (uint32_t)frame_pfn(f), next = buddy.first[order];

	atomic_store_explicit(&f->refs, FRAME_FREE_HEAD + order, memory_order_relaxed);
	f->link.next = next;
	f->link.prev = FRAME_NONE;
	if (next != FRAME_NONE)
		frame_slot(next)->link.prev = pfn;
	buddy.first[order] = pfn;
}

static void list_remove(struct frame *f, unsigned order)
{
	if (f->link.prev != FRAME_NONE)
		frame_slot(f->link.prev)->link.next = f->link.next;
	else
		buddy.first[order] = f->link.next;
	if (f->link.next != FRAME_NONE)
		frame_slot(f->link.next)->link.prev = f->link.prev;
	atomic_store_explicit(&f->refs, FRAME_UNUSED, memory_order_relaxed);
}

/*
 * Is the block at frame number `pfn` free, as a whole? Metadata exists in pieces larger than 2 MiB
 * of RAM; above that size a buddy may lie in a hole of RAM and have no slot.
 */
static inline bool buddy_is_free(uint64_t pfn, unsigned order)
{
	if (order >= FRAME_ORDER_2M && frame_at(hpa(pfn << PAGE_SHIFT)) == NULL)
		return false;
	return pfn + (UINT64_C(1) << order) <= frame_limit && free_head(frame_slot(pfn), order);
}

/* Puts a block into the lists, joined with its free buddies. Under the lock. */
static void buddy_free(struct frame *f, unsigned order)
{
	uint64_t pfn = frame_pfn(f);

	buddy.free += PAGE_SIZE << order;
	for (; order < FRAME_ORDER_1G; order++) {
		uint64_t other = pfn ^ (UINT64_C(1) << order);

		if (!buddy_is_free(other, order))
			break;
		list_remove(frame_slot(other), order);
		pfn &= ~(UINT64_C(1) << order);
	}
	list_push(frame_slot(pfn), order);
}

/* A block of exactly `order`, split off the smallest that will do. NULL: none. Under the lock. */
static struct frame *buddy_alloc(unsigned order)
{
	unsigned from = order;
	struct frame *f;

	REQUIRES(buddy.total != 0);
	while (from < FRAME_ORDERS && buddy.first[from] == FRAME_NONE)
		from++;
	if (from == FRAME_ORDERS)
		return NULL;
	f = frame_slot(buddy.first[from]);
	list_remove(f, from);
	while (from > order) {
		from--;
		list_push(f + (UINT64_C(1) << from), from);
	}
	buddy.free -= PAGE_SIZE << order;
	return f;
}

static inline unsigned stack_count(const struct frame_stack *s)
{
	return atomic_load_explicit(&s->count, memory_order_relaxed);
}

static inline void stack_push(struct frame_stack *s, struct frame *f)
{
	unsigned count = stack_count(s);

	s->frame[count] = f;
	atomic_store_explicit(&s->count, count + 1, memory_order_relaxed);
}

static inline struct frame *stack_pop(struct frame_stack *s)
{
	unsigned count = stack_count(s);

	if (count == 0)
		return NULL;
	atomic_store_explicit(&s->count, count - 1, memory_order_relaxed);
	return s->frame[count - 1];
}

/*
 * Turns over what lies above the lowest `keep` frames. Frames are found upwards and taken off a
 * stack downwards: turned over, one touch after the other gets neighbouring frames, which is easier
 * on caches, on prefetchers, and on whoever reads the list of a guest's mappings.
 */
static void stack_turn(struct frame_stack *s, unsigned keep)
{
	for (unsigned low = keep, high = stack_count(s); low + 1 < high; low++) {
		struct frame *f = s->frame[low];

		s->frame[low] = s->frame[--high];
		s->frame[high] = f;
	}
}

static __attribute__((noinline)) void stack_refill(struct frame_stack *s)
{
	unsigned before = stack_count(s);

	spin_lock(&buddy.lock);
	while (stack_count(s) < STACK_BATCH) {
		struct frame *f = buddy_alloc(0);

		if (f == NULL)
			break;
		stack_push(s, f);
	}
	spin_unlock(&buddy.lock);
	stack_turn(s, before);
}

static void stack_spill(struct frame_stack *s, unsigned keep)
{
	spin_lock(&buddy.lock);
	while (stack_count(s) > keep)
		buddy_free(stack_pop(s), 0);
	spin_unlock(&buddy.lock);
}

/* One frame when the stack that it should come from is empty; *zero: it is known to read as zero.
 */
static struct frame *single_alloc(struct cpu_frames *c, bool *zero)
{
	struct frame *f;

	if (stack_count(&c->any) == 0)
		stack_refill(&c->any);
	f = stack_pop(&c->any);
	*zero = f == NULL;
	return f != NULL ? f : stack_pop(&c->zeroed);
}

static inline bool fails_now(void)
{
	int64_t left;

	if (!CHECKED || atomic_load_explicit(&fail_after, memory_order_relaxed) < 0)
		return false;
	left = atomic_fetch_sub(&fail_after, 1);
	return left == 0;
}

static inline void account(struct cpu_frames *c, enum frame_kind kind, int64_t bytes)
{
	int64_t old = atomic_load_explicit(&c->used[kind], memory_order_relaxed);

	/* Only this CPU writes its counters: no locked instruction. */
	atomic_store_explicit(&c->used[kind], old + bytes, memory_order_relaxed);
}

/* A block from the lists. What this CPU's stacks hold back may be all that it wants. */
static struct frame *block_alloc(unsigned order)
{
	struct frame *f = NULL;

	for (unsigned try = 0; f == NULL && try < 2; try++) {
		if (try != 0)
			frame_alloc_drain();
		spin_lock(&buddy.lock);
		f = buddy_alloc(order);
		spin_unlock(&buddy.lock);
	}
	return f;
}

/* What a frame is before anybody else sees it as more than UNUSED. */
static inline struct frame *hand_out(struct cpu_frames *c, struct frame *f, unsigned order,
				     enum frame_kind kind)
{
	INVARIANT(atomic_load_explicit(&f->refs, memory_order_relaxed) == FRAME_UNUSED);
	f->kind = (uint8_t)kind;
	f->order = (uint8_t)order;
	account(c, kind, (int64_t)(PAGE_SIZE << order));
	atomic_store_explicit(&f->refs, FRAME_BUSY + 1, memory_order_release);
	return f;
}

static __attribute__((noinline)) struct frame *alloc_slowly(unsigned order, enum frame_kind kind,
							    unsigned flags)
{
	struct cpu_frames *c = &cpus[cpu_id()];
	bool zero = false;
	struct frame *f = order == 0 ? single_alloc(c, &zero) : block_alloc(order);

	if (f == NULL)
		return NULL;
	if ((flags & ALLOC_ZERO) != 0 && !zero)
		arch_zero(hpa_ptr(frame_hpa(f)), PAGE_SIZE << order);
	return hand_out(c, f, order, kind);
}

struct frame *frame_alloc(unsigned order, enum frame_kind kind, unsigned flags)
{
	struct cpu_frames *c = &cpus[cpu_id()];
	struct frame *f;

	REQUIRES(order <= FRAME_ORDER_1G && kind != FRAME_FREE);
	if (fails_now())
		return NULL;
	f = order == 0 ? stack_pop((flags & ALLOC_ZERO) != 0 ? &c->zeroed : &c->any) : NULL;
	return f != NULL ? hand_out(c, f, 0, kind) : alloc_slowly(order, kind, flags);
}

static __attribute__((noinline)) void release_slowly(struct frame *head, unsigned order)
{
	struct cpu_frames *c = &cpus[cpu_id()];

	if (order == 0) {
		stack_spill(&c->any, STACK_BATCH);
		stack_push(&c->any, head);
		return;
	}
	spin_lock(&buddy.lock);
	buddy_free(head, order);
	spin_unlock(&buddy.lock);
}

void frame_alloc_release(struct frame *head, unsigned order)
{
	struct cpu_frames *c = &cpus[cpu_id()];

	account(c, (enum frame_kind)head->kind, -(int64_t)(PAGE_SIZE << order));
	head->kind = FRAME_FREE;
	head->order = 0;
	head->present = 0;
	atomic_store_explicit(&head->refs, FRAME_UNUSED, memory_order_release);
	if (order == 0 && stack_count(&c->any) < STACK_MAX)
		stack_push(&c->any, head);
	else
		release_slowly(head, order);
}

/* The largest order that fits at frame number `pfn` with `left` frames. */
static unsigned order_at(uint64_t pfn, uint64_t left)
{
	unsigned order = pfn == 0 ? FRAME_ORDER_1G : (unsigned)__builtin_ctzll(pfn);

	if (order > FRAME_ORDER_1G)
		order = FRAME_ORDER_1G;
	while ((UINT64_C(1) << order) > left)
		order--;
	return order;
}

void frame_alloc_add(hpa_t start, uint64_t bytes)
{
	uint64_t pfn = start.hpa >> PAGE_SHIFT, end = pfn + (bytes >> PAGE_SHIFT);

	REQUIRES(((start.hpa | bytes) & (PAGE_SIZE - 1)) == 0 && end <= frame_limit);
	spin_lock(&buddy.lock);
	if (buddy.total == 0)
		for (unsigned order = 0; order < FRAME_ORDERS; order++)
			buddy.first[order] = FRAME_NONE;
	buddy.total += bytes;
	while (pfn < end) {
		unsigned order = order_at(pfn, end - pfn);

		buddy_free(frame_slot(pfn), order);
		pfn += UINT64_C(1) << order;
	}
	spin_unlock(&buddy.lock);
}

unsigned frame_alloc_prezero(unsigned n)
{
	struct cpu_frames *c = &cpus[cpu_id()];
	unsigned added = 0, before = stack_count(&c->zeroed);

	while (added < n && stack_count(&c->zeroed) < STACK_MAX) {
		bool zero;
		struct frame *f = single_alloc(c, &zero);

		if (f == NULL)
			break;
		if (!zero)
			arch_zero(hpa_ptr(frame_hpa(f)), PAGE_SIZE);
		stack_push(&c->zeroed, f);
		if (zero) /* nothing but zeroed frames is left */
			break;
		added++;
	}
	stack_turn(&c->zeroed, before);
	return added;
}

void frame_alloc_drain(void)
{
	stack_spill(&cpus[cpu_id()].any, 0);
	stack_spill(&cpus[cpu_id()].zeroed, 0);
}

void frame_alloc_forget(void)
{
	memset(cpus, 0, sizeof(cpus));
	buddy.total = buddy.free = 0;
}

void frame_account(struct frame_account *out)
{
	*out = (struct frame_account){ 0 };
	spin_lock(&buddy.lock);
	out->total = buddy.total;
	out->by_kind[FRAME_FREE] = buddy.free;
	for (unsigned order = 0; buddy.total != 0 && order < FRAME_ORDERS; order++)
		if (buddy.first[order] != FRAME_NONE)
			out->largest_free = PAGE_SIZE << order;
	spin_unlock(&buddy.lock);
	for (unsigned i = 0; i < MAX_CPUS; i++) {
		uint64_t zeroed = stack_count(&cpus[i].zeroed) * PAGE_SIZE;

		out->zeroed += zeroed;
		out->by_kind[FRAME_FREE] += stack_count(&cpus[i].any) * PAGE_SIZE + zeroed;
		for (unsigned kind = 1; kind < FRAME_KINDS; kind++)
			out->by_kind[kind] += (uint64_t)atomic_load_explicit(&cpus[i].used[kind],
									     memory_order_relaxed);
	}
	/* What was booked by hand (image, metadata, reserved) is not from our lists. */
	out->total += out->by_kind[FRAME_IMAGE] + out->by_kind[FRAME_META] +
		      out->by_kind[FRAME_RESERVED];
}

void frame_account_add(enum frame_kind kind, int64_t bytes)
{
	account(&cpus[cpu_id()], kind, bytes);
}

void frame_alloc_fail_after(int64_t skip)
{
	atomic_store(&fail_after, skip);
}

__attribute__((format(printf, 3, 4))) static void
complain(void (*report)(const char *text), uint64_t *violations, const char *fmt, ...)
{
	char text[160];
	va_list args;

	va_start(args, fmt);
	vformat(text, sizeof(text), fmt, args);
	va_end(args);
	(*violations)++;
	report(text);
}

/* One free list: every element is a free head of its order, aligned, linked both ways. */
static uint64_t audit_list(unsigned order, uint64_t *bytes, void (*report)(const char *text))
{
	uint64_t violations = 0;
	uint32_t prev = FRAME_NONE;

	for (uint32_t pfn = buddy.first[order]; pfn != FRAME_NONE;
	     pfn = frame_slot(pfn)->link.next) {
		const struct frame *f = frame_slot(pfn);

		if (frame_at(frame_hpa(f)) == NULL || !free_head(f, order) ||
		    (pfn & ((UINT64_C(1) << order) - 1)) != 0 || f->link.prev != prev) {
			complain(report, &violations,
				 "free list of order %u is broken at frame 0x%x", order, pfn);
			break;
		}
		*bytes += PAGE_SIZE << order;
		prev = pfn;
	}
	return violations;
}

/* Takes the account anew; what its rows add up to. */
static uint64_t booked_bytes(struct frame_account *a)
{
	uint64_t sum = 0;

	frame_account(a);
	for (unsigned kind = 0; kind < FRAME_KINDS; kind++)
		sum += a->by_kind[kind];
	return sum;
}

uint64_t frame_audit(void (*report)(const char *text))
{
	struct frame_account a;
	uint64_t violations = 0, bytes = 0;

	spin_lock(&buddy.lock);
	for (unsigned order = 0; buddy.total != 0 && order < FRAME_ORDERS; order++)
		violations += audit_list(order, &bytes, report);
	if (bytes != buddy.free)
		complain(report, &violations, "free lists hold %llu bytes, the account says %llu",
			 (unsigned long long)bytes, (unsigned long long)buddy.free);
	spin_unlock(&buddy.lock);
	/* Another CPU may have a frame in its hands at this moment: what is lost stays lost. */
	for (unsigned tries = 0; tries < AUDIT_TRIES && booked_bytes(&a) != a.total; tries++)
		cpu_relax();
	if (booked_bytes(&a) != a.total)
		complain(report, &violations,
			 "%llu bytes are booked of %llu: some are lost or counted twice",
			 (unsigned long long)booked_bytes(&a), (unsigned long long)a.total);
	return violations;
}
