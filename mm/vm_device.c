/* SPDX-License-Identifier: MPL-2.0 */
#include "mm/vm_device.h"

#include "base/err.h"

static bool any_ram(hpa_t start, uint64_t len)
{
	for (uint64_t at = start.hpa; at - start.hpa < len; at += PAGE_SIZE) {
		if (at >> PAGE_SHIFT >= frame_limit)
			return false;
		if (frame_at(hpa(at)) != NULL)
			return true;
	}
	return false;
}

/* Under a cursor over exactly the place. */
static int device_map_at(struct vm_cursor *c, hpa_t start, uint64_t len, pt_attr_t attr)
{
	gpa_t at = vm_cursor_at(c);
	uint64_t pages;
	int err;

	if (vm_find_next(c, len))
		return -EEXIST;
	err = vm_jump(c, at);
	if (err == 0)
		err = vm_map_untracked(c, start, len, attr);
	if (err == 0)
		return 0;
	/* What was mapped before memory ran out goes again: whole pages, which need no splitting.
	 */
	pages = vm_cursor_at(c).gpa - at.gpa;
	if (pages != 0 && (vm_jump(c, at) != 0 || vm_unmap(c, pages, &pages) != 0))
		panic("a device's pages, just mapped, cannot be unmapped");
	return err;
}

static struct vm_device *device_of(struct vm_space *space, gpa_t at)
{
	for (unsigned i = 0; i < space->devices; i++)
		if (at.gpa - space->device[i].gpa.gpa < space->device[i].len)
			return &space->device[i];
	return NULL;
}

/* Precondition: the lock is held, which keeps two of them from the last free place. */
static int device_add(struct vm_space *space, gpa_t at, hpa_t start, uint64_t len, pt_attr_t attr)
{
	struct vm_cursor c;
	int err;

	if (space->devices == VM_DEVICES)
		return -ENOSPC;
	err = vm_cursor_open(&c, space, at, gpa_add(at, len), VM_CHANGE);
	if (err != 0)
		return err;
	err = device_map_at(&c, start, len, attr);
	vm_cursor_close(&c);
	if (err == 0)
		space->device[space->devices++] = (struct vm_device){ at, start, len };
	return err;
}

int vm_device_map(struct vm_space *space, gpa_t at, hpa_t start, uint64_t len, pt_attr_t attr)
{
	uint64_t limit = space->pt.ops->limits->hpa_limit;
	int err;

	if (len == 0 || ((at.gpa | start.hpa | len) & (PAGE_SIZE - 1)) != 0)
		return -EINVAL;
	if (start.hpa >= limit || len > limit - start.hpa)
		return -ERANGE;
	if (any_ram(start, len))
		return -EBUSY;
	spin_lock(&space->device_lock);
	err = device_add(space, at, start, len, attr);
	spin_unlock(&space->device_lock);
	return err;
}

static int device_remove(struct vm_space *space, gpa_t at)
{
	struct vm_device *d = device_of(space, at);
	struct vm_cursor c;
	uint64_t pages;
	int err;

	if (d == NULL || d->gpa.gpa != at.gpa)
		return -ENOENT;
	err = vm_cursor_open(&c, space, at, gpa_add(at, d->len), VM_CHANGE);
	if (err != 0)
		return err;
	err = vm_unmap(&c, d->len, &pages);
	vm_cursor_close(&c);
	if (err == 0)
		*d = space->device[--space->devices];
	return err;
}

int vm_device_unmap(struct vm_space *space, gpa_t at)
{
	int err;

	spin_lock(&space->device_lock);
	err = device_remove(space, at);
	spin_unlock(&space->device_lock);
	return err;
}

bool vm_device_at(struct vm_space *space, gpa_t at, struct vm_device *out)
{
	const struct vm_device *d;

	spin_lock(&space->device_lock);
	d = device_of(space, at);
	if (d != NULL)
		*out = *d;
	spin_unlock(&space->device_lock);
	return d != NULL;
}

bool vm_device_find(struct vm_space *space, hpa_t at, struct vm_device *out)
{
	bool found = false;

	spin_lock(&space->device_lock);
	for (unsigned i = 0; i < space->devices && !found; i++) {
		found = at.hpa - space->device[i].hpa.hpa < space->device[i].len;
		if (found)
			*out = space->device[i];
	}
	spin_unlock(&space->device_lock);
	return found;
}

bool vm_device_nth(struct vm_space *space, unsigned n, struct vm_device *out)
{
	bool found;

	spin_lock(&space->device_lock);
	found = n < space->devices;
	if (found)
		*out = space->device[n];
	spin_unlock(&space->device_lock);
	return found;
}
