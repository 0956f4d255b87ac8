/* SPDX-License-Identifier: MPL-2.0 */
#include "mm/frame.h"

#include "base/contract.h"
#include "base/list.h"
#include "mm/frame_alloc.h"
#include "mm/frame_inside.h"

uint64_t frame_limit;

static struct {
	uint64_t first, end; /* frame numbers */
} regions[FRAME_REGIONS];
static unsigned region_count;

void (*frame_destructors[FRAME_KINDS])(struct frame *f);

void frame_init_region(hpa_t start, uint64_t bytes)
{
	uint64_t first = start.hpa >> PAGE_SHIFT, end = first + (bytes >> PAGE_SHIFT);

	REQUIRES(((start.hpa | bytes) & (PAGE_SIZE - 1)) == 0 && end <= FRAME_NONE);
	if (region_count != 0 && regions[region_count - 1].end == first) {
		regions[region_count - 1].end = end;
	} else {
		MUST(region_count < FRAME_REGIONS && first >= frame_limit,
		     "RAM at 0x%llx is out of order or one region too many",
		     (unsigned long long)start.hpa);
		regions[region_count].first = first;
		regions[region_count++].end = end;
	}
	frame_limit = end;
}

void frame_forget_regions(void)
{
	region_count = 0;
	frame_limit = 0;
}

struct frame *frame_at(hpa_t a)
{
	uint64_t pfn = a.hpa >> PAGE_SHIFT;

	if (pfn >= frame_limit)
		return NULL;
	for (unsigned i = 0; i < region_count; i++)
		if (pfn >= regions[i].first && pfn < regions[i].end)
			return frame_slot(pfn);
	return NULL;
}

/* Regions that touch are one: what lies in RAM as a whole lies in one region. */
bool frame_range_at(uint64_t first, uint64_t end)
{
	for (unsigned i = 0; i < region_count; i++)
		if (first >= regions[i].first && end <= regions[i].end)
			return true;
	return false;
}

/*
 * The head of the block of 2^order, aligned, that `f` would lie in; NULL when there is none that
 * reaches it. `free` too: also of free blocks.
 */
static inline struct frame *head_at(const struct frame *f, unsigned order, bool free)
{
	uint64_t pfn = frame_pfn(f), first = round_down(pfn, UINT64_C(1) << order);
	struct frame *head = frame_slot(first);
	uint32_t refs;
	unsigned reach;

	/* The block would lie in RAM as a whole; without RAM there may be no slot to look at. */
	if (frame_at(hpa(first << PAGE_SHIFT)) == NULL)
		return NULL;
	refs = atomic_load_explicit(&head->refs, memory_order_acquire);
	if (frame_refs_in_use(refs))
		reach = atomic_load_explicit(&head->order, memory_order_acquire);
	else if (free && frame_refs_free_head(refs))
		reach = frame_refs_free_order(refs);
	else
		return NULL;
	return (pfn - first) >> reach == 0 ? head : NULL;
}

/* The two orders that are mapped come first, the others are rare. */
static struct frame *head_around(const struct frame *f, bool free)
{
	struct frame *head = head_at(f, FRAME_ORDER_2M, free);

	if (head == NULL)
		head = head_at(f, FRAME_ORDER_1G, free);
	for (unsigned order = 1; head == NULL && order < FRAME_ORDER_1G; order++)
		head = head_at(f, order, free);
	return head;
}

_Atomic uint32_t frame_reshaped;

struct frame *frame_block_around(struct frame *f, bool free)
{
	for (;;) {
		uint32_t before = atomic_load_explicit(&frame_reshaped, memory_order_acquire);
		struct frame *head;

		if (atomic_load_explicit(&f->refs, memory_order_acquire) != FRAME_UNUSED)
			return f;
		head = head_around(f, free);
		if (head != NULL)
			return head;
		if (atomic_load_explicit(&frame_reshaped, memory_order_acquire) == before)
			return NULL;
	}
}

struct frame *frame_head(struct frame *f)
{
	struct frame *head;

