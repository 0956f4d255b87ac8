/* SPDX-License-Identifier: MPL-2.0 */
#include "mm/kvirt.h"

#include <stddef.h>

#include "base/contract.h"
#include "base/err.h"
#include "base/list.h"
#include "mm/host_format.h"
#include "mm/kspace_tlb.h"
#include "mm/range.h"

enum kvirt_state {
	KVIRT_LIVE,
	KVIRT_DROPPING, /* on its way to DROPPED */
	KVIRT_DROPPED,	/* its leaves are not present, and own their frames */
	KVIRT_UNLINKED, /* it has no leaves; tables of its own may still be cached */
};

struct kvirt_area {
	struct list link;    /* in quarantine */
	uint64_t taken;	     /* where its range begins: guard and area */
	uint64_t start, end; /* the area */
	uint64_t map_start, map_end;
	uint64_t generation;  /* to be passed before it moves on */
	struct frame *tables; /* UNLINKED: taken out, linked by defer.next */
	enum kvirt_state state;
};

static struct {
	struct pt *pt;
	struct spinlock lock; /* all below, and the areas' states (LOCK_KAREA) */
	struct range range;
	struct pool areas;
	struct list quarantine; /* in the order of their generations, or nearly */
	_Atomic uint64_t dropped, reaped;
} kvirt = {
	.lock = SPINLOCK_INIT(LOCK_KAREA),
	.quarantine = LIST_INIT(kvirt.quarantine),
};

/* What somebody wants. */
struct request {
	uint64_t size, offset, len;
	pt_attr_t attr;
	/* The first mapped address is to be `phase` more than a multiple of `align`. */
	uint64_t align, phase;
	struct frame *const *frames; /* NULL: untracked, from `at` on */
	unsigned n;
	hpa_t at;
};

int kvirt_init(struct pt *pt, uint64_t start, uint64_t end)
{
	REQUIRES(end - start > PAGE_SIZE);
	kvirt.pt = pt;
	pool_init(&kvirt.areas, sizeof(struct kvirt_area));
	/* A range begins with its guard; behind the last one there is one, too. */
	return range_init(&kvirt.range, start, end - PAGE_SIZE);
}

void kvirt_fini(void)
{
	REQUIRES(list_empty(&kvirt.quarantine));
	range_fini(&kvirt.range);
	pool_fini(&kvirt.areas);
}

static bool page_multiple(uint64_t x)
{
	return (x & (PAGE_SIZE - 1)) == 0;
}

/* --- addresses --- */

static int area_alloc(const struct request *r, struct kvirt_area **out)
{
	uint64_t first = (r->phase - r->offset - PAGE_SIZE) & (r->align - 1);
	uint64_t guard = PAGE_SIZE + first, at;
	struct kvirt_area *area;
	int err;

	spin_lock(&kvirt.lock);
	err = pool_reserve(&kvirt.areas, 1);
	if (err == 0) {
		area = pool_get(&kvirt.areas);
		err = range_alloc(&kvirt.range, guard + r->size, r->align, area, &at);
		if (err != 0)
			pool_put(&kvirt.areas, area);
	}
	if (err == 0) {
		area->taken = at;
		area->start = at + guard;
		area->end = area->start + r->size;
		area->map_start = area->start + r->offset;
		area->map_end = area->map_start + r->len;
		*out = area;
	}
	spin_unlock(&kvirt.lock);
	return err;
}

static void area_free(struct kvirt_area *area)
{
	int err;

	spin_lock(&kvirt.lock);
	err = range_free(&kvirt.range, area->taken, area->end - area->taken);
	MUST(err == 0, "area at 0x%llx: its addresses are not its own (%d)",
	     (unsigned long long)area->start, err);
	pool_put(&kvirt.areas, area);
	spin_unlock(&kvirt.lock);
}

/* --- mapping --- */

/*
 * At most so many tables does a mapping need below the cursor's guard. With them reserved nothing
 * can fail half-way, when another CPU may already have cached what would have to be taken out.
 */
static unsigned tables_needed(const struct pt_cursor *c, const struct request *r)
{
	uint64_t sum = 0;

	for (unsigned level = 1; level < c->guard; level++) {
		uint64_t size = pt_level_size(level + 1);
		uint64_t slots = (c->end - 1) / size - c->start / size + 1;

		/* Large pages but for what is before the first and behind the last of them. */
		if (level == 1 && r->align >= size && r->frames == NULL && slots > 2)
			slots = 2;
		sum += slots;
	}
	return (unsigned)sum;
}

