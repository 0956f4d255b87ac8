/* SPDX-License-Identifier: MPL-2.0 */
/* read, write, map, unmap, protect, dirty, accessed: a guest's bytes, and changing its mappings. */
#include "base/err.h"
#include "base/parse.h"
#include "hv/console/args.h"
#include "hv/console/coalesce.h"
#include "hv/console/console.h"
#include "hv/console/json.h"
#include "hv/console/sweep.h"
#include "mm/frame_alloc.h"
#include "mm/pt_ops.h"
#include "vmio/vmio.h"

#define READ_MAX  4096
#define WRITE_MAX 128
#define ROW	  16

typedef unsigned long long ull;

/* What keeps the byte at `at` from being shown; NULL: nothing. */
static const char *why_unreadable(struct guest *g, uint64_t at)
{
	struct pt_leaf leaf;
	bool mapped;

	epoch_enter();
	mapped = vm_translate(&g->space, gpa(at), &leaf);
	epoch_exit();
	if (!mapped)
		return "is not mapped";
	if ((leaf.attr & PT_TRACKED) == 0)
		return "is not memory but a device";
	return leaf.attr & PT_READ ? NULL : "may not be read";
}

static void print_row(struct command_call *call, const struct guest *g, uint64_t at,
		      const uint8_t *bytes, unsigned n)
{
	char hex[2 * ROW + 1];
	struct json j;

	for (unsigned i = 0; i < n; i++)
		format(hex + 2 * i, 3, "%02x", bytes[i]);
	if (call->json) {
		json_begin(&j, call->out);
		json_text(&j, "guest", g->config.name);
		json_address(&j, "gpa", at);
		json_text(&j, "bytes", hex);
		json_end(&j);
		return;
	}
	print_to(call->out, "%012llx ", (ull)at);
	for (unsigned i = 0; i < n; i++)
		print_to(call->out, " %02x", bytes[i]);
	for (unsigned i = n; i < ROW; i++)
		print_to(call->out, "   ");
	print_to(call->out, "  ");
	for (unsigned i = 0; i < n; i++)
		print_to(call->out, "%c", bytes[i] >= ' ' && bytes[i] < 0x7f ? bytes[i] : '.');
	print_to(call->out, "\n");
}

/* What to say of a copy that did not go well. */
static int copy_failed(struct command_call *call, uint64_t at, const char *what, int err)
{
	if (err == -EBUSY)
		return command_error(call, err, "%s: %s", call->argv[0], owner_conflict());
	return command_error(call, err, "%s: 0x%llx cannot be %s (%s)", call->argv[0], (ull)at,
			     what, err_name(err));
}

/* One row of a dump, at most to the end of a page. Looking must not bring memory in: what is not
 * mapped is said to be so. */
static int read_row(struct command_call *call, struct guest *g, uint64_t at, unsigned n)
{
	static const struct vm_use use = { .who = "console read", .flags = VM_PRESENT };
	const char *why = why_unreadable(g, at);
	uint8_t bytes[ROW];
	int err;

	if (why != NULL)
		return command_error(call, -EFAULT, "read: 0x%llx %s", (ull)at, why);
	err = vm_read_guest(&g->space, gpa(at), bytes, n, &use);
	if (err != 0)
		return copy_failed(call, at, "read", err);
	print_row(call, g, at, bytes, n);
	return 0;
}

static int run_read(struct command_call *call)
{
	struct guest *g = command_guest(call, call->argv[1]);
	uint64_t at, len, done = 0;

	if (g == NULL)
		return -ENOENT;
	if (parse_size(call->argv[2], &at) != 0)
		return command_error(call, -EINVAL, "read: '%s': expected an address",
				     call->argv[2]);
	if (parse_size(call->argv[3], &len) != 0 || len == 0 || len > READ_MAX)
		return command_error(call, -EINVAL, "read: '%s': expected a length from 1 to %u",
				     call->argv[3], READ_MAX);
	while (done < len) {
		uint64_t to_end = PAGE_SIZE - (at + done) % PAGE_SIZE;
		uint64_t n = len - done < ROW ? len - done : ROW;
		int err;

		n = n < to_end ? n : to_end;
		err = read_row(call, g, at + done, (unsigned)n);

		if (err != 0)
			return err;
		done += n;
	}
	return 0;
}

