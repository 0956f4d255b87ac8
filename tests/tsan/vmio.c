/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Threads that copy to and from a guest while others map, unmap and protect its pages: see
 * tests/tsan/vmio.h. Now and then whoever copies lets a change of that very page happen first,
 * between its walk and the copy, or in the guest's fault handler.
 */
#include <stdio.h>
#include <string.h>

#include "base/x86/msr.h"
#include "base/x86/regs.h"
#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "tests/host/arena.h"
#include "tests/host/random.h"
#include "tests/tsan/threads.h"
#include "tests/tsan/vmio.h"

#define COPIERS VMIO_COPIERS
#define CPUS	(COPIERS + 2)
#define PAGES	VMIO_PAGES
#define WORDS	VMIO_WORDS
#define SHARE	(PAGES / (CPUS - COPIERS)) /* pages of one changer */
#define GONE	UINT64_C(0xdeadbeefdeadbeef)
#define PATIENT 100 /* turns given to others */
#define PRESENT 7   /* writable, for everybody */

struct vm_space vmio_space, vmio_other;
struct gva_mode vmio_mode;
_Atomic state_t vmio_ended[PAGES], vmio_begun[PAGES + 1];
struct vmio_word vmio_shadow[PAGES][WORDS - VMIO_DATA];
_Atomic unsigned vmio_copiers;

static _Atomic unsigned wanted[CPUS]; /* 1 + the page that this changer is asked to change */
static const uint64_t *leaves;	      /* the last table, for the changer that moves it */

/* --- the changers ----------------------------------------------------------------------------- */

static void frame_ends(struct frame *f)
{
	uint64_t *words = frame_bytes(f);

	for (unsigned i = 0; i < WORDS; i++)
		words[i] = GONE;
}

static struct frame *frame_new(uint64_t page, uint64_t stamp)
{
	struct frame *f = frame_alloc(0, FRAME_GUEST, 0);
	uint64_t *words;

	if (f == NULL)
		return NULL;
	words = frame_bytes(f);
	for (unsigned i = 0; i < WORDS; i++)
		words[i] = i < VMIO_DATA ? vmio_tag(stamp, page, i) : 0;
	return f;
}

/* The pages' next state: told before it begins. Only their changer writes it. */
static void change_begin(uint64_t first, uint64_t end, bool maps, pt_attr_t rights)
{
	for (uint64_t page = first; page < end; page++) {
		state_t s = atomic_load(&vmio_ended[page]);
		uint64_t version = (s >> 34) + 1;
		pt_attr_t now = maps || state_rights(s) != 0 ? rights : 0;

		atomic_store(&vmio_begun[page],
			     version << 34 | (maps ? version : state_stamp(s)) << 4 | now);
	}
}

static void change_end(uint64_t first, uint64_t end)
{
	for (uint64_t page = first; page < end; page++)
		atomic_store(&vmio_ended[page], atomic_load(&vmio_begun[page]));
	vmio_count(&vmio_counts.changes, 1);
}

static void open_pages(struct vm_space *space, struct vm_cursor *c, uint64_t first, uint64_t end)
{
	CHECK(vm_cursor_open(c, space, gpa(vmio_page_gpa(first)), gpa(vmio_page_gpa(end)),
			     VM_CHANGE) == 0);
}

static void change(uint64_t *rng, uint64_t first, uint64_t most)
{
	uint64_t end, n;
	pt_attr_t rights = random_below(rng, 4) != 0 ? PT_RW : PT_READ;
	unsigned what = (unsigned)random_below(rng, 4);
	struct frame *f = NULL;
	struct vm_cursor c;

	end = first + 1 + (what > 1 ? random_below(rng, most) % 4 : 0);
	if (what < 2)
		f = frame_new(first, (atomic_load(&vmio_ended[first]) >> 34) + 1);
	if (what < 2 && f == NULL)
		return;
	change_begin(first, end, what < 2, what == 2 ? 0 : rights);
	open_pages(&vmio_space, &c, first, end);
	if (what < 2)
		CHECK(vm_map(&c, f, rights | PT_MEM_WB) == 0);
	else if (what == 2)
		CHECK(vm_unmap(&c, (end - first) * PAGE_SIZE, &n) == 0);
	else
		CHECK(vm_protect(&c, (end - first) * PAGE_SIZE, rights | PT_MEM_WB, &n) == 0);
	vm_cursor_close(&c);
	change_end(first, end);
}

