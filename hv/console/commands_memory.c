/* SPDX-License-Identifier: MPL-2.0 */
/* ept, walk, find, frame: looking at memory. */
#include "base/err.h"
#include "base/parse.h"
#include "hv/console/coalesce.h"
#include "hv/console/console.h"
#include "hv/console/json.h"
#include "hv/console/sweep.h"
#include "mm/pt_ops.h"

typedef unsigned long long ull;

/* A mark that the hardware does not keep is null, not false. */
static void json_mark(struct json *j, const char *name, const struct guest *g, pt_attr_t attr,
		      pt_attr_t mark)
{
	if (g->space.pt.ops->limits->can & mark)
		json_bool(j, name, (attr & mark) != 0);
	else
		json_null(j, name);
}

static void extent_json(struct command_call *call, const struct guest *g, const struct extent *e)
{
	struct json j;

	json_begin(&j, call->out);
	json_text(&j, "guest", g->config.name);
	json_address(&j, "gpa", e->va);
	json_address(&j, "hpa", e->hpa);
	json_number(&j, "len", e->len);
	json_number(&j, "page", e->page);
	json_bool(&j, "r", (e->attr & PT_READ) != 0);
	json_bool(&j, "w", (e->attr & PT_WRITE) != 0);
	json_bool(&j, "x", (e->attr & PT_EXEC) != 0);
	json_null(&j, "user_x"); /* no separate right is used */
	json_text(&j, "mem", pt_mem_text(e->attr));
	json_mark(&j, "accessed", g, e->attr, PT_ACCESSED);
	json_mark(&j, "dirty", g, e->attr, PT_DIRTY);
	json_bool(&j, "tracked", (e->attr & PT_TRACKED) != 0);
	json_end(&j);
}

static void extent_print(struct command_call *call, const struct guest *g, const struct extent *e)
{
	char rights[4];

	if (e->len == 0)
		return;
	if (call->json) {
		extent_json(call, g, e);
		return;
	}
	print_to(call->out, "%012llx-%012llx -> %012llx  %4llu %s x %-6llu %s %s %c%c%s\n",
		 (ull)e->va, (ull)(e->va + e->len), (ull)e->hpa,
		 (ull)(e->page >= SIZE_1G   ? e->page >> 30
		       : e->page >= SIZE_2M ? e->page >> 20
					    : 4),
		 e->page >= SIZE_1G   ? "GiB"
		 : e->page >= SIZE_2M ? "MiB"
				      : "KiB",
		 (ull)(e->len / e->page), pt_rights_text(e->attr, rights), pt_mem_text(e->attr),
		 e->attr & PT_ACCESSED ? 'A' : '-', e->attr & PT_DIRTY ? 'D' : '-',
		 e->attr & PT_TRACKED ? "" : " untracked");
}

struct listing {
	struct command_call *call;
	struct guest *g;
	struct extent extent;
	uint64_t pages[4]; /* by level */
};

static void list_leaf(void *context, const struct pt_leaf *leaf)
{
	struct listing *l = context;

	l->pages[leaf->size == SIZE_1G ? 3 : leaf->size == SIZE_2M ? 2 : 1]++;
	if (extent_add(&l->extent, leaf))
		return;
	extent_print(l->call, l->g, &l->extent);
	l->extent.len = 0;
	extent_add(&l->extent, leaf);
}

/* The optional range argument; the guest's whole memory without one. */
static int take_range(struct command_call *call, struct guest *g, int arg, uint64_t *start,
		      uint64_t *end)
{
	uint64_t top = g->space.pt.ops->limits->va_last + 1;

	*start = 0;
	*end = top;
	if (call->argc <= arg)
		return 0;
	return command_range(call, arg, top, start, end);
}

