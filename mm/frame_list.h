/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Lists of unique frames, linked through their slots: no memory of their own, and whether a frame
 * is in a list is one look at its slot.
 *
 *            ┌──────────────── ghost ────────────────┐        a cursor stands at an element or at
 *            ▼                                       ▼        the ghost, which comes after the last
 *          front ⇄ frame ⇄ frame ⇄ frame ⇄ ... ⇄ back         and before the first
 *
 * The list owns its frames. The caller keeps others out: one lock for the list and its cursors. A
 * cursor other than the one that changes the list stays valid unless its own frame is taken.
 * (ostd.md 1.5, L1-L4)
 */
#ifndef MM_FRAME_LIST_H
#define MM_FRAME_LIST_H

#include "mm/frame.h"

struct frame_list {
	uint64_t id;   /* in the slots of its frames; 0 until it first had one */
	uint64_t size; /* frames, or blocks */
	uint32_t first, last;
};

#define FRAME_LIST_INIT                                          \
	{                                                        \
		.id = 0, .first = FRAME_NONE, .last = FRAME_NONE \
	}

struct frame_cursor {
	struct frame_list *list;
	uint32_t at; /* FRAME_NONE: the ghost */
};

/* An empty list. Not for one that has frames. A list is never copied. */
void frame_list_init(struct frame_list *l);

/* Drops each frame, the first one first, as frame_unique_drop does; leaves an empty list. */
void frame_list_drop(struct frame_list *l);

/* Is the frame at `at` in this list? False for an address that is not aligned or not in RAM. */
bool frame_list_contains(const struct frame_list *l, hpa_t at);

/* At the first frame, at the last, at the ghost; the ghost too where there is none. */
struct frame_cursor frame_list_front(struct frame_list *l);
struct frame_cursor frame_list_back(struct frame_list *l);
struct frame_cursor frame_list_ghost(struct frame_list *l);

/* At the frame at `at`. False, with *c untouched, if it is not in this list. */
bool frame_list_at(struct frame_list *l, hpa_t at, struct frame_cursor *c);

void frame_cursor_next(struct frame_cursor *c);
void frame_cursor_prev(struct frame_cursor *c);

/* NULL at the ghost. */
struct frame *frame_cursor_frame(const struct frame_cursor *c);

/* Takes the frame out, which is the caller's then; the cursor moves on. NULL at the ghost. */
struct frame *frame_cursor_take(struct frame_cursor *c);

/*
 * The frame becomes the list's, before the cursor, which stays where it is: at the ghost that is
 * the end. Panics unless `f` is unique and in no list.
 */
void frame_cursor_insert(struct frame_cursor *c, struct frame *f);

/* At the ends. Popping from an empty list gives NULL. */
void frame_list_push_front(struct frame_list *l, struct frame *f);
void frame_list_push_back(struct frame_list *l, struct frame *f);
struct frame *frame_list_pop_front(struct frame_list *l);
struct frame *frame_list_pop_back(struct frame_list *l);

/*
 * Checks L1 and L2: both directions agree with the size, each frame is unique and says that it is
 * in this list, no other slot of RAM does. Returns the number of violations.
 */
uint64_t frame_list_audit(const struct frame_list *l, void (*report)(const char *text));

/* The last id that was given out; they are never used again. For tests of its end. */
extern _Atomic uint64_t frame_list_ids;

#endif
