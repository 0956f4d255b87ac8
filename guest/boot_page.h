/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a guest finds at guest-physical GUEST_BOOT_PAGE when it starts: how much it was given, and
 * the cmdline= of its module line. Shared with the guests, also with assembly. It may be
 * overwritten; an image may not lie there.
 */
#ifndef GUEST_BOOT_PAGE_H
#define GUEST_BOOT_PAGE_H

#define GUEST_BOOT_PAGE	 0x500
#define GUEST_BOOT_MAGIC 0x4c54534e /* "NSTL" */

#ifndef __ASSEMBLER__
#include <stdint.h>

struct guest_boot_page {
	uint32_t magic;
	uint32_t mem_pages; /* of 4 KiB, from address 0 */
	uint32_t vcpus;
	char cmdline[256]; /* ends in NUL */
};
#endif

#endif
