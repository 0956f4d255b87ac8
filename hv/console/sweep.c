/* SPDX-License-Identifier: MPL-2.0 */
#include "hv/console/sweep.h"

#include "base/epoch.h"
#include "base/err.h"

#define PIECE_MAX 512

static struct piece {
	struct pt_leaf leaves[PIECE_MAX];
	unsigned count;
} piece;

/* The first address from `at` on where something is mapped, or `end`; *size is that page's. */
static uint64_t skip_hole(struct vm_space *space, uint64_t at, uint64_t end, uint64_t *size)
{
	struct pt_step steps[PT_MAX_LEVELS], *last;

	while (at < end) {
		epoch_enter();
		last = &steps[vm_walk(space, gpa(at), steps) - 1];
		epoch_exit();
		*size = pt_level_size(last->level);
		if (last->is != PT_STEP_ABSENT)
			return at;
		at = round_down(at, *size) + *size;
	}
	return end;
}

static void keep(const struct pt_leaf *leaf)
{
	piece.leaves[piece.count++] = *leaf;
}

/* Copies what is mapped from the cursor to `stop`, as much as there is room for. */
static void copy_piece(struct vm_cursor *c, uint64_t stop)
{
	struct pt_leaf leaf;
	uint64_t next;

	while (piece.count < PIECE_MAX && vm_find_next(c, stop - vm_cursor_at(c).gpa)) {
		vm_query(c, &leaf);
		keep(&leaf);
		next = leaf.va + leaf.size;
		vm_jump(c, gpa(next < stop ? next : stop));
	}
}

static int take_marks(struct vm_cursor *c, uint64_t stop, pt_attr_t marks)
{
	struct pt_leaf leaf;
	int err = 0;

	while (err == 0 && piece.count < PIECE_MAX) {
		err = vm_clear_marks_next(c, stop - vm_cursor_at(c).gpa, marks, &leaf);
		if (err == 0 && (leaf.attr & marks) != 0)
			keep(&leaf);
	}
	return err == -ENOENT ? 0 : err;
}

/* One piece from *at on, which moves behind it. */
static int sweep_piece(struct vm_space *space, uint64_t *at, uint64_t stop, pt_attr_t marks)
{
	struct vm_cursor c;
	int err = vm_cursor_open(&c, space, gpa(*at), gpa(stop), marks != 0 ? VM_CHANGE : VM_READ);

	piece.count = 0;
	if (err != 0)
		return err;
	if (marks != 0)
		err = take_marks(&c, stop, marks);
	else
		copy_piece(&c, stop);
	*at = vm_cursor_at(&c).gpa;
	vm_cursor_close(&c);
	return err;
}

int sweep_marks(struct vm_space *space, uint64_t start, uint64_t end, pt_attr_t marks,
		sweep_visit visit, void *context)
{
	uint64_t size;
	int err = 0;

	while (err == 0 && (start = skip_hole(space, start, end, &size)) != end) {
		uint64_t span = size > SIZE_2M ? size : SIZE_2M;
		uint64_t stop = round_down(start, span) + span;

		err = sweep_piece(space, &start, stop < end ? stop : end, marks);
		for (unsigned i = 0; i < piece.count; i++)
			visit(context, &piece.leaves[i]);
	}
	/* A copy under way has set its marks, that were just taken off, and goes on writing. */
	if (marks != 0)
		epoch_wait();
	return err;
}

int sweep(struct vm_space *space, uint64_t start, uint64_t end, sweep_visit visit, void *context)
{
	return sweep_marks(space, start, end, 0, visit, context);
}