/* Writes n bytes; *done of them are written also where it fails. */
static int write_bytes(struct guest *g, uint64_t at, const uint8_t *bytes, uint64_t n,
		       uint64_t *done)
{
	static const struct vm_use use = { .who = "console write" };
	struct vm_reader from = vm_reader_host(bytes, n);
	struct vm_writer to;
	int err = vm_writer_guest(&to, &g->space, gpa(at), n, &use);

	*done = 0;
	if (err == 0)
		err = vm_io_activate(&to.io);
	if (err != 0)
		return err;
	err = vm_copy(&from, &to, n, done);
	vm_io_dispose(&to.io);
	vm_io_remove(&to.io);
	return err;
}

static int run_write(struct command_call *call)
{
	struct guest *g = command_guest(call, call->argv[1]);
	uint8_t bytes[WRITE_MAX];
	uint64_t at, done;
	int n, err;

	if (g == NULL)
		return -ENOENT;
	if (parse_size(call->argv[2], &at) != 0)
		return command_error(call, -EINVAL, "write: '%s': expected an address",
				     call->argv[2]);
	n = args_bytes(call->argv[3], bytes, WRITE_MAX);
	if (n < 0)
		return command_error(
			call, n,
			"write: '%s': expected 1 to %d bytes as pairs of hexadecimal digits",
			call->argv[3], WRITE_MAX);
	err = write_bytes(g, at, bytes, (uint64_t)n, &done);
	if (err != 0 && done != 0)
		return command_error(call, err,
				     "write: %llu bytes are written, 0x%llx cannot be (%s)",
				     (ull)done, (ull)(at + done), err_name(err));
	return err != 0 ? copy_failed(call, at, "written", err) : 0;
}

/* How much a command has changed. */
static void pages_changed(struct command_call *call, const struct guest *g, uint64_t pages,
			  const char *how)
{
	struct json j;

	if (!call->json) {
		print_to(call->out, "%llu %s\n", (ull)pages, how);
		return;
	}
	json_begin(&j, call->out);
	json_text(&j, "guest", g->config.name);
	json_number(&j, "pages", pages);
	json_end(&j);
}

/* After a change: the hypervisor's own copies know it, too. One that had begun before goes on with
 * the pages that were there. */
static void change_done(struct vm_cursor *c)
{
	vm_cursor_close(c);
	epoch_wait();
}

/* GUEST and a range inside its memory. */
static int take_guest_range(struct command_call *call, struct guest **g, uint64_t *start,
			    uint64_t *end)
{
	*g = command_guest(call, call->argv[1]);
	if (*g == NULL)
		return -ENOENT;
	return command_range(call, 2, (*g)->config.mem, start, end);
}

static int run_unmap(struct command_call *call)
{
	uint64_t start, end, pages;
	struct vm_cursor c;
	struct guest *g;
	int err = take_guest_range(call, &g, &start, &end);

	if (err != 0)
		return err;
	err = vm_cursor_open(&c, &g->space, gpa(start), gpa(end), VM_CHANGE);
	if (err == 0) {
		err = vm_unmap(&c, end - start, &pages);
		change_done(&c);
	}
	if (err != 0)
		return command_error(call, err, "unmap: %s", err_name(err));
	pages_changed(call, g, pages, "pages unmapped");
	return 0;
}

/* Applies rights to every mapping of the range. */
static int protect_range(struct guest *g, uint64_t start, uint64_t end, pt_attr_t rights,
			 uint64_t *pages)
{
	struct vm_cursor c;
	int err = vm_cursor_open(&c, &g->space, gpa(start), gpa(end), VM_CHANGE);

	*pages = 0;
	if (err != 0)
		return err;
	err = vm_protect(&c, end - start, rights | PT_MEM_WB, pages);
	change_done(&c);
	return err;
}