	if (atomic_load_explicit(&f->refs, memory_order_relaxed) != FRAME_UNUSED)
		return f;
	head = frame_block_around(f, false);
	return head != NULL ? head : f;
}

void frame_get_n(struct frame *f, uint32_t n)
{
	uint32_t old = atomic_fetch_add_explicit(&f->refs, n, memory_order_relaxed);

	MUST(old > FRAME_BUSY && n <= FRAME_REFS_MAX && old - 1 <= FRAME_REFS_MAX - n,
	     "frame 0x%llx: reference count 0x%x cannot take %u more",
	     (unsigned long long)frame_hpa(f).hpa, old, n);
}

void frame_get(struct frame *f)
{
	frame_get_n(f, 1);
}

/* Not the last reference: was it one at all? */
static inline bool drop_checked(struct frame *f, uint32_t old)
{
	MUST(old > FRAME_BUSY && old <= FRAME_REFS_MAX + 1,
	     "frame 0x%llx: no reference to give back (0x%x)", (unsigned long long)frame_hpa(f).hpa,
	     old);
	return false;
}

static inline __attribute__((always_inline)) bool drop(struct frame *f)
{
	/*
	 * Both orders at once: what other holders did to the frame is seen by whoever ends it. A
	 * locked instruction even for the only holder: frame_from_in_use may come at any time.
	 */
	uint32_t old = atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel);

	return old == FRAME_BUSY + 1 || drop_checked(f, old);
}

bool frame_drop(struct frame *f)
{
	return drop(f);
}

void frame_destroy(struct frame *f)
{
	if (frame_destructors[f->kind] != NULL)
		frame_destructors[f->kind](f);
}

/* Not inlined: the short way through frame_put keeps no registers. */
__attribute__((noinline)) void frame_finish(struct frame *f)
{
	REQUIRES(atomic_load_explicit(&f->refs, memory_order_relaxed) == FRAME_BUSY);
	frame_destroy(f);
	if (!frame_release_fast(f))
		frame_alloc_release(f);
}

static bool reads_zero(const struct frame *f)
{
	const uint64_t *word = hpa_ptr(frame_hpa(f));

	for (unsigned i = 0; i < PAGE_SIZE / sizeof(*word); i++)
		if (word[i] != 0)
			return false;
	return true;
}

void frame_finish_zeroed(struct frame *f)
{
	struct frame_cpu *c = frame_cpu();

	REQUIRES(frame_size(f) == PAGE_SIZE && reads_zero(f));
	if (c->zeroed.count == FRAME_STACK_MAX) {
		frame_finish(f);
		return;
	}
	REQUIRES(atomic_load_explicit(&f->refs, memory_order_relaxed) == FRAME_BUSY);
	frame_destroy(f);
	frame_stack_keep(c, &c->zeroed, f);
}

void frame_put(struct frame *f)
{
	if (drop(f))
		frame_end(f);
}

static void frame_finish_item(struct epoch_item *item)
{
	frame_finish(container_of(item, struct frame, defer));
}

void frame_put_deferred(struct frame *f)
{
	if (frame_drop(f))
		epoch_defer(&f->defer, frame_finish_item);
}

uint32_t frame_refs(const struct frame *f)
{
	uint32_t refs = atomic_load_explicit(&f->refs, memory_order_relaxed);

	if (refs == FRAME_UNIQUE)
		return 1;
	return frame_refs_in_use(refs) ? refs - 1 : 0;
}

const char *frame_kind_name(enum frame_kind kind)
{
	static const char *const names[FRAME_KINDS] = {
		[FRAME_FREE] = "free",
		[FRAME_RESERVED] = "reserved",
		[FRAME_IMAGE] = "image",
		[FRAME_META] = "metadata",
		[FRAME_KERNEL] = "kernel",
		[FRAME_HOST_TABLE] = "host-table",
		[FRAME_STAGE2_TABLE] = "stage2-table",
		[FRAME_GUEST] = "guest",
	};

	return kind < FRAME_KINDS ? names[kind] : "?";
}

void frame_set_destructor(enum frame_kind kind, void (*destroy)(struct frame *f))
{
	frame_destructors[kind] = destroy;
}
