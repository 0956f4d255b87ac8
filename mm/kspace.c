/* SPDX-License-Identifier: MPL-2.0 */
#include "mm/kspace.h"

#include "base/contract.h"
#include "base/err.h"
#include "base/log.h"
#include "base/string.h"
#include "mm/frame_alloc.h"
#include "mm/host_format.h"
#include "mm/host_pt.h"
#include "mm/kspace_tlb.h"
#include "mm/kvirt.h"

#define BOOT_REACH (UINT64_C(4) << 30) /* what the boot tables' linear map covers */

/* Writable data of the hypervisor: marks preset, so that the CPU never has to write them. */
#define KSPACE_RW (PT_RW | PT_MEM_WB | PT_GLOBAL | PT_ACCESSED | PT_DIRTY)
#define KSPACE_R  (PT_READ | PT_MEM_WB | PT_GLOBAL | PT_ACCESSED)
#define KSPACE_RX (PT_RX | PT_MEM_WB | PT_GLOBAL | PT_ACCESSED)

static struct pt kspace_pt;

hpa_t kspace_root(void)
{
	return frame_hpa(kspace_pt.root);
}

/* Adds a mapping where nothing is. -ENOMEM, -ERANGE. */
static int kspace_map(uint64_t va, hpa_t at, uint64_t len, pt_attr_t attr)
{
	struct flusher flusher;
	struct pt_cursor c;
	uint64_t done;
	int err;

	flusher_init(&flusher, &kspace_pt);
	err = host_pt_ops.open(&c, &kspace_pt, va, va + len, true);
	if (err != 0)
		return err;
	err = host_pt_ops.map_range(&c, at, len, attr, host_pt_ops.limits->max_leaf, &flusher,
				    &done);
	host_pt_ops.close(&c);
	/* An unmapped page cannot be in any TLB, so adding needs no flush; replacing would. */
	flusher_fini(&flusher);
	return err;
}

/* Sections of metadata that hold RAM get memory and an entry in the boot tables. */
static int section_populate(struct memmap *map, const struct kspace_image *image, uint64_t section)
{
	const uint64_t present_writable_large_nx = X86_P | X86_W | X86_PS | X86_A | X86_D | X86_NX;
	uint64_t at;

	if (memmap_take(map, SIZE_2M, BOOT_REACH, SIZE_2M, SIZE_2M, &at) != 0)
		return -ENOMEM;
	image->meta_entries[section] = at | present_writable_large_nx;
	memset(frame_slot(section * (KSPACE_SECTION / PAGE_SIZE)), 0, SIZE_2M);
	return 0;
}

static bool section_has_ram(const struct memmap *map, uint64_t section)
{
	uint64_t start = section * KSPACE_SECTION, end = start + KSPACE_SECTION;

	for (unsigned i = 0; i < map->count; i++) {
		const struct mem_region *r = &map->region[i];

		if (mem_kind_is_ram(r->kind) && r->start < end && start < r->end)
			return true;
	}
	return false;
}

static int metadata_populate(struct memmap *map, const struct kspace_image *image)
{
	uint64_t sections = (memmap_ram_end(map) + KSPACE_SECTION - 1) / KSPACE_SECTION;

	if (sections > image->meta_count)
		return -ERANGE;
	for (uint64_t s = 0; s < sections; s++) {
		int err = section_has_ram(map, s) ? section_populate(map, image, s) : 0;

		if (err != 0)
			return err;
	}
	return 0;
}

static enum frame_kind region_frame_kind(enum mem_kind kind)
{
	return kind == MEM_TAKEN ? FRAME_IMAGE : FRAME_RESERVED;
}

/* Every RAM region gets its slots; what is not free is booked as used. */
static void frames_register(const struct memmap *map)
{
	for (unsigned i = 0; i < map->count; i++) {
		const struct mem_region *r = &map->region[i];

		if (!mem_kind_is_ram(r->kind))
			continue;
		frame_init_region(hpa(r->start), r->end - r->start);
		if (r->kind != MEM_RAM)
			frame_account_add(region_frame_kind(r->kind), (int64_t)(r->end - r->start));
	}
}

