/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The operations. Each brings the model up to date before its cursor is closed, for while the
 * cursor flushes, CPUs go on.
 *
 *   SEED=n  MODEL_OPS=n (for each of the four formats)
 */
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "mm/frame_block.h"
#include "mm/host_pt.h"
#include "tests/host/arena.h"
#include "tests/host/random.h"
#include "tests/model/model.h"
#include "tests/unit/fake_pt.h"

#define ARENA	   (3 * SIZE_1G)
#define DEVICE	   (16 * SIZE_1G) /* host-physical, no RAM */
#define AUDIT_EACH 16384
#define KEEP	   (PT_ACCESSED | PT_DIRTY | PT_TRACKED) /* what protect does not change */

struct world world;
static uint64_t first_seed;

uint64_t below(uint64_t n)
{
	return random_below(&world.rng, n);
}

void fail(const char *fmt, ...)
{
	va_list args;

	if (world.failures++ > 10)
		return;
	printf("%s, SEED=%llu, step %llu: ", world.ops->limits->name,
	       (unsigned long long)first_seed, (unsigned long long)world.step);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
}

/* Mostly where tables and gigabytes meet, so that operations meet too. */
static uint64_t random_page(void)
{
	const uint64_t second = window_page(2 * SIZE_1G);

	switch (below(8)) {
	case 0:
		return below(PAGES);
	case 1:
	case 2:
		return second - 1024 + below(2048);
	case 3:
		return PAGES - 1 - below(2048);
	default:
		return below(8 * 512);
	}
}

static uint64_t random_range(uint64_t *first)
{
	uint64_t count = 1 + below(12);

	*first = random_page();
	if (below(6) == 0)
		count = 1 + below(1500);
	else if (below(300) == 0)
		count = 1 + below(300000);
	if (below(8) == 0) {
		*first = round_down(*first, 512);
		count = 512;
	}
	return count < PAGES - *first ? count : PAGES - *first;
}

static pt_attr_t random_attr(void)
{
	static const pt_attr_t rights[] = { PT_READ, PT_RW, PT_RW, PT_RX, PT_RWX, PT_RWX };
	static const pt_attr_t mem[] = { PT_MEM_WT, PT_MEM_WC, PT_MEM_UC };
	pt_attr_t attr = rights[below(6)];

	if (below(8) == 0) /* a page without rights; uncached it would read as nothing at all */
		return PT_MEM_WB;
	if (below(16) == 0 && world.ops == &ept_ops)
		attr = PT_EXEC;
	return attr | (below(6) == 0 ? mem[below(3)] : PT_MEM_WB);
}

static pt_attr_t random_marks(void)
{
	return below(8) == 0 ? PT_ACCESSED | (below(2) ? PT_DIRTY : 0) : 0;
}

/* A cursor at `first` over [first, first + count), or some more on both sides. */
static int open_around(struct vm_cursor *c, uint64_t first, uint64_t count)
{
	uint64_t before = below(2) ? below(600) : 0, after = below(2) ? below(600) : 0;
	uint64_t start = before < first ? first - before : 0;
	uint64_t end = first + count + after < PAGES ? first + count + after : PAGES;
	int err = vm_cursor_open(c, &world.space, page_gpa(start), page_gpa(end), VM_CHANGE);

	if (err == 0 && vm_jump(c, page_gpa(first)) != 0)
		fail("jump within the range fails");
	if (err != 0 && err != -ENOMEM)
		fail("a cursor cannot be opened: %s", err_name(err));
	return err;
}

static void check_after(uint64_t first, uint64_t count)
{
	uint64_t from = first > 2 ? first - 2 : 0, to = first + count + 2;

	cpus_saw_old_or_new();
	cpus_end();
	if (count < 64 || below(count / 32) == 0)
		pages_check(from, (to < PAGES ? to : PAGES) - from);
}

/* --- map ------------------------------------------------------------------------------------- */