static int run_protect(struct command_call *call)
{
	uint64_t start, end, pages;
	struct guest *g;
	pt_attr_t rights;
	int err = take_guest_range(call, &g, &start, &end);

	if (err != 0)
		return err;
	if (args_rights(call->argv[3], &rights) != 0)
		return command_error(call, -EINVAL,
				     "protect: '%s': expected rights such as rwx, r-x, r or -",
				     call->argv[3]);
	err = protect_range(g, start, end, rights, &pages);
	if (err == -EINVAL)
		return command_error(call, err, "protect: '%s': %s cannot express these rights",
				     call->argv[3], g->space.pt.ops->limits->name);
	if (err != 0)
		return command_error(call, err, "protect: %s", err_name(err));
	pages_changed(call, g, pages, "pages changed");
	return 0;
}

/* Fresh zeroed pages instead of what is there, one table's worth at a time: what is replaced comes
 * back only when a cursor is closed. *done pages are mapped, also on an error. */
static int map_fresh(struct guest *g, uint64_t start, uint64_t end, pt_attr_t rights,
		     uint64_t *done)
{
	int err = 0;

	for (*done = 0; err == 0 && start < end;) {
		uint64_t stop = round_down(start, SIZE_2M) + SIZE_2M;
		struct vm_cursor c;

		stop = stop < end ? stop : end;
		err = vm_cursor_open(&c, &g->space, gpa(start), gpa(stop), VM_CHANGE);
		if (err != 0)
			break;
		while (err == 0 && vm_cursor_at(&c).gpa != stop) {
			struct frame *f = frame_alloc(FRAME_ORDER_4K, FRAME_GUEST, ALLOC_ZERO);

			err = f == NULL ? -ENOMEM : vm_map(&c, f, rights | PT_MEM_WB);
			if (err != 0 && f != NULL)
				frame_put(f);
		}
		*done += (vm_cursor_at(&c).gpa - start) / PAGE_SIZE;
		start = stop;
		change_done(&c);
		epoch_poll();
	}
	return err;
}

static int run_map(struct command_call *call)
{
	uint64_t start, end, done;
	struct guest *g;
	pt_attr_t rights = PT_RWX;
	int err = take_guest_range(call, &g, &start, &end);

	if (err != 0)
		return err;
	if (call->argc == 4 && args_rights(call->argv[3], &rights) != 0)
		return command_error(call, -EINVAL,
				     "map: '%s': expected rights such as rwx, r-x, r or -",
				     call->argv[3]);
	err = map_fresh(g, start, end, rights, &done);
	if (err == -EINVAL)
		return command_error(call, err, "map: '%s': %s cannot express these rights",
				     call->argv[3], g->space.pt.ops->limits->name);
	if (err != 0)
		return command_error(call, err, "map: %s after %llu pages", err_name(err),
				     (ull)done);
	pages_changed(call, g, done, "fresh pages mapped");
	return 0;
}

/* Joins what can be joined in the tables of `size` that lie in the range. Returns how many. */
static uint64_t collapse_all(struct guest *g, uint64_t start, uint64_t end, uint64_t size)
{
	uint64_t joined = 0;

	for (uint64_t at = round_up(start, size); at < end && end - at >= size; at += size) {
		struct vm_cursor c;

		/* A cursor that cannot be opened for want of memory has nothing to join there. */
		if (vm_cursor_open(&c, &g->space, gpa(at), gpa(at + size), VM_CHANGE) != 0)
			continue;
		joined += vm_collapse(&c, size) == 0;
		vm_cursor_close(&c);
	}
	return joined;
}

static int run_collapse(struct command_call *call)
{
	uint64_t start, end, small, large = 0;
	struct guest *g;
	struct json j;
	int err = take_guest_range(call, &g, &start, &end);

	if (err != 0)
		return err;
	small = collapse_all(g, start, end, SIZE_2M);
	if (g->space.pt.ops->limits->max_leaf == 3)
		large = collapse_all(g, start, end, SIZE_1G);
	if (!call->json) {
		print_to(call->out, "%llu pages of 2 MiB joined, %llu of 1 GiB\n", (ull)small,
			 (ull)large);
		return 0;
	}
	json_begin(&j, call->out);
	json_text(&j, "guest", g->config.name);
	json_number(&j, "2M", small);
	json_number(&j, "1G", large);
	json_end(&j);
	return 0;
}