static int area_map_at(struct pt_cursor *c, const struct request *r, struct flusher *flusher)
{
	const struct pt_ops *ops = kvirt.pt->ops;
	pt_attr_t attr = r->attr | PT_GLOBAL | PT_ACCESSED;
	uint64_t done, all = r->frames != NULL ? r->n : r->len;
	int err = ops->reserve(c, tables_needed(c, r));

	if (err != 0)
		return err;
	/* The marks are set: the CPU never has to. */
	attr |= attr & PT_WRITE ? PT_DIRTY : 0;
	if (r->frames != NULL)
		err = ops->map_frames(c, r->frames, r->n, attr | PT_TRACKED, flusher, &done);
	else
		err = ops->map_range(c, r->at, r->len, attr, ops->limits->max_leaf, flusher, &done);
	MUST(err == 0 && done == all, "area of 0x%llx bytes: mapped in part (%d)",
	     (unsigned long long)r->size, err);
	return 0;
}

/*
 * A large page has taken the place of a table that an area before left behind, empty. A CPU that
 * remembers the table would not find the page, and must not find the table's memory reused.
 */
static void forget_tables(struct flusher *flusher)
{
	flusher_dispatch(flusher);
	flusher_sync(flusher);
}

static int area_map(const struct kvirt_area *area, const struct request *r)
{
	const struct pt_ops *ops = kvirt.pt->ops;
	struct flusher flusher;
	struct pt_cursor c;
	int err;

	if (r->len == 0)
		return 0;
	flusher_init(&flusher, kvirt.pt);
	err = ops->open(&c, kvirt.pt, area->map_start, area->map_end, true);
	if (err != 0)
		return err;
	err = area_map_at(&c, r, &flusher);
	ops->close(&c);
	if (flusher_issued(&flusher))
		forget_tables(&flusher);
	flusher_fini(&flusher);
	return err;
}

static int area_try(const struct request *r, struct kvirt_area **out)
{
	struct kvirt_area *area;
	int err = area_alloc(r, &area);

	if (err != 0)
		return err;
	err = area_map(area, r);
	if (err != 0)
		area_free(area);
	else
		*out = area;
	return err;
}

/* Everything that was dropped before becomes free: by this CPU, or by another one that is already
 * busy with it. False: there was nothing. */
static bool reclaim(void)
{
	uint64_t dropped = atomic_load(&kvirt.dropped);

	if (atomic_load(&kvirt.reaped) >= dropped)
		return false;
	while (atomic_load(&kvirt.reaped) < dropped) {
		kspace_tlb_sync();
		if (kvirt_reap(1) == 0)
			cpu_relax();
	}
	epoch_drain();
	return true;
}

static int area_create(const struct request *r, struct kvirt_area **out)
{
	int err;

	REQUIRES(!epoch_inside() && lock_held() == 0);
	err = area_try(r, out);
	if ((err == -ENOMEM || err == -ENOSPC) && reclaim())
		err = area_try(r, out);
	return err;
}

/* --- what is refused --- */

static int request_check(const struct request *r)
{
	const pt_attr_t known = PT_RIGHTS | PT_MEM_MASK, wx = PT_WRITE | PT_EXEC;

	if (r->size == 0 || !page_multiple(r->size | r->offset | r->len))
		return -EINVAL;
	if ((r->attr & ~known) != 0 || (r->attr & PT_READ) == 0 || (r->attr & wx) == wx ||
	    !x86_attr_ok(r->attr))
		return -EINVAL;
	if (r->offset >= r->size || r->len > r->size - r->offset)
		return -ERANGE;
	return r->size > kvirt.range.end - kvirt.range.start ? -ENOSPC : 0;
}

static bool frame_twice(struct frame *const *frames, unsigned n)
{
	for (unsigned i = 0; n <= KVIRT_TWICE && i < n; i++)
		for (unsigned k = 0; k < i; k++)
			if (frames[i] == frames[k])
				return true;
	return false;
}

/* Adds up the frames' lengths; each must be in a place that is aligned to its size. */
static int frames_measure(struct request *r)
{
	for (unsigned i = 0; i < r->n; i++) {
		const struct frame *f = r->frames[i];
		uint64_t size = frame_size(f);

		MUST(frame_refs(f) != 0, "frame 0x%llx is not in use",
		     (unsigned long long)frame_hpa(f).hpa);
		if (f->order % 9 != 0 || pt_block_level(f) > kvirt.pt->ops->limits->max_leaf ||
		    ((r->offset + r->len) & (size - 1)) != 0)
			return -EINVAL;
		if (size > r->align)
			r->align = size;
		r->len += size;
	}
	return 0;
}