void vmio_wait_for_change(uint64_t page)
{
	state_t s = atomic_load(&vmio_begun[page]);

	atomic_store(&wanted[page == PAGES ? COPIERS : COPIERS + page / SHARE], (unsigned)page + 1);
	for (unsigned i = 0; i < PATIENT && atomic_load(&vmio_begun[page]) == s; i++)
		cpu_relax();
}

/* --- the guest's own tables: behind the window, and the last one moves now and then ----------- */

static uint64_t table_gpa(unsigned level)
{
	return vmio_page_gpa(PAGES + level);
}

uint64_t vmio_entry_gpa(uint64_t i)
{
	return table_gpa(1) + 8 * (pt_index(VMIO_VIRTUAL, 1) + i);
}

static void table_map(unsigned level, const uint64_t *entries)
{
	struct frame *f = frame_alloc(0, FRAME_GUEST, ALLOC_ZERO);
	uint64_t *words;
	struct vm_cursor c;

	if (f == NULL)
		return;
	words = frame_bytes(f);
	for (unsigned i = 0; i < WORDS; i++)
		words[i] = __atomic_load_n(&entries[i], __ATOMIC_RELAXED);
	open_pages(&vmio_space, &c, PAGES + level, PAGES + level + 1);
	CHECK(vm_map(&c, f, PT_RW | PT_MEM_WB) == 0);
	vm_cursor_close(&c);
	if (level != 1)
		return;
	leaves = words;
	atomic_fetch_add(&vmio_begun[PAGES], 1);
}

static void tables_make(void)
{
	uint64_t entries[WORDS];

	for (unsigned level = 1; level <= 4; level++) {
		memset(entries, 0, sizeof(entries));
		for (unsigned i = 0; level == 1 && i < 2 * PAGES; i++)
			entries[pt_index(VMIO_VIRTUAL, 1) + i] = vmio_page_gpa(i % PAGES) | PRESENT;
		if (level > 1)
			entries[pt_index(VMIO_VIRTUAL, level)] = table_gpa(level - 1) | PRESENT;
		table_map(level, entries);
	}
}

static void changer(unsigned cpu)
{
	uint64_t rng = thread_seed(cpu), low = (cpu - COPIERS) * SHARE;

	while (atomic_load(&vmio_copiers) != 0) {
		unsigned asked = atomic_exchange(&wanted[cpu], 0);
		uint64_t page = asked != 0 ? asked - 1 : low + random_below(&rng, SHARE);

		if (page == PAGES || (cpu == COPIERS && random_below(&rng, 8) == 0))
			table_map(1, leaves);
		else
			change(&rng, page, low + SHARE - page);
		epoch_poll();
		for (uint64_t i = random_below(&rng, 8); i > 0 && !wanted[cpu]; i--)
			cpu_relax();
	}
}

/* --- what comes between a walk and its copy --------------------------------------------------- */

static struct pt_ops slow_ops;
static struct {
	uint64_t rng;
} __attribute__((aligned(64))) slow[CPUS];

static void sometimes_wait(uint64_t at, unsigned one_in)
{
	uint64_t page = at >= table_gpa(1) ? PAGES : (at - VMIO_BASE) / PAGE_SIZE;

	if (page <= PAGES && random_below(&slow[cpu_id()].rng, one_in) == 0)
		vmio_wait_for_change(page);
}

static struct pt_place slow_place(const struct pt *pt, uint64_t va, pt_attr_t needs)
{
	struct pt_place found = npt_ops.place(pt, va, needs);

	sometimes_wait(va, 32);
	return found;
}

