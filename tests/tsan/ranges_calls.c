/* SPDX-License-Identifier: MPL-2.0 */
/* Everything that mm/vm_space.h has for one who holds a cursor, at random, and the log of it. */
#include <string.h>

#include "base/err.h"
#include "mm/frame_alloc.h"
#include "tests/tsan/ranges.h"
#include "tests/tsan/threads.h"

#define DEVICES (UINT64_C(16) << 30) /* untracked memory, not in the arena */

static uint64_t where(const struct worker *w)
{
	return (vm_cursor_at(&w->c).gpa - RANGE_BASE) / PAGE_SIZE;
}

static struct op *op_begin(struct worker *w, enum op_kind kind, uint64_t len)
{
	struct range_log *log = &range_logs[w->cpu];
	struct op *o = &log->ops[log->op_count++];

	memset(o, 0, sizeof(*o));
	o->kind = kind;
	o->at = where(w);
	o->len = len;
	o->t0 = ticket();
	return o;
}

static void op_end(struct worker *w, struct op *o, int err)
{
	o->t1 = ticket();
	o->err = err;
	o->after = where(w);
}

static pt_attr_t some_rights(struct worker *w)
{
	static const pt_attr_t some[] = { PT_RW, PT_RW, PT_RWX, PT_READ, PT_RX, 0 };

	return some[below(w, 6)] | PT_MEM_WB;
}

static uint64_t len_left(struct worker *w)
{
	uint64_t left = w->end - where(w);

	return below(w, 3) == 0 ? left : below(w, left + 1);
}

static void do_look(struct worker *w)
{
	struct op *o;
	unsigned n;

	for (n = 1 + (unsigned)below(w, 4); n > 0 && where(w) != w->end; n--) {
		switch (below(w, 3)) {
		case 0:
			o = op_begin(w, OP_QUERY, 0);
			op_end(w, o, vm_query(&w->c, &o->seen));
			break;
		case 1:
			o = op_begin(w, OP_NEXT, len_left(w));
			op_end(w, o, vm_next(&w->c, o->len * PAGE_SIZE, &o->seen) ? 0 : -ENOENT);
			break;
		default:
			o = op_begin(w, OP_FIND_NEXT, len_left(w));
			op_end(w, o, vm_find_next(&w->c, o->len * PAGE_SIZE) ? 0 : -ENOENT);
		}
	}
}

static void do_map(struct worker *w)
{
	bool large = where(w) % SLOT_PAGES == 0 && w->end - where(w) >= SLOT_PAGES;
	unsigned order = large && below(w, 4) != 0 ? FRAME_ORDER_2M : FRAME_ORDER_4K;
	struct frame *f = frame_alloc(order, FRAME_GUEST, 0);
	struct op *o;
	int err;

	if (f == NULL)
		return;
	o = op_begin(w, below(w, 3) ? OP_MAP : OP_MAP_NEW, UINT64_C(1) << order);
	o->hpa[0] = frame_hpa(f).hpa;
	o->attr = some_rights(w);
	err = o->kind == OP_MAP ? vm_map(&w->c, f, o->attr) : vm_map_new(&w->c, f, o->attr);
	op_end(w, o, err);
	CHECK(err == 0 || err == -ENOMEM || (err == -EEXIST && o->kind == OP_MAP_NEW));
	if (err != 0)
		frame_put(f);
}

static void do_map_untracked(struct worker *w)
{
	uint64_t len = len_left(w);
	struct op *o;
	int err;

	if (len == 0)
		return;
	o = op_begin(w, OP_MAP_UNTRACKED, len);
	/* Now and then so that it can be joined, or mapped large at once. */
	o->hpa[0] = DEVICES + below(w, 64) * SIZE_2M +
		    (below(w, 3) ? where(w) % SLOT_PAGES * PAGE_SIZE : PAGE_SIZE);
	o->attr = some_rights(w);
	err = vm_map_untracked(&w->c, hpa(o->hpa[0]), len * PAGE_SIZE, o->attr);
	op_end(w, o, err);
	CHECK(err == 0 || err == -ENOMEM);
}

static void do_map_frames(struct worker *w)
{
	struct frame *frames[OP_FRAMES];
	uint64_t n = 0, left = w->end - where(w);
	struct op *o;
	int err;

	while (n < OP_FRAMES && n < left &&
	       (frames[n] = frame_alloc(FRAME_ORDER_4K, FRAME_GUEST, 0)) != NULL)
		n++;
	if (n == 0)
		return;
	o = op_begin(w, OP_MAP_FRAMES, n);
	for (uint64_t i = 0; i < n; i++)
		o->hpa[i] = frame_hpa(frames[i]).hpa;
	o->attr = some_rights(w);
	err = vm_map_frames(&w->c, frames, n, o->attr, &o->pages);
	op_end(w, o, err);
	CHECK(err == 0 ? o->pages == n : err == -ENOMEM);
	for (uint64_t i = o->pages; i < n; i++)
		frame_put(frames[i]);
}

static void do_take(struct worker *w)
{
	struct op *o;

	if (below(w, 2) == 0) {
		o = op_begin(w, OP_UNMAP, len_left(w));
		op_end(w, o, vm_unmap(&w->c, o->len * PAGE_SIZE, &o->pages));
		return;
	}
	for (unsigned n = 1 + (unsigned)below(w, 3); n > 0; n--) {
		struct pt_fragment gone = { 0 };

		o = op_begin(w, OP_TAKE_NEXT, len_left(w));
		op_end(w, o, vm_take_next(&w->c, o->len * PAGE_SIZE, &gone));
		o->seen = (struct pt_leaf){ gone.va, gone.hpa, gone.size, gone.attr };
		o->pages = gone.pages;
		o->table = gone.table;
	}
}

