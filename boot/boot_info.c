/* SPDX-License-Identifier: MPL-2.0 */
#include "boot/boot_info.h"

#include "base/err.h"
#include "base/print.h"
#include "base/string.h"

/* Tag types and layouts: Multiboot2 specification 2.0, 3.6. */
enum {
	TAG_END = 0,
	TAG_CMDLINE = 1,
	TAG_LOADER = 2,
	TAG_MODULE = 3,
	TAG_MMAP = 6,
	TAG_ACPI_OLD = 14,
	TAG_ACPI_NEW = 15,
};

struct tag {
	uint32_t type, size;
};

struct tag_module {
	struct tag tag;
	uint32_t start, end;
	char text[];
};

struct tag_mmap {
	struct tag tag;
	uint32_t entry_size, entry_version;
};

struct mmap_entry {
	uint64_t start, len;
	uint32_t type, reserved;
};

struct decoder {
	const uint8_t *base;
	uint32_t at; /* offset of the tag */
	struct boot_info *out;
	bool have_map;
	char *why;
	size_t why_size;
};

static int refuse(struct decoder *d, int err, const char *what)
{
	format(d->why, d->why_size,
	       "boot information: tag at offset %u: %s: boot with GRUB 2.06 or newer", d->at, what);
	return err;
}

/* Copies a text that ends within its tag, as much of it as fits; *cut: that is not all. */
static int take_text(struct decoder *d, const char *text, size_t max, char *out, size_t size,
		     bool *cut)
{
	size_t len = strnlen(text, max);

	if (len == max)
		return refuse(d, -EINVAL, "text without an end");
	*cut = len >= size;
	if (*cut)
		len = size - 1;
	memcpy(out, text, len);
	out[len] = '\0';
	return 0;
}

static enum mem_kind kind_of(uint32_t type)
{
	switch (type) {
	case 1:
		return MEM_RAM;
	case 3:
		return MEM_RECLAIMABLE;
	case 4:
		return MEM_NVS;
	case 5:
		return MEM_BAD;
	default:
		return MEM_RESERVED;
	}
}

static int take_mmap(struct decoder *d, const struct tag *tag)
{
	struct tag_mmap head;
	const uint8_t *p = (const uint8_t *)tag;

	if (tag->size < sizeof(head))
		return refuse(d, -EINVAL, "memory map is cut off");
	memcpy(&head, tag, sizeof(head));
	if (head.entry_size < sizeof(struct mmap_entry) || head.entry_size > 4096)
		return refuse(d, -EINVAL, "memory map has entries of an impossible size");
	for (uint32_t o = sizeof(head); o + head.entry_size <= tag->size; o += head.entry_size) {
		struct mmap_entry e;
		uint64_t end;

		memcpy(&e, p + o, sizeof(e));
		if (__builtin_add_overflow(e.start, e.len, &end))
			end = UINT64_MAX;
		if (memmap_add(&d->out->map, e.start, end, kind_of(e.type)) != 0)
			return refuse(d, -E2BIG, "memory map has too many entries");
	}
	d->have_map = true;
	return 0;
}

static int take_module(struct decoder *d, const struct tag *tag)
{
	struct boot_module *m;
	struct tag_module head;

	if (tag->size <= sizeof(head))
		return refuse(d, -EINVAL, "module is cut off");
	if (d->out->module_count == BOOT_MODULES_MAX) {
		d->out->modules_left_out++;
		return 0;
	}
	memcpy(&head, tag, sizeof(head));
	if (head.end < head.start)
		return refuse(d, -EINVAL, "module ends before it starts");
	m = &d->out->modules[d->out->module_count++];
	m->start = hpa(head.start);
	m->len = head.end - head.start;
	return take_text(d, (const char *)tag + sizeof(head), tag->size - sizeof(head), m->text,
			 sizeof(m->text), &m->text_cut);
}

static int take_rsdp(struct decoder *d, const struct tag *tag)
{
	uint32_t len = tag->size - sizeof(*tag);

	/* A version 2 pointer replaces a version 1 pointer, never the other way. */
	if (len < 20)
		return refuse(d, -EINVAL, "ACPI pointer is cut off");
	if (len > sizeof(d->out->rsdp))
		len = sizeof(d->out->rsdp);
	if (len >= d->out->rsdp_len) {
		memcpy(d->out->rsdp, tag + 1, len);
		d->out->rsdp_len = len;
	}
	return 0;
}

static int take_tag(struct decoder *d, const struct tag *tag)
{
	const char *text = (const char *)(tag + 1);
	size_t max = tag->size - sizeof(*tag);
	bool cut;

	switch (tag->type) {
	case TAG_CMDLINE:
		return take_text(d, text, max, d->out->cmdline, sizeof(d->out->cmdline),
				 &d->out->cmdline_cut);
	case TAG_LOADER:
		return take_text(d, text, max, d->out->loader, sizeof(d->out->loader), &cut);
	case TAG_MODULE:
		return take_module(d, tag);
	case TAG_MMAP:
		return take_mmap(d, tag);
	case TAG_ACPI_OLD:
	case TAG_ACPI_NEW:
		return take_rsdp(d, tag);
	default:
		return 0;
	}
}

int boot_info_decode(const void *info, size_t max, struct boot_info *out, char *why,
		     size_t why_size)
{
	struct decoder d = { .base = info, .out = out, .why = why, .why_size = why_size };
	uint32_t total;

	memset(out, 0, sizeof(*out));
	if (max < 8)
		return refuse(&d, -EINVAL, "no room for a header");
	memcpy(&total, info, sizeof(total));
	if (total < 8 || total > max)
		return refuse(&d, -EINVAL, "total size is impossible");
	for (d.at = 8; total - d.at >= sizeof(struct tag);) {
		const struct tag *tag = (const struct tag *)(d.base + d.at);
		int err;

		if (tag->size < sizeof(*tag) || tag->size > total - d.at)
			return refuse(&d, -EINVAL, "size reaches out of the information");
		if (tag->type == TAG_END)
			return d.have_map ? 0 : refuse(&d, -EINVAL, "the end, and no memory map");
		err = take_tag(&d, tag);
		if (err != 0)
			return err;
		if (round_up(tag->size, 8) > total - d.at)
			break;
		d.at += (uint32_t)round_up(tag->size, 8);
	}
	return refuse(&d, -EINVAL, "no end tag");
}