/* Hands the part of the free RAM that lies in [from, to) to the allocator. */
static void frames_release(const struct memmap *map, uint64_t from, uint64_t to)
{
	for (unsigned i = 0; i < map->count; i++) {
		const struct mem_region *r = &map->region[i];
		uint64_t start = r->start > from ? r->start : from;
		uint64_t end = r->end < to ? r->end : to;

		/* Page 0 stays out: no pointer to it may ever look valid. */
		if (start == 0)
			start = PAGE_SIZE;
		if (r->kind == MEM_RAM && start < end)
			frame_alloc_add(hpa(start), end - start);
	}
}

void kspace_add_high(const struct memmap *map)
{
	frames_release(map, BOOT_REACH, UINT64_MAX);
}

/* Maps [start, end) of RAM into the linear map, but not [hole, hole_end). */
static int linear_map(uint64_t start, uint64_t end, uint64_t hole, uint64_t hole_end)
{
	uint64_t first_end = end < hole ? end : hole, second = start > hole_end ? start : hole_end;
	int err = 0;

	if (start < first_end)
		err = kspace_map(LINEAR_BASE + start, hpa(start), first_end - start, KSPACE_RW);
	if (err == 0 && second < end)
		err = kspace_map(LINEAR_BASE + second, hpa(second), end - second, KSPACE_RW);
	return err;
}

static int linear_map_all(const struct memmap *map, const struct kspace_image *image)
{
	uint64_t text = image->text_hpa.hpa;
	uint64_t constants_end = text + (image->rodata_end.hva - image->text.hva);

	for (unsigned i = 0; i < map->count; i++) {
		const struct mem_region *r = &map->region[i];
		int err = 0;

		if (mem_kind_is_ram(r->kind))
			err = linear_map(r->start, r->end, text, constants_end);
		if (err != 0)
			return err;
	}
	return 0;
}

static int image_map(const struct kspace_image *image)
{
	const struct {
		hva_t start, end;
		pt_attr_t attr;
	} part[] = {
		{ image->text, image->text_end, KSPACE_RX },
		{ image->text_end, image->rodata_end, KSPACE_R },
		{ image->rodata_end, image->data_end, KSPACE_RW },
	};

	for (unsigned i = 0; i < 3; i++) {
		hpa_t at = hpa_add(image->text_hpa, part[i].start.hva - image->text.hva);
		int err = kspace_map(part[i].start.hva, at, part[i].end.hva - part[i].start.hva,
				     part[i].attr);

		if (err != 0)
			return err;
	}
	return 0;
}

/* The same 2 MiB pages that the boot tables use for the metadata, in the table that stays. */
static int metadata_map(const struct kspace_image *image, uint64_t sections)
{
	for (uint64_t s = 0; s < sections; s++) {
		uint64_t entry = image->meta_entries[s];
		int err = 0;

		if (entry != 0) {
			err = kspace_map(META_BASE + s * SIZE_2M, hpa(entry & X86_ADDRESS), SIZE_2M,
					 KSPACE_RW);
			frame_account_add(FRAME_META, SIZE_2M);
			frame_account_add(FRAME_IMAGE, -(int64_t)SIZE_2M);
		}
		if (err != 0)
			return err;
	}
	return 0;
}

int kspace_init(struct memmap *map, const struct kspace_image *image)
{
	int err = metadata_populate(map, image);

	if (err != 0) {
		log_error("no room for the metadata of %llu MiB of memory",
			  (unsigned long long)(memmap_ram_end(map) >> 20));
		return err;
	}
	frames_register(map);
	frames_release(map, 0, BOOT_REACH);
	kspace_pt.ops = &host_pt_ops;
	err = host_pt_ops.init(&kspace_pt);
	if (err == 0)
		err = linear_map_all(map, image);
	if (err == 0)
		err = image_map(image);
	if (err == 0)
		err = metadata_map(image, image->meta_count);
	if (err == 0)
		err = kvirt_init(&kspace_pt, KAREA_BASE, KAREA_END);
	if (err == 0)
		kspace_tlb_init(&kspace_pt.tlb);
	else
		log_error("no memory for the hypervisor's own page tables");
	return err;
}