static void do_protect(struct worker *w, pt_attr_t attr)
{
	struct op *o;

	if (below(w, 2) == 0) {
		o = op_begin(w, OP_PROTECT, len_left(w));
		o->attr = attr;
		op_end(w, o, vm_protect(&w->c, o->len * PAGE_SIZE, attr, &o->pages));
		return;
	}
	for (unsigned n = 1 + (unsigned)below(w, 6); n > 0; n--) {
		o = op_begin(w, OP_PROTECT_NEXT, len_left(w));
		o->attr = attr;
		op_end(w, o, vm_protect_next(&w->c, o->len * PAGE_SIZE, attr, &o->seen));
	}
}

static void do_clear(struct worker *w)
{
	static const pt_attr_t which[] = { PT_DIRTY, PT_ACCESSED, PT_ACCESSED | PT_DIRTY };
	struct op *o;

	for (unsigned n = 1 + (unsigned)below(w, 6); n > 0; n--) {
		o = op_begin(w, OP_CLEAR_NEXT, len_left(w));
		o->attr = which[below(w, 3)];
		op_end(w, o, vm_clear_marks_next(&w->c, o->len * PAGE_SIZE, o->attr, &o->seen));
	}
}

/* Large pages that were split come together again when all their parts have the same rights. */
static void do_collapse(struct worker *w)
{
	uint64_t at = where(w);
	struct op *o;

	if (at % SLOT_PAGES != 0 || w->end - at < SLOT_PAGES)
		return;
	if (below(w, 2) == 0) {
		do_map(w);
		CHECK(vm_jump(&w->c, page_gpa(at + below(w, SLOT_PAGES))) == 0);
		o = op_begin(w, OP_CLEAR_NEXT, 1);
		o->attr = PT_DIRTY;
		op_end(w, o, vm_clear_marks_next(&w->c, PAGE_SIZE, o->attr, &o->seen));
		CHECK(vm_jump(&w->c, page_gpa(at)) == 0);
	}
	if (below(w, 3) != 0) {

		o = op_begin(w, OP_PROTECT, SLOT_PAGES);
		o->attr = PT_RW | PT_MEM_WB;
		op_end(w, o, vm_protect(&w->c, SIZE_2M, o->attr, &o->pages));
		CHECK(vm_jump(&w->c, page_gpa(at)) == 0);
	}
	o = op_begin(w, OP_COLLAPSE, SLOT_PAGES);
	op_end(w, o, vm_collapse(&w->c, SIZE_2M));
}

static void jump(struct worker *w)
{
	uint64_t to = w->first + below(w, w->end - w->first), slot = round_up(w->first, SLOT_PAGES);

	if (below(w, 2) == 0 && slot < w->end)
		to = slot + round_down(below(w, w->end - slot), SLOT_PAGES);
	if (below(w, 16) == 0)
		CHECK(vm_jump(&w->c, page_gpa(w->end + 1 + below(w, 9))) == -ERANGE);
	CHECK(vm_jump(&w->c, page_gpa(to)) == 0 && where(w) == to);
}

/* In the last slots most pages stay where they are, so that large ones fall apart and join again.
 */
static bool stays(struct worker *w)
{
	return where(w) >= RANGE_PAGES / 2 && below(w, 16) != 0;
}

static void change(struct worker *w)
{
	switch (stays(w) ? 5 + below(w, 3) : below(w, 8)) {
	case 0:
	case 1:
		do_map(w);
		break;
	case 2:
		do_map_frames(w);
		break;
	case 3:
		if (below(w, 2) == 0)
			do_map_untracked(w);
		else
			do_take(w);
		break;
	case 4:
		do_take(w);
		break;
	case 5:
		do_protect(w, some_rights(w));
		break;
	case 6:
		do_clear(w);
		break;
	default:
		do_collapse(w);
	}
}

/* Most are small and near the others', some exactly a slot, some large, some each CPU's own. */
static void choose_range(struct worker *w)
{
	uint64_t count = 1 + below(w, 8);

	w->first = below(w, RANGE_SLOTS) * SLOT_PAGES + below(w, 24);
	switch (below(w, 8)) {
	case 0:
	case 1:
		w->first = round_down(w->first, SLOT_PAGES);
		count = SLOT_PAGES;
		break;
	case 2:
		w->first = below(w, RANGE_PAGES);
		count = 1 + below(w, RANGE_PAGES);
		break;
	case 3:
		w->first = w->cpu * SLOT_PAGES + below(w, SLOT_PAGES / 2);
		count = 1 + below(w, SLOT_PAGES / 2);
		break;
	default:
		break;
	}
	w->end = w->first + count < RANGE_PAGES ? w->first + count : RANGE_PAGES;
}

void ranges_under_cursor(struct worker *w)
{
	struct range_log *log = &range_logs[w->cpu];
	unsigned from = log->op_count;
	bool reads = below(w, 4) == 0;
	int err;

	choose_range(w);
	err = vm_cursor_open(&w->c, &ranges_space, page_gpa(w->first), page_gpa(w->end),
			     reads ? VM_READ : VM_CHANGE);
	CHECK(err == 0 || (err == -ENOMEM && !reads));
	if (err != 0)
		return;
	if (!reads && below(w, 8) == 0)
		CHECK(vm_reserve(&w->c, 3) != -EINVAL);
	for (unsigned n = 1 + (unsigned)below(w, 3); n > 0; n--) {
		jump(w);
		if (reads || below(w, 4) == 0)
			do_look(w);
		else
			change(w);
	}
	vm_cursor_close(&w->c);
	for (uint64_t closed = ticket(); from < log->op_count; from++)
		log->ops[from].closed = closed;
}