struct marked {
	struct command_call *call;
	struct guest *g;
	struct extent extent;
	uint64_t pages;
};

static void marked_print(struct marked *m)
{
	const struct extent *e = &m->extent;
	struct json j;

	if (e->len == 0)
		return;
	if (!m->call->json) {
		print_to(m->call->out, "%012llx-%012llx  %llu KiB\n", (ull)e->va,
			 (ull)(e->va + e->len), (ull)e->len >> 10);
		return;
	}
	json_begin(&j, m->call->out);
	json_text(&j, "guest", m->g->config.name);
	json_address(&j, "gpa", e->va);
	json_number(&j, "len", e->len);
	json_end(&j);
}

static void marked_leaf(void *context, const struct pt_leaf *leaf)
{
	struct marked *m = context;

	m->pages += leaf->size / PAGE_SIZE;
	if (extent_add_any(&m->extent, leaf))
		return;
	marked_print(m);
	m->extent.len = 0;
	extent_add_any(&m->extent, leaf);
}

/* Lists what carries a mark, and takes the mark off, so that the next call shows what is new. */
static int list_marked(struct command_call *call, pt_attr_t mark)
{
	struct marked m = { .call = call, .g = command_guest(call, call->argv[1]) };
	const struct pt_limits *limits;
	int err;

	if (m.g == NULL)
		return -ENOENT;
	limits = m.g->space.pt.ops->limits;
	if ((limits->can & mark) == 0)
		return command_error(call, -ENODEV, "%s: this CPU's %s keeps no such mark",
				     call->argv[0], limits->name);
	err = sweep_marks(&m.g->space, 0, limits->va_last + 1, mark, marked_leaf, &m);
	marked_print(&m);
	if (err != 0)
		return command_error(call, err, "%s: %s", call->argv[0], err_name(err));
	if (!call->json)
		print_to(call->out, "%llu pages %s\n", (ull)m.pages, call->argv[0]);
	return 0;
}

static int run_dirty(struct command_call *call)
{
	return list_marked(call, PT_DIRTY);
}

static int run_accessed(struct command_call *call)
{
	return list_marked(call, PT_ACCESSED);
}

const struct command change_commands[] = {
	{ "read", "GUEST GPA LEN", "hex dump of a guest's memory",
	  "  At most 4096 bytes. Memory that the guest has not touched is not brought in.", 3, 3,
	  run_read },
	{ "write", "GUEST GPA BYTES", "writes bytes, given as hexadecimal digits",
	  "  Brings memory in where the guest has not touched it yet, and honours its rights.", 3,
	  3, run_write },
	{ "map", "GUEST GPA[-GPA|+LEN] [RIGHTS]", "fresh zeroed pages instead of what is there",
	  "  Takes effect on all CPUs before the prompt returns.", 2, 3, run_map },
	{ "unmap", "GUEST GPA[-GPA|+LEN]", "takes memory away; a touch brings a fresh page",
	  "  Takes effect on all CPUs before the prompt returns.", 2, 2, run_unmap },
	{ "protect", "GUEST GPA[-GPA|+LEN] RIGHTS", "changes the rights of what is mapped",
	  "  Rights are letters of rwx; - is none. Takes effect on all CPUs before the prompt "
	  "returns.\n"
	  "  A guest that then does what it may not is stopped with a report.",
	  3, 3, run_protect },
	{ "collapse", "GUEST GPA[-GPA|+LEN]", "joins small pages to large ones where it can",
	  "  512 pages that lie side by side in the guest and in the host, with the same rights, "
	  "and\n"
	  "  that nothing else refers to, become one.",
	  2, 2, run_collapse },
	{ "dirty", "GUEST", "pages written since the last call", NULL, 1, 1, run_dirty },
	{ "accessed", "GUEST", "pages touched since the last call", NULL, 1, 1, run_accessed },
	{ 0 },
};
