/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Nestling's own address space (arch/layout.h says what is where), a table of the host format:
 *
 *   linear map   RAM, read-write, never executable; not the image's text and constants
 *   areas        mm/kvirt.h: stacks with a guard page below, device registers
 *   metadata     one slot per frame, for each 256 MiB section that has RAM
 *   image        text read-execute, constants read-only, data read-write
 *
 * Nothing is both writable and executable, and address 0 is not mapped. One CPU builds it at boot,
 * before it is used; afterwards only areas come and go. Each CPU that runs on it calls
 * kspace_tlb_online (mm/kspace_tlb.h), and kspace_tlb_flush once a turn.
 */
#ifndef MM_KSPACE_H
#define MM_KSPACE_H

#include "base/addr.h"
#include "mm/memmap.h"
#include "mm/pt_ops.h"

/* Metadata of this much RAM fills one 2 MiB page. */
#define KSPACE_SECTION (SIZE_2M / sizeof(struct frame) * PAGE_SIZE)

/* Where the image lies; all page-aligned. */
struct kspace_image {
	hva_t text, text_end; /* read, execute */
	hva_t rodata_end;     /* text_end .. : read */
	hva_t data_end;	      /* rodata_end .. : read, write */
	hpa_t text_hpa;	      /* the image is contiguous */
	/*
	 * The boot tables' 2 MiB entries for the metadata, one for each section from hpa 0 upwards,
	 * writable, so that frames can be used before the engine has built anything.
	 */
	volatile uint64_t *meta_entries;
	unsigned meta_count;
};

/*
 * Takes memory for the metadata out of `map`, brings frames and the allocator to life, and builds
 * the table. RAM above what the boot tables can reach (4 GiB) is given to the allocator only by
 * kspace_add_high, once the table is in use.
 * Errors: -ENOMEM, -ERANGE (more sections than meta_count: RAM beyond is left out with a warning,
 * so only when there is none below), each with a log line.
 */
int kspace_init(struct memmap *map, const struct kspace_image *image);

/* What CR3 takes. */
hpa_t kspace_root(void);

/* The rest of RAM. Precondition: this CPU runs on kspace_root(). */
void kspace_add_high(const struct memmap *map);

#define KSPACE_STACK_PAGES 16

/*
 * A stack of `pages` pages, 1 to KSPACE_STACK_PAGES, all zero, with an unmapped page below and one
 * above. Returns its top (page-aligned), or hva(0): no memory.
 */
hva_t kspace_stack(unsigned pages);

/* Gives a stack back that no CPU runs on; `top` is from kspace_stack, else panics. */
void kspace_stack_drop(hva_t top);

/*
 * Registers of a device at [start, start + len), any alignment, uncached. Returns where `start` is
 * seen, or hva(0): no memory, or the range is RAM or beyond the CPU's physical addresses.
 */
hva_t kspace_device(hpa_t start, uint64_t len);

/* Lock-free lookup, inside an epoch section. */
bool kspace_translate(hva_t at, struct pt_leaf *out);

/* T1-T7, that nothing is writable and executable, and that the areas own what is mapped among them.
 * Returns the number of violations. */
uint64_t kspace_audit(struct pt_audit *out, void (*report)(const char *text));

#endif
