/* SPDX-License-Identifier: MPL-2.0 */
#include "mm/frame.h"

#include "base/contract.h"
#include "base/list.h"
#include "mm/frame_alloc.h"

uint64_t frame_limit;

static struct {
	uint64_t first, end; /* frame numbers */
} regions[FRAME_REGIONS];
static unsigned region_count;

static void (*destructors[FRAME_KINDS])(struct frame *f);

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

static inline bool in_use(uint32_t refs)
{
	return refs != FRAME_UNUSED && refs < FRAME_FREE_HEAD;
}

/* The frame `order` blocks are aligned to, if it is the head of a block of that order in use. */
static inline struct frame *block_around(const struct frame *f, unsigned order)
{
	uint64_t pfn = round_down(frame_pfn(f), UINT64_C(1) << order);
	struct frame *head = frame_slot(pfn);

	/* The block would lie in RAM as a whole; without RAM there may be no slot to look at. */
	if (frame_at(hpa(pfn << PAGE_SHIFT)) == NULL)
		return NULL;
	return in_use(atomic_load_explicit(&head->refs, memory_order_acquire)) &&
			       head->order == order
		       ? head
		       : NULL;
}

struct frame *frame_head(struct frame *f)
{
	struct frame *head;

	if (atomic_load_explicit(&f->refs, memory_order_relaxed) != FRAME_UNUSED)
		return f;
	head = block_around(f, FRAME_ORDER_2M);
	if (head == NULL)
		head = block_around(f, FRAME_ORDER_1G);
	return head != NULL ? head : f;
}

void frame_get_n(struct frame *f, uint32_t n)
{
	uint32_t old = atomic_fetch_add_explicit(&f->refs, n, memory_order_relaxed);

	MUST(old > FRAME_BUSY && old <= FRAME_REFS_MAX && n <= FRAME_REFS_MAX,
	     "frame 0x%llx: reference count 0x%x cannot take %u more",
	     (unsigned long long)frame_hpa(f).hpa, old, n);
}

void frame_get(struct frame *f)
{
	frame_get_n(f, 1);
}

bool frame_drop(struct frame *f)
{
	/* Both orders at once: what other holders did to the frame is seen by whoever ends it. */
	uint32_t old = atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel);

	MUST(old > FRAME_BUSY && old <= FRAME_REFS_MAX,
	     "frame 0x%llx: no reference to give back (0x%x)", (unsigned long long)frame_hpa(f).hpa,
	     old);
	return old == FRAME_BUSY + 1;
}

void frame_finish(struct frame *f)
{
	REQUIRES(atomic_load_explicit(&f->refs, memory_order_relaxed) == FRAME_BUSY);
	if (destructors[f->kind] != NULL)
		destructors[f->kind](f);
	frame_alloc_release(f, f->order);
}

void frame_put(struct frame *f)
{
	if (frame_drop(f))
		frame_finish(f);
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

	return in_use(refs) ? refs - 1 : 0;
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
	destructors[kind] = destroy;
}
