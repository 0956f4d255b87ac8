/* SPDX-License-Identifier: MPL-2.0 */
#include "mm/vm_space.h"

#include "base/contract.h"
#include "base/err.h"
#include "mm/pt_ops.h"

int vm_space_init(struct vm_space *space, const struct pt_ops *ops)
{
	space->pt.ops = ops;
	space->fault = NULL;
	space->fault_context = NULL;
	space->device_lock = (struct spinlock)SPINLOCK_INIT(LOCK_SPACE);
	space->devices = 0;
	owners_init(&space->owners);
	return ops->init(&space->pt);
}

void vm_space_destroy(struct vm_space *space)
{
	REQUIRES(!epoch_inside());
	owners_end(&space->owners);
	tlb_domain_end(&space->pt.tlb);
	space->pt.ops->destroy(&space->pt);
}

void vm_space_set_fault_handler(struct vm_space *space, vm_fault_handler fault, void *context)
{
	space->fault = fault;
	space->fault_context = context;
}

int vm_space_fault(struct vm_space *space, gpa_t at, pt_attr_t want)
{
	REQUIRES(epoch_inside());
	REQUIRES(want == PT_READ || want == PT_WRITE || want == PT_EXEC);
	if (space->fault == NULL)
		return -EFAULT;
	return space->fault(space->fault_context, at, want);
}

bool vm_mark(struct vm_space *space, gpa_t at, pt_attr_t marks)
{
	return space->pt.ops->mark(&space->pt, at.gpa, marks);
}

unsigned vm_walk(struct vm_space *space, gpa_t at, struct pt_step steps[PT_MAX_LEVELS])
{
	return space->pt.ops->walk(&space->pt, at.gpa, steps);
}

struct pt_leaf vm_decode(struct vm_space *space, uint64_t raw, unsigned level)
{
	return space->pt.ops->decode(raw, level);
}

gpa_t vm_cursor_at(const struct vm_cursor *c)
{
	return gpa(c->c.va);
}

int vm_query(struct vm_cursor *c, struct pt_leaf *out)
{
	return c->space->pt.ops->query(&c->c, out);
}

bool vm_next(struct vm_cursor *c, uint64_t len, struct pt_leaf *out)
{
	return c->space->pt.ops->next(&c->c, len, out);
}

bool vm_find_next(struct vm_cursor *c, uint64_t len)
{
	return c->space->pt.ops->find_next(&c->c, len);
}

int vm_jump(struct vm_cursor *c, gpa_t at)
{
	return c->space->pt.ops->jump(&c->c, at.gpa);
}

int vm_reserve(struct vm_cursor *c, unsigned tables)
{
	return c->space->pt.ops->reserve(&c->c, tables);
}

int vm_map_untracked_many(struct vm_cursor *c, hpa_t start, uint64_t len, pt_attr_t attr)
{
	const struct pt_ops *ops = c->space->pt.ops;
	uint64_t mapped = 0, done;

	do {
		int err;

		if (flusher_full(&c->flusher))
			vm_cursor_flush(c);
		err = ops->map_range(&c->c, hpa_add(start, mapped), len - mapped,
				     attr & ~PT_TRACKED, ops->limits->max_leaf, &c->flusher, &done);
		if (err != 0)
			return err;
		mapped += done;
	} while (mapped < len);
	return 0;
}

int vm_map_frames(struct vm_cursor *c, struct frame *const *frames, uint64_t n, pt_attr_t attr,
		  uint64_t *done)
{
	uint64_t some;
	int err = 0;

	for (*done = 0; *done < n && err == 0; *done += some) {
		if (flusher_full(&c->flusher))
			vm_cursor_flush(c);
		err = c->space->pt.ops->map_frames(&c->c, frames + *done, n - *done,
						   attr | PT_TRACKED, &c->flusher, &some);
	}
	return err;
}

int vm_unmap_rest(struct vm_cursor *c, uint64_t limit, uint64_t *pages)
{
	while (c->c.va != limit) {
		int err;

		if (flusher_full(&c->flusher))
			vm_cursor_flush(c);
		err = c->space->pt.ops->unmap(&c->c, limit, &c->flusher, pages);
		if (err != 0)
			return err;
	}
	return 0;
}

int vm_take_next(struct vm_cursor *c, uint64_t len, struct pt_fragment *out)
{
	if (flusher_full(&c->flusher))
		vm_cursor_flush(c);
	return c->space->pt.ops->take_next(&c->c, len, &c->flusher, out);
}

int vm_protect(struct vm_cursor *c, uint64_t len, pt_attr_t attr, uint64_t *pages)
{
	return c->space->pt.ops->protect(&c->c, len, attr, &c->flusher, pages);
}

int vm_collapse(struct vm_cursor *c, uint64_t size)
{
	const struct pt_ops *ops = c->space->pt.ops;
	struct frame *table;
	int err;

	if (size != SIZE_2M && size != SIZE_1G)
		return -EINVAL;
	err = ops->collapse(&c->c, size == SIZE_2M ? 2 : 3, &c->flusher, &table);
	if (err != 0)
		return err;
	vm_cursor_flush(c);
	ops->collapse_end(&c->c, table, &c->flusher);
	/* No CPU has been able to use the table since the flush; lock-free walkers may still. */
	flusher_sync(&c->flusher);
	return 0;
}

/* Did the change from `old` to `new` take something away that a TLB may still grant? */
static bool attr_needs_flush(pt_attr_t old, pt_attr_t new)
{
	return (old & PT_RIGHTS & ~new) != 0 || ((old ^ new) & PT_MEM_MASK) != 0;
}

int vm_protect_next(struct vm_cursor *c, uint64_t len, pt_attr_t attr, struct pt_leaf *out)
{
	int err = c->space->pt.ops->protect_next(&c->c, len, attr, out);

	if (err == 0 && attr_needs_flush(out->attr, attr))
		flusher_issue(&c->flusher, out->va, out->size);
	return err;
}

int vm_clear_marks_next(struct vm_cursor *c, uint64_t len, pt_attr_t marks, struct pt_leaf *out)
{
	int err = c->space->pt.ops->clear_marks_next(&c->c, len, marks, out);

	/* A TLB entry that remembers a set mark would not set it again. */
	if (err == 0 && (out->attr & marks) != 0)
		flusher_issue(&c->flusher, out->va, out->size);
	return err;
}

void vm_audit(struct vm_space *space, struct vm_audit *out, void (*report)(const char *text))
{
	const struct pt_ops *ops = space->pt.ops;
	struct pt_audit a = { .report = report };
	struct pt_cursor c;
	int err = ops->open(&c, &space->pt, ops->limits->va_first, ops->limits->va_last + 1, false);

	MUST(err == 0, "the whole space cannot be locked: %d", err);
	ops->audit(&c, &a);
	ops->close(&c);
	*out = (struct vm_audit){ .nodes = a.nodes, .violations = a.violations };
	for (unsigned level = 1; level < 4; level++)
		out->leaves[level] = a.leaves[level];
}