static unsigned random_order(void)
{
	if (below(400) == 0)
		return FRAME_ORDER_1G;
	return below(8) == 0 ? FRAME_ORDER_2M : FRAME_ORDER_4K;
}

/* Maps `f`, whose reference is given, at `first`; `fresh`: only where nothing is. */
static void map_block(uint64_t first, struct frame *f, bool fresh)
{
	uint64_t count = frame_size(f) / PAGE_SIZE, there = pages_mapped(first, count);
	pt_attr_t attr = random_attr() | random_marks();
	struct vm_cursor c;
	int err;

	cpus_begin(first, count);
	err = open_around(&c, first, count);
	if (err == 0) {
		err = fresh ? vm_map_new(&c, f, attr) : vm_map(&c, f, attr);
		if (err == 0)
			pages_map(first, count, frame_hpa(f).hpa, attr | PT_TRACKED);
		if (vm_cursor_at(&c).gpa != page_gpa(err == 0 ? first + count : first).gpa)
			fail("map leaves the cursor at 0x%llx",
			     (unsigned long long)vm_cursor_at(&c).gpa);
		vm_cursor_close(&c);
	}
	if (err != 0)
		frame_put(f);
	if (fresh && (err == 0 ? there != 0 : err == -EEXIST && there == 0 && count == 1))
		fail("map_new says %d where %llu pages are", err, (unsigned long long)there);
	else if (err != 0 && err != -ENOMEM && !(fresh && err == -EEXIST))
		fail("map: %s", err_name(err));
	check_after(first, count);
}

static void op_map(void)
{
	unsigned order = random_order();
	uint64_t first = round_down(random_page(), UINT64_C(1) << order);
	struct frame *f = frame_alloc(order, FRAME_GUEST, 0);

	/* Gigabytes begin in the middle of the window. */
	if (order == FRAME_ORDER_1G)
		first = window_page(SIZE_1G * (1 + below(2)));
	if (f != NULL)
		map_block(first, f, below(4) == 0);
}

/* The frame of some page at another address too. */
static void op_alias(void)
{
	uint64_t from = random_page();
	struct frame *f = pages[from].mapped ? frame_at(hpa(pages[from].hpa)) : NULL;

	if (f == NULL || frame_refs(f) == 0 || f->order != 0)
		return;
	frame_get(f);
	map_block(random_page(), f, false);
}

static void op_map_untracked(void)
{
	uint64_t first, count = random_range(&first), at = DEVICE, done = 0;
	pt_attr_t attr = random_attr();
	struct vm_cursor c;
	int err;

	at += below(2) ? WINDOW_FIRST + first * PAGE_SIZE : below(1000) * PAGE_SIZE;
	world.looks_only = true;
	cpus_begin(first, count);
	err = open_around(&c, first, count);
	if (err == 0) {
		err = vm_map_untracked(&c, hpa(at), count * PAGE_SIZE, attr);
		done = gpa_page(vm_cursor_at(&c).gpa) - first;
		pages_map(first, done, at, attr);
		vm_cursor_close(&c);
	}
	world.looks_only = false;
	if (err == 0 ? done != count : err != -ENOMEM)
		fail("map_untracked: %d, %llu of %llu pages", err, (unsigned long long)done,
		     (unsigned long long)count);
	check_after(first, count);
}

#define MANY 700

/* Blocks of different sizes one after the other, as far as they fit. */
static unsigned frames_random(uint64_t first, struct frame **frames)
{
	unsigned n = 0, want = 1 + (unsigned)below(below(4) == 0 ? MANY : 20);

	while (n < want && first < PAGES) {
		unsigned order = (first & 511) == 0 && below(4) == 0 ? FRAME_ORDER_2M
								     : FRAME_ORDER_4K;
		uint64_t count = UINT64_C(1) << order;

		if (count > PAGES - first)
			break;
		frames[n] = frame_alloc(order, FRAME_GUEST, 0);
		if (frames[n] == NULL)
			break;
		first += count;
		n++;
	}
	return n;
}

