/* SPDX-License-Identifier: MPL-2.0 */
#include "mm/memmap.h"

#include "base/contract.h"
#include "base/err.h"

int memmap_add(struct memmap *map, uint64_t start, uint64_t end, enum mem_kind kind)
{
	if (start >= end)
		return 0;
	if (map->count == MEMMAP_MAX)
		return -E2BIG;
	map->region[map->count++] = (struct mem_region){ start, end, kind };
	return 0;
}

bool mem_kind_is_ram(enum mem_kind kind)
{
	return kind == MEM_RAM || kind == MEM_RECLAIMABLE || kind == MEM_TAKEN || kind == MEM_NVS;
}

/* RAM shrinks to whole pages, everything else grows; nothing reaches beyond `limit`. */
static void region_align(struct mem_region *r, uint64_t limit)
{
	if (r->end > limit)
		r->end = limit;
	if (r->start > limit)
		r->start = limit;
	if (r->kind == MEM_RAM) {
		r->start = round_up(r->start, PAGE_SIZE);
		r->end = round_down(r->end, PAGE_SIZE);
	} else {
		r->start = round_down(r->start, PAGE_SIZE);
		r->end = round_up(r->end, PAGE_SIZE);
	}
}

/* The kind that wins in [at, next boundary), which is stored in *next. */
static enum mem_kind kind_at(const struct memmap *map, uint64_t at, uint64_t *next)
{
	enum mem_kind kind = MEM_NONE;

	*next = UINT64_MAX;
	for (unsigned i = 0; i < map->count; i++) {
		const struct mem_region *r = &map->region[i];

		if (r->start >= r->end)
			continue;
		if (r->start > at && r->start < *next)
			*next = r->start;
		if (r->end > at && r->end < *next)
			*next = r->end;
		if (r->start <= at && at < r->end && r->kind > kind)
			kind = r->kind;
	}
	return kind;
}

static int append(struct memmap *map, uint64_t start, uint64_t end, enum mem_kind kind)
{
	struct mem_region *last = map->count != 0 ? &map->region[map->count - 1] : NULL;

	if (kind == MEM_NONE)
		return 0;
	if (last != NULL && last->end == start && last->kind == kind) {
		last->end = end;
		return 0;
	}
	return memmap_add(map, start, end, kind);
}

int memmap_normalize(struct memmap *map, uint64_t limit)
{
	struct memmap in = *map;
	uint64_t at = 0, next;
	int err = 0;

	for (unsigned i = 0; i < in.count; i++)
		region_align(&in.region[i], limit);
	map->count = 0;
	do {
		enum mem_kind kind = kind_at(&in, at, &next);

		if (next != UINT64_MAX)
			err = append(map, at, next, kind);
		at = next;
	} while (at != UINT64_MAX && err == 0);
	return err;
}

uint64_t memmap_ram_end(const struct memmap *map)
{
	uint64_t end = 0;

	for (unsigned i = 0; i < map->count; i++)
		if (mem_kind_is_ram(map->region[i].kind))
			end = map->region[i].end;
	return end;
}

uint64_t memmap_bytes(const struct memmap *map, enum mem_kind kind)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < map->count; i++)
		if (map->region[i].kind == kind)
			sum += map->region[i].end - map->region[i].start;
	return sum;
}

int memmap_take(struct memmap *map, uint64_t from, uint64_t to, uint64_t bytes, uint64_t align,
		uint64_t *start)
{
	REQUIRES(bytes != 0 && bytes % PAGE_SIZE == 0 && align % PAGE_SIZE == 0);
	for (unsigned i = 0; i < map->count; i++) {
		const struct mem_region *r = &map->region[i];
		uint64_t first = r->start > from ? r->start : from;
		uint64_t at = round_up(first, align);
		uint64_t end = r->end < to ? r->end : to;
		int err;

		if (r->kind != MEM_RAM || at < first || at > end || end - at < bytes)
			continue;
		/* The region falls into up to three pieces. */
		if (map->count > MEMMAP_MAX - 2)
			return -ENOMEM;
		err = memmap_add(map, at, at + bytes, MEM_TAKEN);
		if (err == 0)
			err = memmap_normalize(map, UINT64_MAX & ~(PAGE_SIZE - 1));
		ENSURES(err == 0);
		*start = at;
		return err;
	}
	return -ENOMEM;
}
