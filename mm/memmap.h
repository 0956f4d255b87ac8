/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The machine's memory map, and its normal form: sorted, disjoint, page-aligned. Firmware maps have
 * holes, overlaps, unaligned ends and regions far above RAM; where two regions overlap the less
 * usable kind wins, RAM shrinks to whole pages and everything else grows to whole pages.
 */
#ifndef MM_MEMMAP_H
#define MM_MEMMAP_H

#include "base/addr.h"

/* In order of precedence: a later kind wins an overlap. */
enum mem_kind {
	MEM_NONE,	 /* nothing said: a hole */
	MEM_RAM,	 /* usable */
	MEM_RECLAIMABLE, /* ACPI tables, boot services: RAM, usable later */
	MEM_TAKEN,	 /* RAM that holds our image, a module, the boot information */
	MEM_NVS,	 /* ACPI NVS */
	MEM_RESERVED,	 /* anything else */
	MEM_BAD,	 /* broken RAM */
};

struct mem_region {
	uint64_t start, end; /* host-physical bytes, half-open */
	enum mem_kind kind;
};

#define MEMMAP_MAX 256

struct memmap {
	struct mem_region region[MEMMAP_MAX];
	unsigned count;
};

/* Appends a region as it is; start >= end is ignored. -E2BIG when the map is full. */
int memmap_add(struct memmap *map, uint64_t start, uint64_t end, enum mem_kind kind);

/*
 * Brings the map into normal form, neighbours of one kind joined. Addresses at or above `limit`
 * (2^MAXPHYADDR) are dropped. -E2BIG: more pieces than fit, *map unspecified.
 */
int memmap_normalize(struct memmap *map, uint64_t limit);

/* RAM kinds have frame metadata and are in the linear map: RAM, RECLAIMABLE, TAKEN, NVS. */
bool mem_kind_is_ram(enum mem_kind kind);

/* One past the highest byte of RAM kinds; 0 for none. The map is in normal form. */
uint64_t memmap_ram_end(const struct memmap *map);

/* Bytes of a kind. The map is in normal form. */
uint64_t memmap_bytes(const struct memmap *map, enum mem_kind kind);

/*
 * The lowest `bytes`-long page-aligned place in MEM_RAM at or above `from` and below `to`, marked
 * MEM_TAKEN by this call, which keeps the map in normal form. `bytes` is a positive multiple of the
 * page size, `align` a power of two of at least that. -ENOMEM: there is none, or the map is full;
 * nothing has changed.
 */
int memmap_take(struct memmap *map, uint64_t from, uint64_t to, uint64_t bytes, uint64_t align,
		uint64_t *start);

#endif