/* The 512 pages of a block, each a frame of its own now. */
static unsigned frames_split(struct frame **frames)
{
	struct frame *f = frame_alloc(FRAME_ORDER_2M, FRAME_GUEST, 0);

	if (f == NULL)
		return 0;
	if (frame_split(f) != 0)
		fail("a fresh block cannot be split");
	for (unsigned i = 0; i < 512; i++)
		frames[i] = f + i;
	return 512;
}

/* Many blocks in one call: those that are mapped have moved, the others are still ours. */
static void op_map_frames(void)
{
	static struct frame *frames[MANY];
	uint64_t first = below(2) ? round_down(random_page(), 512) : random_page(), count = 0;
	uint64_t done = 0, at = first;
	pt_attr_t attr = random_attr() | random_marks();
	bool whole = below(8) == 0 && (first & 511) == 0 && first + 512 <= PAGES;
	unsigned n = whole ? frames_split(frames) : frames_random(first, frames);
	struct vm_cursor c;
	int err;

	for (unsigned i = 0; i < n; i++)
		count += frame_size(frames[i]) / PAGE_SIZE;
	if (n == 0)
		return;
	/* The model is not up to date while the ledger is flushed on the way. */
	world.looks_only = true;
	cpus_begin(first, count);
	err = open_around(&c, first, count);
	if (err == 0) {
		err = vm_map_frames(&c, frames, n, attr, &done);
		for (uint64_t i = 0; i < done; i++) {
			uint64_t size = frame_size(frames[i]) / PAGE_SIZE;

			pages_map(at, size, frame_hpa(frames[i]).hpa, attr | PT_TRACKED);
			at += size;
		}
		if (vm_cursor_at(&c).gpa != page_gpa(at).gpa)
			fail("map_frames leaves the cursor at 0x%llx",
			     (unsigned long long)vm_cursor_at(&c).gpa);
		vm_cursor_close(&c);
	}
	world.looks_only = false;
	for (uint64_t i = done; i < n; i++)
		frame_put(frames[i]);
	if (err == 0 ? done != n : err != -ENOMEM)
		fail("map_frames: %d after %llu of %u", err, (unsigned long long)done, n);
	check_after(first, count);
}

/* With enough tables in reserve, memory that has run out does not matter. */
static void op_reserve(void)
{
	uint64_t first = random_page();
	struct frame *f = frame_alloc(0, FRAME_GUEST, 0);
	struct vm_cursor c;

	if (f == NULL)
		return;
	cpus_begin(first, 1);
	if (open_around(&c, first, 1) != 0) {
		frame_put(f);
	} else if (vm_reserve(&c, MMU_MAX_LEVELS) != 0) {
		frame_put(f);
		vm_cursor_close(&c);
	} else {
		frame_alloc_fail_after(0);
		if (vm_map(&c, f, PT_RW | PT_MEM_WB) != 0)
			fail("map with tables in reserve fails");
		pages_map(first, 1, frame_hpa(f).hpa, PT_RW | PT_MEM_WB | PT_TRACKED);
		vm_cursor_close(&c);
	}
	check_after(first, 1);
}

/* --- unmap, protect, marks ------------------------------------------------------------------- */

static void op_unmap(void)
{
	uint64_t first, count = random_range(&first), expected, removed, done = 0;
	struct vm_cursor c;
	int err;

	cpus_begin(first, count);
	err = open_around(&c, first, count);
	if (err == 0) {
		err = vm_unmap(&c, count * PAGE_SIZE, &removed);
		done = gpa_page(vm_cursor_at(&c).gpa) - first;
		expected = pages_mapped(first, done);
		pages_unmap(first, done);
		vm_cursor_close(&c);
		if (removed != expected)
			fail("unmap says %llu pages, were %llu", (unsigned long long)removed,
			     (unsigned long long)expected);
	}
	if (err == 0 ? done != count : err != -ENOMEM)
		fail("unmap: %d after %llu of %llu pages", err, (unsigned long long)done,
		     (unsigned long long)count);
	check_after(first, count);
}