int kvirt_map_frames(uint64_t size, uint64_t offset, struct frame *const *frames, unsigned n,
		     pt_attr_t attr, struct kvirt_area **out)
{
	struct request r = {
		.size = size,
		.offset = offset,
		.attr = attr,
		.align = PAGE_SIZE,
		.frames = frames,
		.n = n,
	};
	int err = n == 0 ? -EINVAL : frames_measure(&r);

	if (err == 0)
		err = request_check(&r);
	if (err == 0 && frame_twice(frames, n))
		err = -EEXIST;
	/* The area itself is aligned, so that what is aligned in it is aligned. */
	r.phase = offset & (r.align - 1);
	return err != 0 ? err : area_create(&r, out);
}

static bool has_ram(hpa_t at, uint64_t len)
{
	for (uint64_t a = at.hpa; a < at.hpa + len && a >> PAGE_SHIFT < frame_limit; a += PAGE_SIZE)
		if (frame_at(hpa(a)) != NULL)
			return true;
	return false;
}

int kvirt_map_untracked(uint64_t size, uint64_t offset, hpa_t at, uint64_t len, pt_attr_t attr,
			unsigned flags, struct kvirt_area **out)
{
	uint64_t limit = kvirt.pt->ops->limits->hpa_limit;
	struct request r = {
		.size = size,
		.offset = offset,
		.len = len,
		.attr = attr,
		.align = len >= SIZE_2M ? SIZE_2M : PAGE_SIZE,
		.at = at,
	};
	int err = page_multiple(at.hpa) ? request_check(&r) : -EINVAL;

	if (err != 0)
		return err;
	if (at.hpa > limit || len > limit - at.hpa)
		return -ERANGE;
	if ((flags & KVIRT_RAM) == 0 && has_ram(at, len))
		return -EBUSY;
	/* Both sides equally far from a large page's beginning: then it fits. */
	r.phase = at.hpa & (r.align - 1);
	return area_create(&r, out);
}

/* --- looking --- */

hva_t kvirt_start(const struct kvirt_area *area)
{
	return hva(area->start);
}

hva_t kvirt_end(const struct kvirt_area *area)
{
	return hva(area->end);
}

int kvirt_query(const struct kvirt_area *area, hva_t at, struct pt_leaf *out)
{
	bool found;

	if (at.hva < area->start || at.hva >= area->end)
		return -ERANGE;
	epoch_enter();
	found = pt_translate(kvirt.pt, at.hva, out);
	epoch_exit();
	return found ? 0 : -ENOENT;
}

struct kvirt_area *kvirt_find(hva_t at)
{
	struct kvirt_area *area;

	spin_lock(&kvirt.lock);
	area = range_owner(&kvirt.range, at.hva);
	if (area != NULL && (area->state != KVIRT_LIVE || at.hva < area->start))
		area = NULL;
	spin_unlock(&kvirt.lock);
	return area;
}

/* --- dropping --- */

/* A cursor over what is mapped. All tables on the way are there, so it needs no memory. */
static void area_open(struct kvirt_area *area, struct pt_cursor *c)
{
	int err = kvirt.pt->ops->open(c, kvirt.pt, area->map_start, area->map_end, true);

	MUST(err == 0, "area at 0x%llx: a table is missing (%d)", (unsigned long long)area->start,
	     err);
}

/* Precondition: the lock is held. */
static void quarantine_add(struct kvirt_area *area, enum kvirt_state state)
{
	area->state = state;
	list_add_tail(&kvirt.quarantine, &area->link);
}

/* All rights go, what the leaves own stays theirs. The other CPUs are told, and not waited for. */
static void area_hide(struct kvirt_area *area)
{
	uint64_t len = area->map_end - area->map_start, pages = 0;
	struct flusher flusher;
	struct pt_cursor c;
	int err;

	flusher_init(&flusher, kvirt.pt);
	area_open(area, &c);
	err = kvirt.pt->ops->protect(&c, len, 0, &flusher, &pages);
	kvirt.pt->ops->close(&c);
	MUST(err == 0 && pages == len / PAGE_SIZE,
	     "area at 0x%llx: %llu of its pages are missing (%d)", (unsigned long long)area->start,
	     (unsigned long long)(len / PAGE_SIZE - pages), err);
	area->generation = flusher_dispatch(&flusher);
	flusher_fini(&flusher);
}

