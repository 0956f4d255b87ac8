/* SPDX-License-Identifier: MPL-2.0 */
/* Part of mm/engine.h: the audit of a whole table, under a cursor over all of it. (ostd.md T1-T7)
 */
#ifndef MM_ENGINE_AUDIT_H
#define MM_ENGINE_AUDIT_H

#include "base/print.h"
#include "mm/engine_lock.h"

__attribute__((format(printf, 4, 5))) static void audit_fail(struct pt_audit *a, uint64_t va,
							     unsigned level, const char *fmt, ...)
{
	char text[160];
	size_t used = format(text, sizeof(text),
			     "%s table, level %u, address 0x%llx: ", fmt_limits.name, level,
			     (unsigned long long)va);
	va_list args;

	va_start(args, fmt);
	vformat(text + used, sizeof(text) - used, fmt, args);
	va_end(args);
	a->violations++;
	a->report(text);
}

/* T3: a leaf has an allowed size, is aligned to it, and if tracked owns a frame that is in use. */
static void audit_leaf(struct pt_audit *a, uint64_t va, uint64_t raw, unsigned level)
{
	hpa_t at = fmt_hpa(raw, level);
	struct frame *f;

	a->leaves[level]++;
	if (level > fmt_limits.max_leaf)
		audit_fail(a, va, level, "a leaf of this size is not allowed (entry 0x%llx)",
			   (unsigned long long)raw);
	if (!hpa_aligned(at, pt_level_size(level)))
		audit_fail(a, va, level, "leaf 0x%llx is not aligned to its size",
			   (unsigned long long)at.hpa);
	if (at.hpa >= fmt_limits.hpa_limit)
		audit_fail(a, va, level, "leaf 0x%llx is beyond the CPU's physical addresses",
			   (unsigned long long)at.hpa);
	if (!leaf_tracked(raw, level))
		return;
	f = frame_at(at);
	if (f == NULL || frame_refs(frame_head(f)) == 0)
		audit_fail(a, va, level, "tracked leaf 0x%llx has no frame in use",
			   (unsigned long long)at.hpa);
	else if (pt_level_size(level) > frame_size(frame_head(f)))
		audit_fail(a, va, level, "tracked leaf 0x%llx is larger than its block",
			   (unsigned long long)at.hpa);
}

/* T1, T5: is this the node that its parent's entry promises? */
static bool audit_node_itself(struct pt_audit *a, const struct frame *node, uint64_t va,
			      unsigned level)
{
	if (node->kind != FMT_NODE_KIND || frame_refs(node) != 1) {
		audit_fail(a, va, level, "node %llx is a frame of kind %s with %u references",
			   (unsigned long long)frame_hpa(node).hpa,
			   frame_kind_name((enum frame_kind)node->kind), frame_refs(node));
		return false;
	}
	if (node_level(node) != level) {
		audit_fail(a, va, level, "node says that its level is %u", node_level(node));
		return false;
	}
	if (node_stray(node))
		audit_fail(a, va, level, "a stray node is reachable");
	return true;
}

static void audit_node(struct pt_audit *a, const struct frame *node, uint64_t base, unsigned level)
{
	const pt_entry_t *entries = pt_entries(node);
	unsigned present = 0;

	a->nodes++;
	if (!audit_node_itself(a, node, base, level))
		return;
	for (unsigned i = 0; i < PT_ENTRIES; i++) {
		uint64_t raw = pt_entry_load(&entries[i]), va = base + i * pt_level_size(level);

		if (raw == 0)
			continue;
		present++;
		if (!entry_is_table(raw))
			audit_leaf(a, va, raw, level);
		else if (frame_at(fmt_hpa(raw, level)) == NULL)
			audit_fail(a, va, level, "entry 0x%llx points to a table outside RAM",
				   (unsigned long long)raw);
		else
			audit_node(a, node_at(raw, level), va, level - 1);
	}
	if (present != node->present)
		audit_fail(a, base, level, "%u entries are present, the node counts %u", present,
			   node->present); /* T2 */
}

static void engine_audit(struct pt_cursor *c, struct pt_audit *a)
{
	uint64_t before = a->nodes;

	REQUIRES(c->guard == FMT_LEVELS);
	audit_node(a, c->path[c->guard], node_base(c->start, FMT_LEVELS), FMT_LEVELS);
	if (a->nodes - before != atomic_load_explicit(&c->pt->nodes, memory_order_relaxed))
		audit_fail(a, c->start, FMT_LEVELS,
			   "%llu nodes are reachable, the table counts %llu",
			   (unsigned long long)(a->nodes - before),
			   (unsigned long long)atomic_load(&c->pt->nodes));
}

#endif