/* Whoever has to be brought in was, perhaps. */
static int slow_fault(void *context, gpa_t at, pt_attr_t want)
{
	(void)context;
	sometimes_wait(at.gpa, 64);
	return (vm_lookup(&vmio_space, at).attr & want) != 0 ? 0 : -EFAULT;
}

/* --- all together ----------------------------------------------------------------------------- */

static void worker(unsigned cpu)
{
	if (cpu < COPIERS)
		vmio_copier(cpu);
	else
		changer(cpu);
}

static void kick(unsigned cpu)
{
	(void)cpu;
}

static void fail(const char *text)
{
	printf("  owners: %s\n", text);
	check_failed("owners", __FILE__, __LINE__);
}

static void left(void *context, const struct owner_slot *slot)
{
	(void)context;
	printf("  a claim is left: %s of [0x%llx, 0x%llx)\n", slot->party.who,
	       (unsigned long long)slot->first, (unsigned long long)slot->end);
	check_failed("a claim is left", __FILE__, __LINE__);
}

void vmio_nobody(struct vm_space *space)
{
	CHECK(owner_audit(space, fail) == 0);
	owner_each(space, left, NULL);
}

uint64_t vmio_ops(void)
{
	return random_env("VMIO_OPS", 100000);
}

static void guests_make(void)
{
	struct vm_cursor c;

	slow_ops = npt_ops;
	slow_ops.place = slow_place;
	CHECK(vm_space_init(&vmio_space, &slow_ops) == 0);
	vm_space_set_fault_handler(&vmio_space, slow_fault, NULL);
	tables_make();
	CHECK(vm_space_init(&vmio_other, &npt_ops) == 0);
	open_pages(&vmio_other, &c, 0, PAGES);
	for (unsigned i = 0; i < PAGES; i++)
		CHECK(vm_map(&c, frame_alloc(0, FRAME_GUEST, ALLOC_ZERO), PT_RW | PT_MEM_WB) == 0);
	vm_cursor_close(&c);
	vmio_mode = (struct gva_mode){
		.cr0 = CR0_PG | CR0_PE,
		.cr3 = table_gpa(4),
		.cr4 = CR4_PAE,
		.efer = EFER_LMA | EFER_LME,
		.maxphyaddr = 46,
	};
}

static void guests_gone(void)
{
	vmio_nobody(&vmio_space);
	vmio_nobody(&vmio_other);
	vm_space_destroy(&vmio_space);
	vm_space_destroy(&vmio_other);
	threads_settle(CPUS);
}

/* That it was what it is meant to be: a page changed under at least one copy of fifty. */
static void check_counts(void)
{
	struct vmio_counts *n = &vmio_counts;
	typedef unsigned long long ull;

	CHECK(n->bytes_read != 0 && n->bytes_written != 0 && n->faults != 0 && n->busy != 0);
	CHECK(n->walked != 0 && n->walks_busy != 0);
	CHECK(n->overtaken * 50 >= n->copies);
	printf("  %llu bytes read, %llu written, %llu walks and %llu busy ones, %llu faults, %llu "
	       "busy, %llu changes, "
	       "%llu of %llu copies under one\n",
	       (ull)n->bytes_read, (ull)n->bytes_written, (ull)n->walked, (ull)n->walks_busy,
	       (ull)n->faults, (ull)n->busy, (ull)n->changes, (ull)n->overtaken, (ull)n->copies);
}

void test_vmio(void)
{
	struct frame_account account;
	uint64_t before;

	arena_init(UINT64_C(64) << 20);
	npt_setup(true, 46);
	frame_set_destructor(FRAME_GUEST, frame_ends);
	tlb_set_kick(kick);
	frame_account(&account);
	before = account.by_kind[FRAME_FREE];
	for (unsigned i = 0; i < CPUS; i++)
		slow[i].rng = thread_seed(CPUS + i);
	guests_make();
	atomic_store(&vmio_copiers, COPIERS);
	threads_run(CPUS, worker);
	guests_gone();
	check_counts();
	frame_set_destructor(FRAME_GUEST, NULL);
	vmio_marks();
	frame_account(&account);
	CHECK(account.by_kind[FRAME_FREE] == before);
	arena_fini();
}