/* The leaf that an operation says it changed, as it was. */
static void check_old(const struct pt_leaf *old, uint64_t first, uint64_t count)
{
	uint64_t at = gpa_page(old->va);

	if (at < first || at + old->size / PAGE_SIZE > first + count)
		fail("changed [0x%llx + 0x%llx), outside the range", (unsigned long long)old->va,
		     (unsigned long long)old->size);
	else if (pages[at].hpa != old->hpa.hpa || ((pages[at].attr ^ old->attr) & ~KEEP) != 0)
		fail("changed 0x%llx 0x%x at page %llu, should be 0x%llx 0x%x",
		     (unsigned long long)old->hpa.hpa, old->attr, (unsigned long long)at,
		     (unsigned long long)pages[at].hpa, pages[at].attr);
}

/* Changes what is mapped in a range, leaf by leaf, by `next`; `keep` and `set` are its effect. */
static void change_each(int (*next)(struct vm_cursor *c, uint64_t len, pt_attr_t attr,
				    struct pt_leaf *out),
			pt_attr_t argument, pt_attr_t keep, pt_attr_t set)
{
	uint64_t first, count = random_range(&first), at = first;
	struct pt_leaf old;
	struct vm_cursor c;
	bool opened;
	int err;

	cpus_begin(first, count);
	err = open_around(&c, first, count);
	opened = err == 0;
	while (err == 0) {
		uint64_t end = page_gpa(first + count).gpa;

		err = next(&c, end - vm_cursor_at(&c).gpa, argument, &old);
		if (err != 0)
			break;
		check_old(&old, first, count);
		if (pages_mapped(at, gpa_page(old.va) - at) != 0)
			fail("a page before 0x%llx was passed over", (unsigned long long)old.va);
		at = gpa_page(old.va + old.size);
		for (uint64_t page = gpa_page(old.va); page < at; page++)
			pages[page].attr = (pages[page].attr & keep) | set;
		cpus_saw_old_or_new();
		/* Looking at a part only is fine as well. */
		if (below(64) == 0)
			err = -ENOMEM;
	}
	if (opened)
		vm_cursor_close(&c);
	if (err != -ENOENT && err != -ENOMEM)
		fail("protect or clear: %s", err_name(err));
	else if (err == -ENOENT && pages_mapped(at, first + count - at) != 0)
		fail("pages after %llu were passed over", (unsigned long long)at);
	check_after(first, count);
}

static void op_protect(void)
{
	pt_attr_t attr = random_attr();

	change_each(vm_protect_next, attr, KEEP, attr);
}

/* The same over a range, in one call. */
static void op_protect_range(void)
{
	uint64_t first, count = random_range(&first), changed, done = 0;
	pt_attr_t attr = random_attr();
	struct vm_cursor c;
	int err;

	cpus_begin(first, count);
	err = open_around(&c, first, count);
	if (err == 0) {
		err = vm_protect(&c, count * PAGE_SIZE, attr, &changed);
		done = gpa_page(vm_cursor_at(&c).gpa) - first;
		if (changed != pages_mapped(first, done))
			fail("protect says %llu pages, were %llu", (unsigned long long)changed,
			     (unsigned long long)pages_mapped(first, done));
		for (uint64_t page = first; page < first + done; page++)
			if (pages[page].mapped)
				pages[page].attr = (pages[page].attr & KEEP) | attr;
		vm_cursor_close(&c);
	}
	if (err == 0 ? done != count : err != -ENOMEM)
		fail("protect: %d after %llu of %llu pages", err, (unsigned long long)done,
		     (unsigned long long)count);
	check_after(first, count);
}

