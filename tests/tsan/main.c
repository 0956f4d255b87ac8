/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Threads over one space, under ThreadSanitizer. Each thread is a CPU. All of them map, unmap,
 * protect and look at random places of one window, in ranges of all shapes; what a thread does
 * under a cursor must be what it finds again before it closes the cursor, and the tables must be
 * sound at the end.
 *
 *   TSAN_OPS=n (for each thread)
 */
#include <arch/this_cpu.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "mm/pt_ops.h"
#include "mm/vm_space.h"
#include "tests/host/arena.h"

#define ARENA	(UINT64_C(64) << 20)
#define THREADS 4
#define BASE	(SIZE_1G - 2 * SIZE_2M)
#define PAGES	(4 * 512)

static struct vm_space space;
static _Atomic uint64_t wrong;
static unsigned long long operations;
static _Atomic unsigned running;
/* Simulated guests: CPU i is inside until it is kicked. */
static _Atomic bool inside[THREADS], kicked[THREADS];

static void complain(const char *text)
{
	fprintf(stderr, "%s\n", text);
	wrong++;
}

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static unsigned below(uint64_t *state, unsigned n)
{
	return (unsigned)(next(state) >> 33) % n;
}

/* A CPU that is kicked leaves by itself, at its next look; see thread_main. */
static void kick(unsigned cpu)
{
	atomic_store(&kicked[cpu], true);
}

static void look_out(unsigned me)
{
	if (atomic_load(&inside[me])) {
		tlb_leave(&space.pt.tlb);
		atomic_store(&inside[me], false);
	}
}

/* Under the cursor nobody else may change what it covers. */
static void check_same(struct vm_cursor *c, gpa_t at, const struct frame *f)
{
	struct pt_leaf leaf;

	if (vm_jump(c, at) != 0 || vm_query(c, &leaf) != 0 || leaf.hpa.hpa != frame_hpa(f).hpa)
		complain("a page changed under the cursor that mapped it");
}

static void do_map(uint64_t *state, gpa_t at)
{
	bool large = below(state, 16) == 0;
	gpa_t start = large ? gpa_align_down(at, SIZE_2M) : at;
	uint64_t size = large ? SIZE_2M : PAGE_SIZE;
	struct frame *f = frame_alloc(large ? FRAME_ORDER_2M : 0, FRAME_GUEST, 0);
	struct vm_cursor c;

	if (f == NULL)
		return;
	if (vm_cursor_open(&c, &space, start, gpa_add(start, size), VM_CHANGE) != 0) {
		frame_put(f);
		return;
	}
	if (vm_map(&c, f, PT_RWX | PT_MEM_WB) != 0)
		frame_put(f);
	else
		check_same(&c, start, f);
	vm_cursor_close(&c);
}

static void do_unmap(struct vm_cursor *c, uint64_t len)
{
	uint64_t pages;
	gpa_t start = vm_cursor_at(c);

	if (vm_unmap(c, len, &pages) != 0)
		return;
	if (vm_jump(c, start) != 0 || vm_find_next(c, len))
		complain("a page came up under the cursor that unmapped it");
}

static void do_protect(struct vm_cursor *c, uint64_t len)
{
	gpa_t end = gpa_add(vm_cursor_at(c), len);
	struct pt_leaf old;

	while (vm_protect_next(c, end.gpa - vm_cursor_at(c).gpa, PT_READ | PT_MEM_WB, &old) == 0)
		continue;
}

/* Lock-free: whatever a lookup finds stays a frame in use until the section ends. */
static void do_look(gpa_t at)
{
	struct pt_leaf leaf;

	epoch_enter();
	if (vm_translate(&space, at, &leaf)) {
		struct frame *f = frame_head(frame_at(leaf.hpa));

		if (atomic_load(&f->refs) == FRAME_UNUSED || f->kind != FRAME_GUEST)
			complain("a lookup found a frame that has been given away");
		vm_mark(&space, at, PT_ACCESSED | PT_DIRTY);
	}
	epoch_exit();
}

static void do_read(struct vm_cursor *c, uint64_t len)
{
	gpa_t start = vm_cursor_at(c);
	bool first = vm_find_next(c, len);
	gpa_t stop = vm_cursor_at(c);

	if (vm_jump(c, start) != 0 || vm_find_next(c, len) != first ||
	    vm_cursor_at(c).gpa != stop.gpa)
		complain("what a reader sees changes under its cursor");
}

static void one_operation(uint64_t *state)
{
	unsigned first = below(state, PAGES), what = below(state, 8);
	unsigned count = 1 + below(state, below(state, 8) == 0 ? 700 : 4);
	gpa_t at = gpa(BASE + first * PAGE_SIZE);
	uint64_t len = (first + count > PAGES ? PAGES - first : count) * PAGE_SIZE;
	struct vm_cursor c;

	if (what < 3) {
		do_map(state, at);
	} else if (what == 3) {
		do_look(at);
	} else if (vm_cursor_open(&c, &space, at, gpa_add(at, len),
				  what == 4 ? VM_READ : VM_CHANGE) == 0) {
		if (what == 4)
			do_read(&c, len);
		else if (what == 5)
			do_protect(&c, len);
		else
			do_unmap(&c, len);
		vm_cursor_close(&c);
	}
}

static void *thread_main(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;
	uint64_t state = me * UINT64_C(0x9e3779b97f4a7c15) + 1;

	host_cpu = me;
	for (unsigned long long n = 0; n < operations; n++) {
		/* In the guest for a while, as CPUs are; a kick brings it out. */
		if (below(&state, 4) == 0) {
			tlb_enter(&space.pt.tlb);
			atomic_store(&inside[me], true);
			for (unsigned i = 0; i < 50 && !atomic_load(&kicked[me]); i++)
				cpu_relax();
			atomic_store(&kicked[me], false);
			look_out(me);
		}
		one_operation(&state);
		epoch_poll();
	}
	running--;
	/* The others' items wait for nobody who has left. */
	epoch_drain();
	return NULL;
}

static bool run(const struct pt_ops *ops)
{
	pthread_t threads[THREADS];
	struct vm_audit audit;
	struct frame_account a;
	char why[128];

	arena_init(ARENA);
	ept_setup(0xf0106734141, 46, why, sizeof(why));
	npt_setup(true, 46);
	tlb_set_kick(kick);
	if (vm_space_init(&space, ops) != 0)
		return false;
	running = THREADS;
	for (unsigned i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, thread_main, (void *)(uintptr_t)i);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	host_cpu = 0;
	vm_audit(&space, &audit, complain);
	vm_space_destroy(&space);
	epoch_drain();
	frame_account(&a);
	if (a.by_kind[FRAME_GUEST] != 0 || a.by_kind[FRAME_STAGE2_TABLE] != 0)
		complain("memory is lost");
	if (frame_audit(complain) != 0)
		complain("the allocator is broken");
	arena_fini();
	printf("threads: %s: %u x %llu operations: %s\n", ops->limits->name, THREADS, operations,
	       wrong == 0 ? "ok" : "FAILED");
	return wrong == 0;
}

int main(void)
{
	const char *text = getenv("TSAN_OPS");
	unsigned passed = 0;

	operations = text != NULL ? strtoull(text, NULL, 0) : 4000;
	passed += run(&ept_ops);
	passed += run(&npt_ops);
	printf("%u passed, %u failed, 0 skipped\n", passed, 2 - passed);
	return passed != 2;
}
