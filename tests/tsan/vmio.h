/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The parts of the test of guest memory.
 *
 *   vmio.c         the guest, and those who change its pages
 *   vmio_copy.c    those who copy to and from it
 *   vmio_judge.c   what a copy may have seen
 *   vmio_marks.c   a guest of its own, whose marks are collected and whose pages are taken away
 *
 *      a page      stamps: which frame, which page, which word     data: what was written last
 *                  0 ............................. 255             256 ......... 479   480 .. 511
 *                                                                  whoever claims it   one copier's
 *
 *   states     of each page before a change begins and after it has ended: what a copy between the
 *              two may see. Where nothing changed meanwhile the outcome is known exactly.
 *   stamps     all words of a page that one copy reads come from one frame, of that page, mapped at
 *              the time; a frame that is given back is stamped over
 *   shadow     what each word of data was last written with, in plain memory that only ownership
 *              protects: two parties at once are a data race, a lost byte is a word that differs
 */
#ifndef TESTS_TSAN_VMIO_H
#define TESTS_TSAN_VMIO_H

#include "vmio/virtual.h"

#define VMIO_COPIERS 2
#define VMIO_PAGES   16
#define VMIO_WORDS   512
#define VMIO_DATA    256 /* the first word of data, */
#define VMIO_OWN     480 /* and of those that copier n alone writes: VMIO_EACH from + n * VMIO_EACH */
#define VMIO_EACH    16
#define VMIO_BASE    SIZE_1G
#define VMIO_VIRTUAL UINT64_C(0x0000123456700000)

/* A state of a page: version << 34 | stamp << 4 | rights. The stamp is the version in which the
 * frame was mapped. */
typedef uint64_t state_t;

static inline uint64_t state_stamp(state_t s)
{
	return s >> 4 & 0x3fffffff;
}

static inline pt_attr_t state_rights(state_t s)
{
	return s & 15;
}

static inline uint64_t vmio_page_gpa(uint64_t page)
{
	return VMIO_BASE + page * PAGE_SIZE;
}

/* What a word of stamps holds. */
static inline uint64_t vmio_tag(uint64_t stamp, uint64_t page, uint64_t word)
{
	return stamp << 16 | page << 9 | word;
}

struct vmio_word {
	uint64_t value;
	state_t before, after; /* of its page, around the write */
};

/* --- the guest -------------------------------------------------------------------------------- */

extern struct vm_space vmio_space, vmio_other; /* the other one's pages stay as they are */
extern struct gva_mode vmio_mode;
extern _Atomic state_t vmio_ended[VMIO_PAGES], vmio_begun[VMIO_PAGES + 1];
extern struct vmio_word vmio_shadow[VMIO_PAGES][VMIO_WORDS - VMIO_DATA];
extern _Atomic unsigned vmio_copiers; /* that are not yet done */

/* Of its tables: VMIO_VIRTUAL + 4 KiB * i is some page of the window, whichever was written into
 * the entry last; from i = VMIO_PAGES on it is page i - VMIO_PAGES, for ever. */
uint64_t vmio_entry_gpa(uint64_t i);

/* Asks for a change of a page (VMIO_PAGES: for the last table to move) and waits until it begins,
 * or for as long as that is worth it. */
void vmio_wait_for_change(uint64_t page);

/* --- judging ---------------------------------------------------------------------------------- */

/* What was done, for all to add to. */
struct vmio_counts {
	_Atomic uint64_t copies, overtaken, bytes_read, bytes_written, faults, busy, changes;
	_Atomic uint64_t walked, walks_busy;
};

extern struct vmio_counts vmio_counts;

void vmio_count(_Atomic uint64_t *what, uint64_t n);

/* One word of data of a page, while it was in the states `b` to `a`. */
void vmio_check_data(const struct vmio_word *w, uint64_t value, state_t b, state_t a);

/* Words [word, word + n) of a page were read by copier `cpu` while it was in the states `b` to `a`.
 */
void vmio_check_words(unsigned cpu, const uint64_t *got, uint64_t page, uint64_t word, uint64_t n,
		      state_t b, state_t a);

/*
 * `done` of `len` bytes from byte `at` of the window; the pages were in the states b[] before and
 * a[] after. A page that did not change meanwhile was copied if and only if it allows it.
 */
void vmio_check_count(uint64_t at, uint64_t len, uint64_t done, int err, pt_attr_t want,
		      const state_t *b, const state_t *a);

/* The same for several ranges, each within a page: b[i] and a[i] are those of its page. */
void vmio_check_list(const struct vm_range *list, unsigned n, uint64_t done, int err,
		     pt_attr_t want, const state_t *b, const state_t *a);

/* A word of data was written; if its page has not changed since it is marked. */
void vmio_wrote(uint64_t page, uint64_t word, uint64_t value, state_t b, state_t a);

/* --- the parts -------------------------------------------------------------------------------- */

/* How many operations there are to be, in all parts together. */
uint64_t vmio_ops(void);

/* No reader or writer has left a claim of the space's. */
void vmio_nobody(struct vm_space *space);

/* One of the copiers, 0 .. VMIO_COPIERS - 1. */
void vmio_copier(unsigned cpu);

/* Writes while marks are taken, and the pages with them. */
void vmio_marks(void);

#endif