/* What take_next says it took out, against the model. */
static void check_fragment(const struct pt_fragment *f, uint64_t first, uint64_t count)
{
	uint64_t at = gpa_page(f->va), size = f->size / PAGE_SIZE;

	if (at < first || at + size > first + count)
		fail("took [0x%llx + 0x%llx), outside the range", (unsigned long long)f->va,
		     (unsigned long long)f->size);
	else if (f->pages != pages_mapped(at, size))
		fail("took %llu pages at page %llu, were %llu", (unsigned long long)f->pages,
		     (unsigned long long)at, (unsigned long long)pages_mapped(at, size));
	else if (!f->table && (pages[at].hpa != f->hpa.hpa || pages[at].attr != f->attr))
		fail("took 0x%llx 0x%x at page %llu, should be 0x%llx 0x%x",
		     (unsigned long long)f->hpa.hpa, f->attr, (unsigned long long)at,
		     (unsigned long long)pages[at].hpa, pages[at].attr);
}

static void op_take(void)
{
	uint64_t first, count = random_range(&first), at = first;
	struct pt_fragment f;
	struct vm_cursor c;
	bool opened;
	int err;

	world.looks_only = true; /* the fragment tells the marks */
	cpus_begin(first, count);
	err = open_around(&c, first, count);
	opened = err == 0;
	while (err == 0 && below(64) != 0) {
		err = vm_take_next(&c, page_gpa(first + count).gpa - vm_cursor_at(&c).gpa, &f);
		if (err != 0)
			break;
		check_fragment(&f, first, count);
		if (pages_mapped(at, gpa_page(f.va) - at) != 0)
			fail("a page before 0x%llx was passed over", (unsigned long long)f.va);
		at = gpa_page(f.va + f.size);
		pages_unmap(gpa_page(f.va), f.size / PAGE_SIZE);
		cpus_saw_old_or_new();
	}
	if (opened)
		vm_cursor_close(&c);
	world.looks_only = false;
	if (err != 0 && err != -ENOENT && err != -ENOMEM)
		fail("take_next: %s", err_name(err));
	else if (err == -ENOENT && pages_mapped(at, first + count - at) != 0)
		fail("pages after %llu were passed over", (unsigned long long)at);
	check_after(first, count);
}

/* --- collapse -------------------------------------------------------------------------------- */

static pt_attr_t marks_of(uint64_t first, uint64_t count)
{
	pt_attr_t any = 0;

	for (uint64_t i = 0; i < count; i++)
		any |= pages[first + i].attr & (PT_ACCESSED | PT_DIRTY);
	return any;
}

/* May the 512 leaf entries from `first` on become one? Tracked pages: those of one block. */
static bool joinable(uint64_t first)
{
	const pt_attr_t marks = PT_ACCESSED | PT_DIRTY;
	const struct page *p = &pages[first];
	struct pt_hit hit;

	epoch_enter();
	hit = vm_lookup(&world.space, page_gpa(first));
	epoch_exit();
	if (hit.level != 1 || (p->hpa & (SIZE_2M - 1)) != 0)
		return false;
	for (uint64_t i = 1; i < 512; i++)
		if (!p[i].mapped || p[i].hpa != p->hpa + i * PAGE_SIZE ||
		    ((p[i].attr ^ p->attr) & ~marks) != 0)
			return false;
	return true;
}

static void marks_join(uint64_t first)
{
	pt_attr_t marks = marks_of(first, 512);

	for (uint64_t i = 0; i < 512; i++)
		pages[first + i].attr |= marks;
}

/* Is it of one block, or 512 frames that nothing else refers to? */
static bool owned_whole(struct frame *f)
{
	bool own = true;

	if (frame_head(f)->order >= FRAME_ORDER_2M)
		return true;
	for (unsigned i = 0; i < 512; i++)
		own &= frame_refs(f + i) == 1;
	return own;
}

static void collapse(uint64_t first)
{
	bool can = joinable(first), block;
	struct frame *f = can ? frame_at(hpa(pages[first].hpa)) : NULL;
	struct vm_cursor c;
	int err;

	block = f == NULL || (pages[first].attr & PT_TRACKED) == 0 || owned_whole(f);
	cpus_begin(first, 512);
	err = open_around(&c, first, 512);
	if (err == 0) {
		if (can && block)
			marks_join(first); /* so it is to a CPU from the exchange on */
		err = vm_collapse(&c, SIZE_2M);
		if (err == 0)
			marks_join(first); /* those too that were set until the end */
		if (can && block ? err != 0 : err == 0)
			fail("collapse at page %llu: %d, %s", (unsigned long long)first, err,
			     can ? "can be" : "cannot be");
		world.collapses += err == 0;
		vm_cursor_close(&c);
	}
	check_after(first, 512);
}

