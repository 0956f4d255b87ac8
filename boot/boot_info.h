/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What the boot loader told us, decoded once into plain C. Nothing after main() looks at the
 * multiboot2 information again. (Multiboot2 specification 2.0, section 3.6)
 */
#ifndef BOOT_BOOT_INFO_H
#define BOOT_BOOT_INFO_H

#include "base/addr.h"
#include "mm/memmap.h"

#define BOOT_MODULES_MAX 32
#define BOOT_TEXT_MAX	 1024

struct boot_module {
	hpa_t start;
	uint64_t len;
	char text[BOOT_TEXT_MAX]; /* "/guests/modes.elf name=tiny mem=16M" */
	bool text_cut;		  /* it was longer: only its beginning is here */
};

struct boot_info {
	char loader[64];
	char cmdline[BOOT_TEXT_MAX];
	bool cmdline_cut;
	struct memmap map; /* as told: unsorted, overlapping, with holes */
	struct boot_module modules[BOOT_MODULES_MAX];
	unsigned module_count;
	unsigned modules_left_out; /* beyond BOOT_MODULES_MAX */
	uint8_t rsdp[36];	   /* copy of the ACPI root pointer, version 1 or 2 */
	unsigned rsdp_len;	   /* 0: none */
};

/*
 * Decodes the information at `info` (8-byte aligned), of which at most `max` bytes may be read.
 * Every length is checked against what contains it before it is used. 0, or -EINVAL with a message
 * in `why` that names the tag, its offset and what is wrong with it; -E2BIG: more memory regions
 * than there is room for. *out is unspecified on failure. Unknown tags are skipped.
 * What the owner wrote can be too much, and costs only itself: a text that is too long is cut and
 * marked, modules beyond the last that fits are counted. The loader's own name is cut silently.
 */
int boot_info_decode(const void *info, size_t max, struct boot_info *out, char *why,
		     size_t why_size);

#endif
