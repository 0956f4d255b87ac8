/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The page-table engine: one source, compiled once for each format. Included by exactly one .c file
 * per format (mm/host_pt.c, ept/ept.c, ept/npt.c), after that file has defined what an entry looks
 * like; ends in ENGINE_OPS, the initializer of the format's struct pt_ops.
 *
 *   level 4        3              2             1
 *   root ──┬─▶ node ──┬─▶ node ──┬─▶ node ──┬─▶ 4 KiB page
 *          │          │          └ 2 MiB    └ absent
 *          └ absent   └ 1 GiB page
 *
 * What a format defines (static inline, so that the compiler sees through it):
 *
 *   fmt_limits                   struct pt_limits
 *   FMT_LEVELS, FMT_NODE_KIND    constants
 *   FMT_VA_FIRST, FMT_VA_LAST    constants: the addresses that the table may translate
 *   FMT_TABLE                    a bit that is set in entries that point to a table, only there
 *   fmt_leaf_bits(attr, level)   a leaf without its address; never 0
 *   fmt_attr(raw, level)         the attributes of a leaf
 *   fmt_has(raw, needs, level)   has a leaf all of these rights to its bytes, marks and PT_TRACKED?
 *                                Cheaper than fmt_attr, and false for an absent entry
 *   fmt_table(hpa, level)        an entry of a node of `level` that points to a table
 *   fmt_hpa(raw, level)          the address in an entry
 *   fmt_address_bits(hpa, level) the address as a leaf's bits; fmt_leaf_bits has the rest
 *   fmt_rights_mask(level)       the bits that protect may change
 *   fmt_marks(attr, level)       accessed/dirty bits, for clearing
 *   fmt_attr_ok(attr)            can an entry express it?
 *   FMT_HW_MARKS(level)          bits that the CPU may set by itself at any time, 0 for none
 *   FMT_ROOT_FIXED               constant: an entry of the root that is there stays for ever, as
 *                                other roots may have a copy of it
 *
 * An absent entry is 0 in every format, and nothing else is.
 *
 * The parts, in the order in which they build on each other:
 *   mm/engine_node.h    nodes: allocate, free, split
 *   mm/engine_walk.h    lock-free walks
 *   mm/engine_lock.h    the range lock: opening and closing a cursor
 *   mm/engine_move.h    moving, query, find_next
 *   mm/engine_change.h  map one page; what is taken out
 *   mm/engine_map.h     map many
 *   mm/engine_unmap.h   unmap, take_next
 *   mm/engine_protect.h protect, clear marks
 *   mm/engine_collapse.h  512 neighbours into one
 *   mm/engine_audit.h   T1-T7
 */
#ifndef MM_ENGINE_H
#define MM_ENGINE_H

#include "mm/engine_node.h"

#include "mm/engine_walk.h"

#include "mm/engine_lock.h"

#include "mm/engine_move.h"

#include "mm/engine_change.h"

#include "mm/engine_map.h"

#include "mm/engine_unmap.h"

#include "mm/engine_protect.h"

#include "mm/engine_collapse.h"

#include "mm/engine_audit.h"

#define ENGINE_OPS                                                                                 \
	.limits = &fmt_limits, .init = engine_init, .destroy = engine_destroy,                     \
	.open = engine_open, .close = engine_close, .query = engine_query,                         \
	.find_next = engine_find_next, .next = engine_next, .jump = engine_jump,                   \
	.reserve = engine_reserve, .map = engine_map, .map_new = engine_map_new,                   \
	.map_range = engine_map_range, .map_frames = engine_map_frames, .unmap = engine_unmap,     \
	.take_next = engine_take_next, .protect = engine_protect,                                  \
	.protect_next = engine_protect_next, .clear_marks_next = engine_clear_marks_next,          \
	.collapse = engine_collapse, .collapse_end = engine_collapse_end, .lookup = engine_lookup, \
	.place = engine_place, .mark = engine_mark, .walk = engine_walk, .decode = engine_decode,  \
	.free_table = engine_free_table, .audit = engine_audit

#endif