/* A large page is split by giving its first page other rights for a moment. */
static void split(uint64_t first)
{
	pt_attr_t attr = pages[first].attr & ~KEEP;
	pt_attr_t other = (attr == (PT_RW | PT_MEM_WB) ? PT_READ : PT_RW) | PT_MEM_WB;
	uint64_t changed;
	struct vm_cursor c;

	for (unsigned i = 0; i < 2; i++) {
		pt_attr_t now = i == 0 ? other : attr;

		cpus_begin(first, 1);
		if (open_around(&c, first, 1) == 0) {
			if (vm_protect(&c, PAGE_SIZE, now, &changed) == 0)
				pages[first].attr = (pages[first].attr & KEEP) | now;
			vm_cursor_close(&c);
		}
		check_after(first, 1);
	}
}

/* So that there are marks to be set while a collapse is under way. */
static void clean(uint64_t first)
{
	struct pt_leaf old;
	struct vm_cursor c;

	world.looks_only = true;
	cpus_begin(first, 512);
	if (open_around(&c, first, 512) == 0) {
		while (vm_clear_marks_next(&c, page_gpa(first + 512).gpa - vm_cursor_at(&c).gpa,
					   PT_ACCESSED | PT_DIRTY, &old) == 0)
			for (uint64_t i = 0; i < old.size / PAGE_SIZE; i++)
				pages[gpa_page(old.va) + i].attr &= ~(PT_ACCESSED | PT_DIRTY);
		vm_cursor_close(&c);
	}
	world.looks_only = false;
	check_after(first, 512);
	cpus_run(first);
}

static void op_collapse(void)
{
	uint64_t first = round_down(random_page(), 512);

	if (first + 512 > PAGES)
		return;
	if (pages[first].mapped && below(4) != 0)
		split(first);
	if (below(2))
		clean(first);
	collapse(first);
}

static void op_clear_marks(void)
{
	pt_attr_t marks = below(2) ? PT_DIRTY : PT_ACCESSED | PT_DIRTY;

	world.looks_only = true;
	change_each(vm_clear_marks_next, marks, ~marks, 0);
	world.looks_only = false;
}

/* --- looking --------------------------------------------------------------------------------- */

static void op_find(void)
{
	uint64_t first, count = random_range(&first), expected = first;
	struct vm_cursor c;
	bool found;

	if (vm_cursor_open(&c, &world.space, page_gpa(first), page_gpa(first + count), VM_READ) !=
	    0) {
		fail("a cursor that only reads cannot be opened");
		return;
	}
	found = vm_find_next(&c, count * PAGE_SIZE);
	while (expected < first + count && !pages[expected].mapped)
		expected++;
	if (found != (expected < first + count) || vm_cursor_at(&c).gpa != page_gpa(expected).gpa)
		fail("find_next from %llu stands at 0x%llx, not at page %llu",
		     (unsigned long long)first, (unsigned long long)vm_cursor_at(&c).gpa,
		     (unsigned long long)expected);
	vm_cursor_close(&c);
}