static int run_ept(struct command_call *call)
{
	struct listing l = { .call = call, .g = command_guest(call, call->argv[1]) };
	uint64_t start, end;
	int err;

	if (l.g == NULL)
		return -ENOENT;
	err = take_range(call, l.g, 2, &start, &end);
	if (err != 0)
		return err;
	err = sweep(&l.g->space, start, end, list_leaf, &l);
	if (err != 0)
		return command_error(call, err, "ept: %s", err_name(err));
	extent_print(call, l.g, &l.extent);
	if (!call->json)
		print_to(call->out, "%s %s: %llu x 4 KiB, %llu x 2 MiB, %llu x 1 GiB: %llu KiB\n",
			 l.g->space.pt.ops->limits->name, l.g->config.name, (ull)l.pages[1],
			 (ull)l.pages[2], (ull)l.pages[3],
			 (ull)(l.pages[1] * 4 + l.pages[2] * 2048 + l.pages[3] * 1048576));
	return 0;
}

static void step_print(struct command_call *call, struct guest *g, const struct pt_step *s)
{
	static const char *const kinds[] = { "absent", "table", "leaf" };
	struct pt_leaf leaf = vm_decode(&g->space, s->raw, s->level);
	char rights[4];
	struct json j;

	if (!call->json) {
		print_to(call->out, "  level %u  table %012llx [%3u] = %016llx  %s", s->level,
			 (ull)s->table.hpa, s->index, (ull)s->raw, kinds[s->is]);
		if (s->is != PT_STEP_ABSENT)
			print_to(call->out, " -> %012llx", (ull)leaf.hpa.hpa);
		if (s->is == PT_STEP_LEAF)
			print_to(call->out, " %s %s", pt_rights_text(leaf.attr, rights),
				 pt_mem_text(leaf.attr));
		print_to(call->out, "\n");
		return;
	}
	json_begin(&j, call->out);
	json_number(&j, "level", s->level);
	json_address(&j, "table", s->table.hpa);
	json_number(&j, "index", s->index);
	json_address(&j, "raw", s->raw);
	json_text(&j, "kind", kinds[s->is]);
	if (s->is == PT_STEP_ABSENT)
		json_null(&j, "hpa");
	else
		json_address(&j, "hpa", leaf.hpa.hpa);
	json_end(&j);
}

static void walk_result(struct command_call *call, struct guest *g, uint64_t at,
			const struct pt_leaf *leaf)
{
	char rights[4];
	struct json j;

	if (call->json) {
		json_begin(&j, call->out);
		json_address(&j, "gpa", at);
		if (leaf == NULL) {
			json_null(&j, "hpa");
		} else {
			json_address(&j, "hpa", leaf->hpa.hpa + (at - leaf->va));
			json_number(&j, "page", leaf->size);
			json_bool(&j, "r", (leaf->attr & PT_READ) != 0);
			json_bool(&j, "w", (leaf->attr & PT_WRITE) != 0);
			json_bool(&j, "x", (leaf->attr & PT_EXEC) != 0);
			json_mark(&j, "accessed", g, leaf->attr, PT_ACCESSED);
			json_mark(&j, "dirty", g, leaf->attr, PT_DIRTY);
		}
		json_end(&j);
	} else if (leaf == NULL) {
		print_to(call->out, "  %llx is not mapped\n", (ull)at);
	} else {
		print_to(call->out, "  %llx -> %llx, page of %llu KiB, %s\n", (ull)at,
			 (ull)(leaf->hpa.hpa + (at - leaf->va)), (ull)leaf->size >> 10,
			 pt_rights_text(leaf->attr, rights));
	}
}

static int take_address(struct command_call *call, int arg, uint64_t *at)
{
	if (parse_size(call->argv[arg], at) == 0)
		return 0;
	return command_error(call, -EINVAL, "%s: '%s': expected an address", call->argv[0],
			     call->argv[arg]);
}

static int run_walk(struct command_call *call)
{
	struct guest *g = command_guest(call, call->argv[1]);
	struct pt_step steps[PT_MAX_LEVELS];
	const struct pt_step *last;
	struct pt_leaf leaf;
	unsigned n;
	uint64_t at;

	if (g == NULL)
		return -ENOENT;
	if (take_address(call, 2, &at) != 0)
		return -EINVAL;
	epoch_enter();
	n = vm_walk(&g->space, gpa(at), steps);
	epoch_exit();
	if (n == 0)
		return command_error(call, -ERANGE,
				     "walk: 0x%llx: guest-physical addresses end at 0x%llx",
				     (ull)at, (ull)g->space.pt.ops->limits->va_last + 1);
	for (unsigned i = 0; i < n; i++)
		step_print(call, g, &steps[i]);
	/* The result is that of the walk that was shown, not of a second one. */
	last = &steps[n - 1];
	leaf = vm_decode(&g->space, last->raw, last->level);
	leaf.va = round_down(at, leaf.size);
	walk_result(call, g, at, last->is == PT_STEP_LEAF ? &leaf : NULL);
	return 0;
}