void kvirt_drop(struct kvirt_area *area)
{
	bool live;

	REQUIRES(lock_held() == 0);
	spin_lock(&kvirt.lock);
	live = range_owner(&kvirt.range, area->start) == area && area->state == KVIRT_LIVE;
	if (live)
		area->state = KVIRT_DROPPING;
	spin_unlock(&kvirt.lock);
	MUST(live, "area at 0x%llx: dropped twice", (unsigned long long)area->start);
	if (area->map_start == area->map_end) {
		area_free(area); /* nothing was ever to be reached in it */
		return;
	}
	area_hide(area);
	spin_lock(&kvirt.lock);
	quarantine_add(area, KVIRT_DROPPED);
	atomic_fetch_add(&kvirt.dropped, 1);
	spin_unlock(&kvirt.lock);
	kspace_tlb_flush();
}

/* --- reaping --- */

/* Takes the leaves out and puts their frames. Tables that are the area's alone go, too. */
static void area_unmap(struct kvirt_area *area)
{
	struct flusher flusher;
	struct pt_cursor c;
	uint64_t pages = 0;

	flusher_init(&flusher, kvirt.pt);
	area_open(area, &c);
	while (c.va != c.end) {
		int err;

		flusher.tables = area->tables;
		err = kvirt.pt->ops->unmap(&c, c.end, &flusher, &pages);
		MUST(err == 0, "area at 0x%llx: cannot be unmapped (%d)",
		     (unsigned long long)area->start, err);
		area->tables = flusher.tables;
		flusher.tables = NULL;
		/* The leaves: every CPU has flushed since they had rights. The tables: not yet. */
		flusher_excuse(&flusher);
		flusher_sync(&flusher);
	}
	kvirt.pt->ops->close(&c);
	flusher_fini(&flusher);
	if (area->tables != NULL) {
		flusher_issue(&flusher, area->map_start, area->map_end - area->map_start);
		area->generation = flusher_dispatch(&flusher);
	}
}

static void tables_release(struct kvirt_area *area)
{
	struct flusher flusher;

	flusher_init(&flusher, kvirt.pt);
	flusher.tables = area->tables;
	area->tables = NULL;
	flusher_sync(&flusher);
}

static void area_advance(struct kvirt_area *area)
{
	if (area->state == KVIRT_DROPPED)
		area_unmap(area);
	else
		tables_release(area);
	if (area->tables != NULL) {
		spin_lock(&kvirt.lock);
		quarantine_add(area, KVIRT_UNLINKED);
		spin_unlock(&kvirt.lock);
		return;
	}
	area_free(area);
	atomic_fetch_add(&kvirt.reaped, 1);
}

/* The one that has waited longest, if every CPU has flushed since. */
static struct kvirt_area *quarantine_take(void)
{
	struct kvirt_area *area = NULL;

	spin_lock(&kvirt.lock);
	if (!list_empty(&kvirt.quarantine)) {
		area = container_of(kvirt.quarantine.next, struct kvirt_area, link);
		if (kspace_tlb_passed(area->generation))
			list_del(&area->link);
		else
			area = NULL;
	}
	spin_unlock(&kvirt.lock);
	return area;
}

unsigned kvirt_reap(unsigned max)
{
	struct kvirt_area *area;
	unsigned n = 0;

	while (n < max && kvirt_quarantined() != 0 && (area = quarantine_take()) != NULL) {
		area_advance(area);
		n++;
	}
	return n;
}

uint64_t kvirt_quarantined(void)
{
	/* In this order: what is reaped has been dropped before. */
	uint64_t reaped = atomic_load(&kvirt.reaped);

	return atomic_load(&kvirt.dropped) - reaped;
}

/* --- the audit --- */

bool kvirt_owns(const struct pt_leaf *leaf)
{
	const struct kvirt_area *area;
	bool owns = false;

	spin_lock(&kvirt.lock);
	area = range_owner(&kvirt.range, leaf->va);
	if (area != NULL && leaf->va >= area->map_start && leaf->va + leaf->size <= area->map_end)
		owns = area->state == KVIRT_LIVE || area->state == KVIRT_DROPPING ||
		       (area->state == KVIRT_DROPPED && (leaf->attr & PT_RIGHTS) == 0);
	spin_unlock(&kvirt.lock);
	return owns;
}

uint64_t kvirt_audit(void (*report)(const char *text))
{
	struct range_audit a = { .report = report };

	spin_lock(&kvirt.lock);
	range_audit(&kvirt.range, &a);
	if (a.used != kvirt.areas.used) {
		a.violations++;
		report("areas: one has no addresses, or addresses have no area");
	}
	spin_unlock(&kvirt.lock);
	return a.violations;
}
