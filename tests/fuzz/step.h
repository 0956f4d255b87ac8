/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The operations that an input is made of: one byte each, and their arguments. Each is made by the
 * code under test and by the model, and their answers are compared; after each, everything is.
 */
#ifndef TESTS_FUZZ_STEP_H
#define TESTS_FUZZ_STEP_H

#include "tests/fuzz/cursor.h"

/* --- arguments -------------------------------------------------------------------------------- */

/* Some pages, and some bytes from there: most often none, or few. */
uint64_t take_offset(struct input *in);

/* A guest-physical address near one where something begins or ends. */
uint64_t take_gpa(struct input *in);

/* A length in bytes: often small, sometimes more than one epoch section. */
uint64_t take_length(struct input *in);

/* A guest-virtual address near step_va, or any. */
extern uint64_t step_va;
uint64_t take_gva(struct input *in);

/* Any change of mappings or of bytes. */
struct change take_change(struct input *in);

/* A reader or a writer, of all or of those that write or read; opened first where it is not there.
 * NULL: and could not be. */
enum { TAKE_READER, TAKE_WRITER, TAKE_ANY };
struct cursor *take_cursor(struct input *in, unsigned which);

/* Until it is switched off, steps take the cursor that was taken last. */
void step_pin(bool on);

/* --- operations ------------------------------------------------------------------------------- */

/* The guest's mappings, what its fault handler will do. (step_guest.c) */
void step_layout(void); /* a few pages of each size, some of them twice */
void step_change(struct input *in);
void step_trap(struct input *in);
void step_memory(struct input *in);
void step_epoch(struct input *in);

/* Readers and writers come, stand somewhere else, go. (step_cursor.c) */
void step_open(struct input *in);
void step_close(struct input *in);
void step_activate(struct input *in);
void step_duplicate(struct input *in);
void step_move(struct input *in);
void step_share(struct input *in);
void step_close_all(void);

/* Copies. (step_copy.c) */
void step_copy(struct input *in);
void step_fill(struct input *in);
void step_bytes(struct input *in);
void step_within_host(struct input *in);
void step_value(struct input *in);
void step_at_once(struct input *in);

/* Several steps with one cursor, in one epoch section: what it remembers. (step.c) */
void step_several(struct input *in);

/* A copy, and a change that somebody else makes meanwhile. */
void step_race(struct input *in);

/* Single words. (step_word.c) */
void step_word(struct input *in);

/* A vCPU with tables of its own, and how they and its registers change. (step_tables.c) */
void step_tables_begin(struct input *in);
void step_tables(struct input *in);
void step_vcpu(struct input *in);

/* --- one input -------------------------------------------------------------------------------- */

/* Around an input; `begin` may put things there before the first step. (step.c) */
void steps_run(struct input *in, void (*begin)(struct input *in));
#endif