/* Zeroed frames for a stack; none when there are not enough. */
static int stack_alloc(struct frame **frames, unsigned pages)
{
	for (unsigned i = 0; i < pages; i++) {
		frames[i] = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL, ALLOC_ZERO);
		if (frames[i] != NULL)
			continue;
		while (i-- != 0)
			frame_put(frames[i]);
		return -ENOMEM;
	}
	return 0;
}

hva_t kspace_stack(unsigned pages)
{
	struct frame *frames[KSPACE_STACK_PAGES];
	struct kvirt_area *area;

	MUST(pages != 0 && pages <= KSPACE_STACK_PAGES, "a stack of %u pages", pages);
	if (stack_alloc(frames, pages) != 0)
		return hva(0);
	if (kvirt_map_frames(pages * PAGE_SIZE, 0, frames, pages, PT_RW | PT_MEM_WB, &area) == 0)
		return kvirt_end(area);
	for (unsigned i = 0; i < pages; i++)
		frame_put(frames[i]);
	return hva(0);
}

void kspace_stack_drop(hva_t top)
{
	struct kvirt_area *area = kvirt_find(hva(top.hva - 1));

	MUST(area != NULL && kvirt_end(area).hva == top.hva, "0x%llx is not the top of a stack",
	     (unsigned long long)top.hva);
	kvirt_drop(area);
}

hva_t kspace_device(hpa_t start, uint64_t len)
{
	uint64_t first = round_down(start.hpa, PAGE_SIZE), end = start.hpa + len, bytes;
	struct kvirt_area *area;

	if (len == 0 || end < start.hpa)
		return hva(0);
	bytes = round_up(end, PAGE_SIZE) - first;
	if (kvirt_map_untracked(bytes, 0, hpa(first), bytes, PT_RW | PT_MEM_UC, 0, &area) != 0)
		return hva(0);
	return hva_add(kvirt_start(area), start.hpa - first);
}

bool kspace_translate(hva_t at, struct pt_leaf *out)
{
	return pt_translate(&kspace_pt, at.hva, out);
}

static bool in_areas(const struct pt_leaf *leaf)
{
	return leaf->va >= KAREA_BASE && leaf->va < KAREA_END;
}

/* W^X: no leaf may be writable and executable. What lies among the areas must be an area's. */
static uint64_t audit_leaves(struct pt_cursor *c, void (*report)(const char *text))
{
	uint64_t found = 0;
	struct pt_leaf leaf;

	while (host_pt_ops.next(c, c->end - c->va, &leaf)) {
		if ((leaf.attr & (PT_WRITE | PT_EXEC)) == (PT_WRITE | PT_EXEC)) {
			report("host table: a page is writable and executable");
			found++;
		}
		if (in_areas(&leaf) && !kvirt_owns(&leaf)) {
			report("host table: a page among the areas belongs to none");
			found++;
		}
	}
	return found;
}

uint64_t kspace_audit(struct pt_audit *out, void (*report)(const char *text))
{
	const struct pt_limits *limits = host_pt_ops.limits;
	struct pt_cursor c;
	int err;

	*out = (struct pt_audit){ .report = report };
	err = host_pt_ops.open(&c, &kspace_pt, limits->va_first, limits->va_last + 1, false);
	MUST(err == 0, "the whole table cannot be locked: %d", err);
	host_pt_ops.audit(&c, out);
	out->violations += audit_leaves(&c, report);
	host_pt_ops.close(&c);
	out->violations += kvirt_audit(report);
	return out->violations;
}
