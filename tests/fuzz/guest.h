/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A guest's memory, kept twice: a real space with frames behind it, and beside it what they should
 * be: the mappings as a sorted list, the bytes of each frame at the same place of a second arena.
 *
 *      0        pages of 4 KiB; 8 .. 15 of them come when they are touched, or become writable
 *      2M       pages of 2 MiB; the first pages of 6M come when they are touched
 *      1G       a page of 1 GiB
 *      2^48     the last page before it comes when it is touched
 *
 * A step of a test is made by the code under test first. What it brings in on the way is written
 * down; then the model makes the same step and must want just that, in the same order.
 */
#ifndef TESTS_FUZZ_GUEST_H
#define TESTS_FUZZ_GUEST_H

#include "mm/vm_space.h"
#include "tests/fuzz/input.h"

/* Blocks that the test holds itself, to be mapped at several places: 4 KiB, 2 MiB, 1 GiB. */
#define BLOCK_2M  6
#define BLOCK_1G  8
#define BLOCKS	  9
#define NEW_FRAME BLOCKS /* a frame of its own, zeroed, which only the mapping keeps */

enum change_kind {
	CHANGE_NOTHING,
	CHANGE_MAP,
	CHANGE_DEVICE, /* untracked, over the memory of a block */
	CHANGE_UNMAP,
	CHANGE_PROTECT,
	CHANGE_CLEAN, /* takes marks away */
	CHANGE_JOIN,  /* makes one page of `len` bytes out of 512 */
	CHANGE_POKE,  /* the guest's own store of eight bytes, aligned */
};

/* Of the mappings of [at, at + len), or of the guest's bytes. */
struct change {
	enum change_kind kind;
	unsigned block;
	pt_attr_t attr;
	uint64_t at, len, value;
};

/* How it went: the error, the bytes that are done, the frame that was new. */
struct change_result {
	int err;
	uint64_t done, hpa;
};

struct guest_leaf {
	uint64_t gpa, size, hpa;
	pt_attr_t rights, marks;
	bool device;
};

extern struct vm_space guest_space;

/* Once; and around each input. `format`: 0 NPT, 1 EPT, 2 EPT of a CPU that sets no marks. */
void guest_init(void);
void guest_begin(unsigned format);
void guest_end(void);

/* --- the real side -------------------------------------------------------------------------- */

/* The next call of the fault handler makes this change before it serves. At most 4 wait. */
void guest_set_trap(const struct change *c);

/* The handler has so much memory left, in pages. */
void guest_set_memory(uint64_t pages);

/* From here on, and until it is switched off, the second page of the first block of 2 MiB cannot be
 * accessed: on both sides. */
void guest_set_hole(bool on);

struct change_result guest_change_real(const struct change *c);

/* What the handler did. */
struct guest_event {
	uint64_t at;
	pt_attr_t want;
	int err;
	struct change trap, served;
	struct change_result trap_result, served_result;
};

/* The next one that the model has not seen; NULL: there is none. */
const struct guest_event *guest_next_event(void);

/* Is the page one that the handler brings in? */
bool guest_lazy(uint64_t at);

/*
 * Somebody else makes a change at one walk of the code under test, number `n` from here (0 is the
 * first): before it, or `late`, when it has found what was there. Those that `ahead` is true of do
 * not count.
 */
#define GUEST_RACE_MOST 8
struct guest_race {
	struct change change;
	bool late, done, seen;
	uint64_t at;	/* what was looked up, */
	unsigned time;	/* and which time that was */
	unsigned times; /* the model has looked it up */
	struct change_result result;
};
void guest_set_race(const struct change *c, unsigned n, bool late, bool (*ahead)(uint64_t at));

/* It does not happen any more, if it has not: and how it went. */
struct guest_race *guest_end_race(void);

/* --- the model ------------------------------------------------------------------------------ */

void guest_model_begin(void);
void guest_model_change(const struct change *c, const struct change_result *r);

/* Both sides. */
void guest_change(const struct change *c);

/* The model's byte at a host-physical address. */
uint8_t *guest_twin(uint64_t hpa);

/* n bytes there change. */
void guest_touched(uint64_t hpa, uint64_t n);

/* The hole's host-physical address; UINT64_MAX: there is none. */
void guest_model_hole(uint64_t at);

/* How many of n bytes come before the hole. */
uint64_t guest_before_hole(uint64_t hpa, uint64_t n);

/* As vm_page_find, with the same flags: 0 and the page, or the error. */
int guest_touch(uint64_t at, pt_attr_t want, unsigned flags, struct guest_leaf *out);

/* It has been written to. */
void guest_mark(uint64_t at);

/* Are both the same, and was everything seen that the handler did? */
void guest_check(bool all);

/* Which block has the frame, and where it begins; BLOCKS: none. */
unsigned guest_block_of(uint64_t hpa);
uint64_t guest_block_hpa(unsigned block);
uint64_t guest_block_size(unsigned block);

#endif