/* The iteration meets each mapped page once, in order. */
static void op_iterate(void)
{
	uint64_t first, count = random_range(&first), page = first;
	struct vm_cursor c;
	struct pt_leaf leaf;

	if (vm_cursor_open(&c, &world.space, page_gpa(first), page_gpa(first + count), VM_READ) !=
	    0) {
		fail("a cursor that only reads cannot be opened");
		return;
	}
	while (vm_next(&c, page_gpa(first + count).gpa - vm_cursor_at(&c).gpa, &leaf)) {
		uint64_t start = leaf.va > page_gpa(first).gpa ? gpa_page(leaf.va) : first;
		uint64_t end = gpa_page(leaf.va + leaf.size);

		end = end < first + count ? end : first + count;
		if (pages_mapped(page, start - page) != 0)
			fail("next passes over a page before 0x%llx", (unsigned long long)leaf.va);
		for (page = start; page < end; page++)
			if (!pages[page].mapped || pages[page].attr != leaf.attr ||
			    pages[page].hpa != leaf.hpa.hpa + (page_gpa(page).gpa - leaf.va))
				fail("next says 0x%llx 0x%x for page %llu",
				     (unsigned long long)leaf.hpa.hpa, leaf.attr,
				     (unsigned long long)page);
	}
	if (pages_mapped(page, first + count - page) != 0)
		fail("next passes over pages after %llu", (unsigned long long)page);
	vm_cursor_close(&c);
}

/* The place of a byte, for whatever may be asked of its page. */
static void check_place(uint64_t page, uint64_t size)
{
	static const pt_attr_t all = PT_RW | PT_ACCESSED | PT_DIRTY | PT_TRACKED;
	pt_attr_t needs = (pt_attr_t)below(PT_TRACKED * 2) & all;
	uint64_t offset = below(PAGE_SIZE);
	bool has = pages[page].mapped && (pages[page].attr & needs) == needs;
	struct pt_place place;

	if (needs == 0)
		return;
	place = vm_place(&world.space, gpa(page_gpa(page).gpa + offset), needs);
	if ((place.at != NULL) != has ||
	    (has && (place.at != hpa_ptr(hpa(pages[page].hpa + offset)) || place.size != size)))
		fail("place of page %llu for 0x%x: %p", (unsigned long long)page, needs, place.at);
}

/* The hypervisor looks and writes in the guest's place. */
static void op_translate(void)
{
	uint64_t page = random_page();
	pt_attr_t marks = below(2) ? PT_ACCESSED : PT_ACCESSED | PT_DIRTY;
	struct pt_leaf leaf;
	bool found;

	epoch_enter();
	found = vm_translate(&world.space, page_gpa(page), &leaf);
	if (found != pages[page].mapped ||
	    (found && (leaf.hpa.hpa + (page_gpa(page).gpa - leaf.va) != pages[page].hpa ||
		       leaf.attr != pages[page].attr)))
		fail("translate of page %llu: %d 0x%llx 0x%x", (unsigned long long)page, found,
		     (unsigned long long)leaf.hpa.hpa, leaf.attr);
	check_place(page, found ? leaf.size : 0);
	if (below(2)) {
		struct mmu_page marked = { .gpa = leaf.va, .size = leaf.size };

		if (vm_mark(&world.space, page_gpa(page), marks) != found)
			fail("mark of page %llu", (unsigned long long)page);
		if (found)
			pages_mark(&marked, marks);
	}
	epoch_exit();
}

/* --- running --------------------------------------------------------------------------------- */

static void complain(const char *text)
{
	fail("audit: %s", text);
}

static void check_all(void)
{
	struct vm_audit audit;

	pages_check(0, PAGES);
	vm_audit(&world.space, &audit, complain);
	frame_audit(complain);
	if (lock_held() != 0)
		fail("a lock is still held");
}

static void run_step(void)
{
	static void (*const operations[])(void) = {
		op_map,		  op_map,	 op_map,   op_map,     op_map_untracked,
		op_alias,	  op_reserve,	 op_unmap, op_unmap,   op_unmap,
		op_protect,	  op_protect,	 op_find,  op_find,    op_clear_marks,
		op_translate,	  op_map_frames, op_take,  op_iterate, op_collapse,
		op_protect_range,
	};

	cpus_run(random_page());
	if (below(8) == 0)
		frame_alloc_fail_after((int64_t)below(8));
	operations[below(sizeof(operations) / sizeof(operations[0]))]();
	frame_alloc_fail_after(-1);
	epoch_poll();
	if (world.step % AUDIT_EACH == 0)
		check_all();
}