struct search {
	struct command_call *call;
	struct guest *g;
	uint64_t hpa;
	unsigned found;
};

static void search_leaf(void *context, const struct pt_leaf *leaf)
{
	struct search *s = context;
	uint64_t offset = s->hpa - leaf->hpa.hpa;
	struct json j;

	if (s->hpa < leaf->hpa.hpa || offset >= leaf->size)
		return;
	s->found++;
	if (!s->call->json) {
		print_to(s->call->out, "%llx is %s's %llx, in a page of %llu KiB\n", (ull)s->hpa,
			 s->g->config.name, (ull)(leaf->va + offset), (ull)leaf->size >> 10);
		return;
	}
	json_begin(&j, s->call->out);
	json_text(&j, "guest", s->g->config.name);
	json_address(&j, "hpa", s->hpa);
	json_address(&j, "gpa", leaf->va + offset);
	json_number(&j, "page", leaf->size);
	json_end(&j);
}

static int run_find(struct command_call *call)
{
	struct search s = { .call = call, .g = command_guest(call, call->argv[1]) };
	int err;

	if (s.g == NULL)
		return -ENOENT;
	if (take_address(call, 2, &s.hpa) != 0)
		return -EINVAL;
	err = sweep(&s.g->space, 0, s.g->space.pt.ops->limits->va_last + 1, search_leaf, &s);
	if (err != 0)
		return command_error(call, err, "find: %s", err_name(err));
	if (s.found == 0 && !call->json)
		print_to(call->out, "%llx is not mapped in %s\n", (ull)s.hpa, s.g->config.name);
	return 0;
}

static int run_frame(struct command_call *call)
{
	struct frame *f, *head;
	struct json j;
	uint64_t at;

	if (take_address(call, 1, &at) != 0)
		return -EINVAL;
	f = frame_at(hpa(at));
	if (f == NULL)
		return command_error(call, -ERANGE, "frame: 0x%llx is not in the host's RAM",
				     (ull)at);
	head = frame_head(f);
	if (!call->json) {
		print_to(call->out,
			 "frame %llx: %s, %u references, in a block of %llu KiB at %llx\n", (ull)at,
			 frame_kind_name((enum frame_kind)head->kind), frame_refs(head),
			 (ull)frame_size(head) >> 10, (ull)frame_hpa(head).hpa);
		return 0;
	}
	json_begin(&j, call->out);
	json_address(&j, "hpa", frame_hpa(f).hpa);
	json_text(&j, "kind", frame_kind_name((enum frame_kind)head->kind));
	json_number(&j, "references", frame_refs(head));
	json_address(&j, "block", frame_hpa(head).hpa);
	json_number(&j, "size", frame_size(head));
	json_end(&j);
	return 0;
}

const struct command memory_commands[] = {
	{ "ept", "GUEST [GPA[-GPA|+LEN]]", "a guest's mappings: guest range, host range, rights",
	  "  Neighbours that go on in the guest and in the host, with the same page size, rights, "
	  "memory\n"
	  "  type and marks (A accessed, D dirty), are one line. Works for EPT and NPT. A range is "
	  "given\n"
	  "  as 0x1000, 0x1000-0x5000 or 0x1000+16K.",
	  1, 2, run_ept },
	{ "walk", "GUEST GPA", "the walk through a guest's tables, level by level", NULL, 2, 2,
	  run_walk },
	{ "find", "GUEST HPA", "where a host address is mapped in a guest", NULL, 2, 2, run_find },
	{ "frame", "HPA", "the metadata of a host frame", NULL, 1, 1, run_frame },
	{ 0 },
};
