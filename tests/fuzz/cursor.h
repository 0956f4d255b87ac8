/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Readers and writers beside what they should be: a position in a list of ranges. The model copies
 * byte by byte, and asks for memory piece by piece where the header says that it is so: a piece
 * crosses no page of the guest and none of stage 2, and is translated and claimed once.
 */
#ifndef TESTS_FUZZ_CURSOR_H
#define TESTS_FUZZ_CURSOR_H

#include "tests/fuzz/guest.h"
#include "vmio/virtual.h"

#define CURSORS	      8 /* the first half reads, the other one writes */
#define CURSOR_RANGES (OWNER_LIST + 2)
#define CURSOR_HOST   (5 * PAGE_SIZE)

enum cursor_kind {
	CURSOR_NONE,
	CURSOR_OVER_HOST,
	CURSOR_OVER_GUEST,
	CURSOR_OVER_LIST,
	CURSOR_OVER_VIRTUAL,
};

struct cursor {
	enum cursor_kind kind;
	bool writes, active;
	unsigned original; /* the one that this one is a copy of, or itself */
	unsigned n;
	struct vm_range ranges[CURSOR_RANGES];
	uint64_t at, limit; /* in all ranges together */
	struct vm_use use;
	union {
		struct vm_io io;
		struct vm_reader r;
		struct vm_writer w;
	} real;
};

/* A piece of memory as the model has it. */
struct piece_twin {
	uint8_t *at;
	bool guest;
	uint64_t hpa, n;
};

extern struct cursor cursors[CURSORS];

/* The hypervisor's memory that is read and written, and the model's. */
extern uint8_t cursor_host[CURSOR_HOST], cursor_host_twin[CURSOR_HOST];

/* The vCPU that guest-virtual ones belong to. */
extern struct gva_mode cursor_mode;
extern struct vm_virtual cursor_vcpu;
extern struct gva_result cursor_fault_twin;

void cursors_begin(void);
void cursors_check(void);

/* Those that copy: is that the page after the one where one stands, and where none stands? */
extern const struct cursor *cursors_busy[2];
bool cursors_look_ahead(uint64_t at);

static inline uint64_t cursor_left(const struct cursor *c)
{
	return c->limit - c->at;
}

/* Bytes left in the range that it stands in. */
uint64_t cursor_left_here(const struct cursor *c);

/* What its claims are made as. */
struct owner_party cursor_party(const struct cursor *c);

/* Takes its place; as vm_io_activate. */
int cursor_claim(struct cursor *c);

/* The next bytes, at most `max` of them, and their end. Errors as of a copy. */
int cursor_begin(struct cursor *c, uint64_t max, struct piece_twin *p);
void cursor_end(struct cursor *c, uint64_t n);

/* Copies max bytes or fills them (r is NULL); *done of them. Precondition: so many are left. */
int cursor_transfer(struct cursor *r, struct cursor *w, uint8_t byte, uint64_t max, uint64_t *done);

/* The same for all or nothing of a cursor, the other side being our own memory. */
int cursor_all(struct cursor *c, uint8_t *mine, uint64_t len);

#endif