static void finish(void)
{
	struct frame_account a;

	check_all();
	cpus_leave();
	vm_space_destroy(&world.space);
	epoch_drain();
	frame_account(&a);
	if (a.by_kind[FRAME_GUEST] != 0 || a.by_kind[FRAME_STAGE2_TABLE] != 0 ||
	    a.by_kind[FRAME_HOST_TABLE] != 0)
		fail("%llu bytes of guest and %llu of tables are lost",
		     (unsigned long long)a.by_kind[FRAME_GUEST],
		     (unsigned long long)a.by_kind[FRAME_STAGE2_TABLE] +
			     a.by_kind[FRAME_HOST_TABLE]);
	arena_fini();
}

/* A run in which the CPUs had nothing to do proves nothing. */
static void check_counts(uint64_t steps)
{
	const struct cpus_counts *n = &cpus_counts;

	if (steps >= 10000 &&
	    (n->hits < steps / 10 || n->walks < steps / 10 || n->faults == 0 ||
	     n->kicks < steps / 20 || n->meanwhile < steps / 50 || world.collapses < steps / 1000))
		fail("too little has happened");
	printf("model: %s: %llu operations, SEED=%llu: %s (%llu TLB hits, %llu walks, %llu kicks, "
	       "%llu accesses in the middle of a change, %llu collapses)\n",
	       world.ops->limits->name, (unsigned long long)steps, (unsigned long long)first_seed,
	       world.failures ? "FAILED" : "ok", (unsigned long long)n->hits,
	       (unsigned long long)n->walks, (unsigned long long)n->kicks,
	       (unsigned long long)n->meanwhile, (unsigned long long)world.collapses);
}

static bool run_format(const struct pt_ops *ops, enum mmu_format format, uint64_t base,
		       uint64_t steps)
{
	char why[128];

	memset(&world, 0, sizeof(world));
	memset(&cpus_counts, 0, sizeof(cpus_counts));
	world.ops = ops;
	world.format = format;
	world.base = base + WINDOW_FIRST;
	world.rng = first_seed + format; /* another sequence for each */
	pages_reset();
	arena_init(ARENA);
	if (ept_setup(0xf0106734141, MMU_PHYS_BITS, why, sizeof(why)) != 0)
		fail("%s", why);
	npt_setup(true, MMU_PHYS_BITS);
	host_pt_setup(true, MMU_PHYS_BITS);
	if (vm_space_init(&world.space, ops) != 0)
		return false;
	world.mmu = (struct mmu){ .format = format, .root = frame_hpa(world.space.pt.root).hpa };
	cpus_reset();
	for (world.step = 1; world.step <= steps && world.failures == 0; world.step++)
		run_step();
	finish();
	check_counts(steps);
	return world.failures == 0;
}

/* Each format in a process of its own: they run at the same time. */
int main(void)
{
	static const struct {
		const struct pt_ops *ops;
		enum mmu_format format;
		uint64_t base;
	} formats[] = {
		{ &ept_ops, MMU_EPT, 0 },
		{ &npt_ops, MMU_NPT, 0 },
		{ &host_pt_ops, MMU_HOST, UINT64_C(0xffffa00000000000) },
		{ &fake_pt_ops, MMU_FAKE, UINT64_C(1) << 56 },
	};
	const unsigned count = sizeof(formats) / sizeof(formats[0]);
	uint64_t steps = random_env("MODEL_OPS", 2600000);
	unsigned passed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	first_seed = random_seed(1);
	printf("\n");
	fflush(stdout);
	for (unsigned i = 0; i < count; i++)
		if (fork() == 0)
			exit(!run_format(formats[i].ops, formats[i].format, formats[i].base,
					 steps));
	for (unsigned i = 0; i < count; i++) {
		int status;

		wait(&status);
		passed += WIFEXITED(status) && WEXITSTATUS(status) == 0;
	}
	printf("%u passed, %u failed, 0 skipped\n", passed, count - passed);
	return passed != count;
}
