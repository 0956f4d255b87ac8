/* SPDX-License-Identifier: MPL-2.0 */
#define _GNU_SOURCE
#include "tests/fuzz/guest.h"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "base/err.h"
#include "base/fixup.h"
#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "tests/host/arena.h"

#define ARENA  (2 * SIZE_1G)
#define TRAPS  4
#define EVENTS 256

/* EPT with pages of 1 GiB, exec-only, write-back; with or without accessed and dirty bits. */
#define EPT_CAPS   (1 << 0 | 1 << 6 | 1 << 14 | 1 << 16 | 1 << 17 | 1 << 20 | 1 << 25 | 1 << 26)
#define EPT_MARKED (1 << 21)

struct vm_space guest_space;

static struct frame *blocks[BLOCKS];
static uint64_t bytes_free, memory_left;
static struct change traps[TRAPS];
static unsigned trap_count;
static struct guest_event events[EVENTS];
static unsigned event_count, event_seen;

/* --- faults of the access itself -------------------------------------------------------------- */

static struct sigaction before;

/* What is not allowed to fault is left to whoever was there first. */
static void on_signal(int signal_number, siginfo_t *info, void *context)
{
	greg_t *rip = &((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	uint64_t to;

	(void)info;
	if (fixup_find((uint64_t)*rip, &to))
		*rip = (greg_t)to;
	else
		sigaction(signal_number, &before, NULL);
}

void guest_set_hole(bool on)
{
	static bool ready;
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	void *page = hpa_ptr(hpa(guest_block_hpa(BLOCK_2M) + PAGE_SIZE));

	if (!ready)
		sigaction(SIGSEGV, &action, &before);
	ready = true;
	FUZZ_CHECK(mprotect(page, PAGE_SIZE, on ? PROT_NONE : PROT_READ | PROT_WRITE) == 0);
	guest_model_hole(on ? guest_block_hpa(BLOCK_2M) + PAGE_SIZE : UINT64_MAX);
}

/* --- blocks ----------------------------------------------------------------------------------- */

uint64_t guest_block_hpa(unsigned block)
{
	return frame_hpa(blocks[block]).hpa;
}

uint64_t guest_block_size(unsigned block)
{
	return block == BLOCK_1G		     ? SIZE_1G
	       : block >= BLOCK_2M && block < BLOCKS ? SIZE_2M
						     : PAGE_SIZE;
}

unsigned guest_block_of(uint64_t at)
{
	unsigned block = 0;

	while (block < BLOCKS && at - guest_block_hpa(block) >= guest_block_size(block))
		block++;
	return block;
}

static uint64_t free_bytes(void)
{
	struct frame_account account;

	frame_account(&account);
	return account.by_kind[FRAME_FREE];
}

void guest_init(void)
{
	arena_init(ARENA);
	for (unsigned i = BLOCKS; i-- > 0;) {
		unsigned order = i == BLOCK_1G	 ? FRAME_ORDER_1G
				 : i >= BLOCK_2M ? FRAME_ORDER_2M
						 : 0;

		blocks[i] = frame_alloc(order, FRAME_GUEST, 0);
		FUZZ_CHECK(blocks[i] != NULL);
	}
}

/* --- changes ---------------------------------------------------------------------------------- */

static int map_frame(struct vm_cursor *cursor, const struct change *c, struct change_result *r)
{
	struct frame *f;
	int err;

	if (c->block == NEW_FRAME)
		f = frame_alloc(0, FRAME_GUEST, ALLOC_ZERO);
	else
		frame_get(f = blocks[c->block]);
	if (f == NULL)
		return -ENOMEM;
	r->hpa = frame_hpa(f).hpa;
	err = vm_map(cursor, f, c->attr | PT_MEM_WB);
	if (err != 0)
		frame_put(f);
	return err;
}

static int clean(struct vm_cursor *cursor, const struct change *c)
{
	struct pt_leaf leaf;
	int err;

	do {
		uint64_t left = c->at + c->len - vm_cursor_at(cursor).gpa;

		err = left == 0 ? -ENOENT : vm_clear_marks_next(cursor, left, c->attr, &leaf);
	} while (err == 0);
	return err == -ENOENT ? 0 : err;
}

static int change_mappings(struct vm_cursor *cursor, const struct change *c,
			   struct change_result *r)
{
	uint64_t pages;

	switch (c->kind) {
	case CHANGE_MAP:
		return map_frame(cursor, c, r);
	case CHANGE_DEVICE:
		r->hpa = guest_block_hpa(c->block);
		return vm_map_untracked(cursor, hpa(r->hpa), c->len, c->attr | PT_MEM_UC);
	case CHANGE_UNMAP:
		return vm_unmap(cursor, c->len, &pages);
	case CHANGE_PROTECT:
		return vm_protect(cursor, c->len, (c->attr & PT_RIGHTS) | PT_MEM_WB, &pages);
	case CHANGE_CLEAN:
		return clean(cursor, c);
	default:
		return vm_collapse(cursor, c->len);
	}
}

/* The guest's own store, if it has such memory. */
static void poke(const struct change *c)
{
	struct pt_leaf leaf;

	epoch_enter();
	if (vm_translate(&guest_space, gpa(c->at), &leaf) && (leaf.attr & PT_TRACKED) != 0)
		fixup_store8(hpa_ptr(hpa_add(leaf.hpa, c->at - leaf.va)), c->value);
	epoch_exit();
}

struct change_result guest_change_real(const struct change *c)
{
	struct change_result r = { 0 };
	struct vm_cursor cursor;

	if (c->kind == CHANGE_POKE)
		poke(c);
	if (c->kind == CHANGE_POKE || c->kind == CHANGE_NOTHING)
		return r;
	r.err = vm_cursor_open(&cursor, &guest_space, gpa(c->at), gpa(c->at + c->len), VM_CHANGE);
	if (r.err != 0)
		return r;
	r.err = change_mappings(&cursor, c, &r);
	r.done = vm_cursor_at(&cursor).gpa - c->at;
	vm_cursor_close(&cursor);
	return r;
}

/* --- somebody else ---------------------------------------------------------------------------- */

static struct pt_ops raced_ops;
static const struct pt_ops *plain_ops;
static struct guest_race race;
static uint64_t looked_up[GUEST_RACE_MOST];
static unsigned lookups, race_at; /* race_at 0: none is raced */
static bool (*race_ahead)(uint64_t at);

/* How often the address has been looked up so far, this time included. */
static unsigned times(uint64_t at)
{
	unsigned n = 0;

	for (unsigned i = 0; i < lookups; i++)
		n += looked_up[i] == at;
	return n;
}

static void make_race(uint64_t at)
{
	race_at = 0;
	race.at = at;
	race.time = times(at);
	race.result = guest_change_real(&race.change);
	race.done = true;
}

static struct pt_place raced_place(const struct pt *pt, uint64_t va, pt_attr_t needs)
{
	bool now = lookups + 1 == race_at;
	struct pt_place place;

	/* The page after is looked up for later: the model does not do that. */
	if (race_at == 0 || race_ahead(va))
		return plain_ops->place(pt, va, needs);
	looked_up[lookups++] = va;
	if (now && !race.late)
		make_race(va);
	place = plain_ops->place(pt, va, needs);
	if (now && race.late)
		make_race(va);
	return place;
}

void guest_set_race(const struct change *c, unsigned n, bool late, bool (*ahead)(uint64_t at))
{
	race = (struct guest_race){ .change = *c, .late = late };
	lookups = 0;
	race_at = 1 + n % GUEST_RACE_MOST;
	race_ahead = ahead;
}

struct guest_race *guest_end_race(void)
{
	race_at = 0;
	return &race;
}

/* --- the fault handler ------------------------------------------------------------------------ */

bool guest_lazy(uint64_t at)
{
	return (at >= 8 * PAGE_SIZE && at < 16 * PAGE_SIZE) ||
	       (at >= 3 * SIZE_2M && at < 3 * SIZE_2M + 8 * PAGE_SIZE) ||
	       (at >= (UINT64_C(1) << 48) - PAGE_SIZE && at < UINT64_C(1) << 48);
}

void guest_set_trap(const struct change *c)
{
	if (trap_count < TRAPS)
		traps[trap_count++] = *c;
}

void guest_set_memory(uint64_t pages)
{
	memory_left = pages;
}

static int serve(struct guest_event *e)
{
	uint64_t page = round_down(e->at, PAGE_SIZE);
	struct pt_leaf leaf;

	if (!guest_lazy(page))
		return -EFAULT;
	if (memory_left == 0)
		return -ENOMEM;
	memory_left--;
	e->served = (struct change){
		.kind = vm_translate(&guest_space, gpa(page), &leaf) ? CHANGE_PROTECT : CHANGE_MAP,
		.block = NEW_FRAME,
		.attr = PT_RW,
		.at = page,
		.len = PAGE_SIZE,
	};
	e->served_result = guest_change_real(&e->served);
	return e->served_result.err;
}

static int on_fault(void *context, gpa_t at, pt_attr_t want)
{
	struct guest_event *e = &events[event_count];
	unsigned raced = race_at;

	race_at = 0; /* what is looked up here does not count */
	FUZZ_CHECK(context == &guest_space && epoch_inside() && event_count < EVENTS);
	event_count++;
	*e = (struct guest_event){ .at = at.gpa, .want = want };
	if (trap_count != 0) {
		e->trap = traps[--trap_count];
		e->trap_result = guest_change_real(&e->trap);
	}
	e->err = serve(e);
	race_at = raced;
	return e->err;
}

const struct guest_event *guest_next_event(void)
{
	if (event_seen < event_count)
		return &events[event_seen++];
	event_seen = event_count = 0;
	return NULL;
}

/* --- one input -------------------------------------------------------------------------------- */

static const struct pt_ops *format_ops(unsigned format)
{
	char why[64];

	npt_setup(true, 46);
	if (format % 3 == 0)
		return &npt_ops;
	FUZZ_CHECK(ept_setup(EPT_CAPS | (format % 3 == 1 ? EPT_MARKED : 0), 46, why, sizeof(why)) ==
		   0);
	return &ept_ops;
}

void guest_begin(unsigned format)
{
	const struct pt_ops *ops = format_ops(format);

	bytes_free = free_bytes();
	trap_count = event_count = event_seen = 0;
	memory_left = UINT64_MAX;
	FUZZ_CHECK(vm_space_init(&guest_space, ops) == 0);
	plain_ops = ops;
	raced_ops = *ops;
	raced_ops.place = raced_place;
	guest_space.pt.ops = &raced_ops;
	race = (struct guest_race){ 0 };
	vm_space_set_fault_handler(&guest_space, on_fault, &guest_space);
	guest_model_begin();
}

static void complain(const char *text)
{
	fprintf(stderr, "%s\n", text);
}

void guest_end(void)
{
	struct vm_audit audit;

	vm_audit(&guest_space, &audit, complain);
	FUZZ_CHECK(audit.violations == 0);
	vm_space_destroy(&guest_space);
	epoch_drain();
	FUZZ_CHECK(free_bytes() == bytes_free);
}
