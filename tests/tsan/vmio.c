/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Threads that copy to and from a guest while others map, unmap and protect its pages.
 *
 *      a page      stamps: which frame, which page, which word     data: what was written last
 *                  0 ............................. 255             256 ..................... 511
 *
 *   states     of each page before a change begins and after it has ended: what a copy between the
 *              two may see. Where nothing changed meanwhile the outcome is known exactly.
 *   stamps     all words of a page that one copy reads come from one frame, of that page, mapped at
 *              the time; a frame that is given back is stamped over
 *   shadow     what each word of data was last written with, in plain memory that only ownership
 *              protects: two parties at once are a data race, a lost byte is a word that differs
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

#define CPUS	 4
#define COPIERS	 2
#define PAGES	 64
#define SHARE	 (PAGES / (CPUS - COPIERS)) /* pages of one changer */
#define WORDS	 512
#define DATA	 256 /* the first word of data */
#define BASE	 SIZE_1G
#define GONE	 UINT64_C(0xdeadbeefdeadbeef)
#define MAX_READ (3 * WORDS)
#define LIST	 3
#define READS	 8 /* of one remembered page */
#define VIRTUAL	 UINT64_C(0x0000123456700000)
#define PRESENT	 7 /* writable, for everybody */

/* A state of a page: version << 34 | stamp << 4 | rights. The stamp is the version in which the
 * frame was mapped. */
typedef uint64_t state_t;

struct word {
	uint64_t value;
	state_t before, after; /* of its page, around the write */
};

static struct vm_space space;
static _Atomic state_t ended[PAGES], begun[PAGES];
static struct word shadow[PAGES][WORDS - DATA];
static _Atomic unsigned copiers;
static _Atomic uint64_t bytes_read, bytes_written, faults, busy, overtaken, changes, walked;
static const struct vm_use use = { .who = "copier" };
static const uint64_t *leaves; /* the last table, for the changer that moves it */
static struct gva_mode mode;
static struct gva_result virtual_fault[COPIERS];
static struct vm_virtual virtual[COPIERS];

static uint64_t state_stamp(state_t s)
{
	return s >> 4 & 0x3fffffff;
}

static pt_attr_t state_rights(state_t s)
{
	return s & 15;
}

static uint64_t page_gpa(uint64_t page)
{
	return BASE + page * PAGE_SIZE;
}

static uint64_t tag(uint64_t stamp, uint64_t page, uint64_t word)
{
	return stamp << 16 | page << 9 | word;
}

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
		words[i] = i < DATA ? tag(stamp, page, i) : 0;
	return f;
}

/* The pages' next state: told before it begins. Only their changer writes it. */
static void change_begin(uint64_t first, uint64_t end, bool maps, pt_attr_t rights)
{
	for (uint64_t page = first; page < end; page++) {
		state_t s = atomic_load(&ended[page]);
		uint64_t version = (s >> 34) + 1;
		pt_attr_t now = maps || state_rights(s) != 0 ? rights : 0;

		atomic_store(&begun[page],
			     version << 34 | (maps ? version : state_stamp(s)) << 4 | now);
	}
}

static void change_end(uint64_t first, uint64_t end)
{
	for (uint64_t page = first; page < end; page++)
		atomic_store(&ended[page], atomic_load(&begun[page]));
	atomic_fetch_add_explicit(&changes, 1, memory_order_relaxed);
}

static void change(uint64_t *rng, uint64_t low)
{
	uint64_t first = low + random_below(rng, SHARE), end, n;
	pt_attr_t rights = random_below(rng, 4) != 0 ? PT_RW : PT_READ;
	unsigned what = (unsigned)random_below(rng, 4);
	struct frame *f = NULL;
	struct vm_cursor c;

	end = first + 1 + (what > 1 ? random_below(rng, low + SHARE - first) % 4 : 0);
	if (what < 2)
		f = frame_new(first, (atomic_load(&ended[first]) >> 34) + 1);
	if (what < 2 && f == NULL)
		return;
	change_begin(first, end, what < 2, what == 2 ? 0 : rights);
	CHECK(vm_cursor_open(&c, &space, gpa(page_gpa(first)), gpa(page_gpa(end)), VM_CHANGE) == 0);
	if (what < 2)
		CHECK(vm_map(&c, f, rights | PT_MEM_WB) == 0);
	else if (what == 2)
		CHECK(vm_unmap(&c, (end - first) * PAGE_SIZE, &n) == 0);
	else
		CHECK(vm_protect(&c, (end - first) * PAGE_SIZE, rights | PT_MEM_WB, &n) == 0);
	vm_cursor_close(&c);
	change_end(first, end);
}

/*
 * The guest's own tables: VIRTUAL + 4 KiB * i is some page of the window, another one each time
 * that somebody writes the entry. They lie behind the window, and the last one moves to another
 * frame now and then.
 */
static uint64_t table_gpa(unsigned level)
{
	return page_gpa(PAGES + level);
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
	CHECK(vm_cursor_open(&c, &space, gpa(table_gpa(level)), gpa(table_gpa(level) + PAGE_SIZE),
			     VM_CHANGE) == 0);
	CHECK(vm_map(&c, f, PT_RW | PT_MEM_WB) == 0);
	vm_cursor_close(&c);
	if (level == 1)
		leaves = words;
}

static void tables_make(void)
{
	uint64_t entries[WORDS];

	for (unsigned level = 1; level <= 4; level++) {
		memset(entries, 0, sizeof(entries));
		for (unsigned i = 0; level == 1 && i < PAGES; i++)
			entries[pt_index(VIRTUAL, 1) + i] = page_gpa(i) | PRESENT;
		if (level > 1)
			entries[pt_index(VIRTUAL, level)] = table_gpa(level - 1) | PRESENT;
		table_map(level, entries);
	}
}

static void changer(unsigned cpu)
{
	uint64_t rng = thread_seed(cpu), low = (cpu - COPIERS) * SHARE;

	while (atomic_load(&copiers) != 0) {
		if (cpu == COPIERS && random_below(&rng, 8) == 0)
			table_map(1, leaves);
		else
			change(&rng, low);
		epoch_poll();
		for (uint64_t i = random_below(&rng, 8); i > 0; i--)
			cpu_relax();
	}
}

/* --- what a copy may have seen ---------------------------------------------------------------- */

static void states_get(_Atomic state_t *from, uint64_t first, uint64_t n, state_t *to)
{
	for (uint64_t i = 0; i < n; i++)
		to[i] = atomic_load(&from[first + i]);
}

/* One word of data of a page, while it was in the states `b` to `a`. */
static void check_data(const struct word *w, uint64_t value, state_t b, state_t a)
{
	if (state_stamp(b) > state_stamp(w->after))
		CHECK(value == 0); /* in a frame that is younger */
	else if (state_stamp(w->before) == state_stamp(a))
		CHECK(value == w->value); /* in the frame that it was written to */
	else
		CHECK(value == 0 || value == w->value);
}

/* Words [word, word + n) of a page were read while it was in the states `b` to `a`. */
static void check_words(const uint64_t *got, uint64_t page, uint64_t word, uint64_t n, state_t b,
			state_t a)
{
	uint64_t stamp = got[0] >> 16;

	for (uint64_t i = 0; i < n; i++) {
		if (word + i >= DATA) {
			check_data(&shadow[page][word + i - DATA], got[i], b, a);
			continue;
		}
		CHECK(stamp >= state_stamp(b) && stamp <= state_stamp(a));
		CHECK(got[i] == tag(stamp, page, word + i));
	}
}

/*
 * `done` of `len` bytes from byte `at` of the window; the pages were in the states b[] before and
 * a[] after. A page that did not change meanwhile was copied if and only if it allows it.
 */
static void check_count(uint64_t at, uint64_t len, uint64_t done, int err, pt_attr_t want,
			const state_t *b, const state_t *a)
{
	uint64_t first = at / PAGE_SIZE, stop = (at + done) / PAGE_SIZE;

	CHECK(err == 0 ? done == len : err == -EFAULT && done < len);
	CHECK(err == 0 || done == 0 || (at + done) % PAGE_SIZE == 0);
	for (uint64_t page = first; page * PAGE_SIZE < at + len && page <= stop; page++) {
		state_t before = b[page - first], after = a[page - first];
		uint64_t from = page == first ? at : page * PAGE_SIZE;
		bool copied = from < at + done;

		if (before != after)
			atomic_fetch_add_explicit(&overtaken, 1, memory_order_relaxed);
		else if (copied || err != 0)
			CHECK(copied == ((state_rights(before) & want) != 0));
	}
	atomic_fetch_add_explicit(&faults, err != 0, memory_order_relaxed);
}

/* --- the copiers ------------------------------------------------------------------------------ */

/* Each of these is one operation, but for read_words: eight. */
static void read_range(uint64_t *rng)
{
	uint64_t word = random_below(rng, PAGES * WORDS), n = 1 + random_below(rng, MAX_READ);
	state_t b[5], a[5];
	uint64_t got[MAX_READ], done, i = 0;
	struct vm_writer to = vm_writer_of(&got);
	struct vm_reader r;
	int err;

	n = n < PAGES * WORDS - word ? n : PAGES * WORDS - word;
	CHECK(vm_reader_guest(&r, &space, gpa(BASE + word * 8), n * 8, &use) == 0);
	if (vm_io_activate(&r.io) != 0) {
		atomic_fetch_add_explicit(&busy, 1, memory_order_relaxed);
		return;
	}
	states_get(ended, word / WORDS, (word + n - 1) / WORDS - word / WORDS + 1, b);
	err = vm_copy(&r, &to, UINT64_MAX, &done);
	states_get(begun, word / WORDS, (word + n - 1) / WORDS - word / WORDS + 1, a);
	CHECK(vm_remain(&r) == n * 8 - done && vm_avail(&to) == sizeof(got) - done);
	check_count(word * 8, n * 8, done, err, PT_READ, b, a);
	while (i < done / 8) {
		uint64_t page = (word + i) / WORDS, first = (word + i) % WORDS;
		uint64_t some = WORDS - first < done / 8 - i ? WORDS - first : done / 8 - i;

		check_words(got + i, page, first, some, b[page - word / WORDS],
			    a[page - word / WORDS]);
		i += some;
	}
	atomic_fetch_add_explicit(&bytes_read, done, memory_order_relaxed);
	vm_io_dispose(&r.io);
	vm_io_remove(&r.io);
}

/* Word by word in one epoch section, so that the page last used is remembered: each word by itself
 * is from a frame that was there when it was read. */
static void read_words(uint64_t *rng)
{
	uint64_t first = random_below(rng, PAGES - 1), value = 0;
	struct vm_reader r;

	CHECK(vm_reader_guest(&r, &space, gpa(page_gpa(first)), 2 * PAGE_SIZE, &use) == 0);
	if (vm_io_activate(&r.io) != 0) {
		atomic_fetch_add_explicit(&busy, 1, memory_order_relaxed);
		return;
	}
	epoch_enter();
	for (unsigned i = 0; i < READS; i++) {
		/* Often from the end of the one page to the start of the other: it is looked up
		 * ahead. */
		uint64_t word = random_below(rng, 2) ? WORDS - 2 + i % 4
						     : random_below(rng, 2 * WORDS);
		uint64_t page = first + word / WORDS;
		state_t b = atomic_load(&ended[page]), a;
		int err;

		if (random_below(rng, 16) == 0)
			cpu_relax();
		CHECK(vm_io_seek(&r.io, word * 8) == 0);
		err = i != 6 ? vm_read_val(&r, &value) : vm_read_once(&r, 8, &value);
		a = atomic_load(&begun[page]);
		check_count(first * PAGE_SIZE + word * 8, 8, err == 0 ? 8 : 0, err, PT_READ, &b,
			    &a);
		if (err == 0)
			check_words(&value, page, word % WORDS, 1, b, a);
	}
	epoch_exit();
	vm_io_dispose(&r.io);
	vm_io_remove(&r.io);
}

/* The words of data that were written, in the order of the list. */
static void write_note(const struct vm_range *list, const uint64_t *from, uint64_t done,
		       const state_t *b, const state_t *a)
{
	for (unsigned i = 0; i < LIST; i++) {
		uint64_t page = (list[i].at.gpa - BASE) / PAGE_SIZE;
		uint64_t word = list[i].at.gpa % PAGE_SIZE / 8 - DATA;

		for (uint64_t k = 0; k < list[i].len / 8 && done != 0; k++, done -= 8)
			shadow[page][word + k] = (struct word){ *from++, b[i], a[i] };
	}
}

/* Some data of three neighbouring pages, as a device with a scatter list writes it. */
static void write_list(uint64_t *rng, uint64_t *sequence)
{
	uint64_t page = random_below(rng, PAGES - LIST), from[LIST * DATA], done, rest;
	struct vm_range list[LIST];
	struct vm_reader r;
	struct vm_writer w;
	state_t b[LIST], a[LIST];
	uint64_t n = 0;
	int err;

	for (unsigned i = 0; i < LIST; i++) {
		uint64_t word = random_below(rng, DATA), words = random_below(rng, DATA - word + 1);

		list[i] = (struct vm_range){ gpa(page_gpa(page + i) + (DATA + word) * 8),
					     words * 8 };
		n += words;
	}
	for (uint64_t i = 0; i < n; i++)
		from[i] = ++*sequence;
	r = vm_reader_host(from, n * 8);
	CHECK(vm_writer_list(&w, &space, list, LIST, &use) == 0);
	if (vm_io_activate(&w.io) != 0) {
		atomic_fetch_add_explicit(&busy, 1, memory_order_relaxed);
		return;
	}
	states_get(ended, page, LIST, b);
	err = vm_copy(&r, &w, UINT64_MAX, &done);
	states_get(begun, page, LIST, a);
	CHECK(vm_avail(&w) == n * 8 - done && vm_remain(&r) == n * 8 - done);
	rest = done;
	CHECK(err == 0 ? done == n * 8 : err == -EFAULT && done < n * 8);
	for (unsigned i = 0; i < LIST; i++) {
		uint64_t part = rest < list[i].len ? rest : list[i].len;

		if (list[i].len == 0)
			continue;
		check_count((page + i) * PAGE_SIZE, list[i].len, part, part != 0 ? 0 : err,
			    PT_WRITE, &b[i], &a[i]);
		if (part == 0)
			break;
		rest -= part;
	}
	write_note(list, from, done, b, a);
	atomic_fetch_add_explicit(&bytes_written, done, memory_order_relaxed);
	vm_io_dispose(&w.io);
	vm_io_remove(&w.io);
}

/* The mark of a page that has not changed since we wrote to it. */
static void check_dirty(uint64_t page, state_t b)
{
	struct pt_hit hit;

	epoch_enter();
	hit = vm_lookup(&space, gpa(page_gpa(page)));
	epoch_exit();
	if (atomic_load(&begun[page]) == b)
		CHECK((hit.attr & PT_DIRTY) != 0);
}

/* An exchange with what was written last finds it, or a younger frame's zero. */
static void exchange(uint64_t *rng, uint64_t *sequence)
{
	uint64_t page = random_below(rng, PAGES), word = random_below(rng, WORDS - DATA);
	struct word *s = &shadow[page][word];
	uint64_t new = ++*sequence, old;
	struct vm_writer w;
	state_t b, a;
	int err;

	CHECK(vm_writer_guest(&w, &space, gpa(page_gpa(page) + (DATA + word) * 8), 8, &use) == 0);
	if (vm_io_activate(&w.io) != 0) {
		atomic_fetch_add_explicit(&busy, 1, memory_order_relaxed);
		return;
	}
	old = s->value;
	b = atomic_load(&ended[page]);
	err = vm_compare_exchange(&w, 8, &old, new);
	a = atomic_load(&begun[page]);
	if (err == 0 || err == -EAGAIN)
		check_data(s, old, b, a);
	check_count(page * PAGE_SIZE + (DATA + word) * 8, 8, err == -EFAULT ? 0 : 8,
		    err == -EAGAIN ? 0 : err, PT_WRITE, &b, &a);
	if (err == 0)
		*s = (struct word){ new, b, a };
	if (err == 0 && a == b)
		check_dirty(page, b);
	vm_io_dispose(&w.io);
	vm_io_remove(&w.io);
}

/* Some stamps through the guest's tables: all of one page, whichever the entry named. */
static void read_virtual(unsigned cpu, uint64_t *rng)
{
	uint64_t i = random_below(rng, PAGES), word = random_below(rng, DATA - 8);
	uint64_t n = 1 + random_below(rng, 8), got[8], done, page;
	struct vm_writer to = vm_writer_host(got, n * 8);
	state_t b[PAGES];
	struct vm_reader r;
	int err;

	vm_reader_virtual(&r, &space, gva(VIRTUAL + i * PAGE_SIZE + word * 8), n * 8, &virtual[cpu],
			  &use);
	CHECK(vm_io_activate(&r.io) == 0);
	states_get(ended, 0, PAGES, b);
	err = vm_copy(&r, &to, UINT64_MAX, &done);
	CHECK(err == 0 ? done == n * 8 : (err == -EFAULT || err == -EBUSY || err == -EAGAIN));
	/* The guest's tables always allow it. */
	CHECK(err != -EFAULT || virtual_fault[cpu].outcome == GVA_OK);
	page = err == 0 ? got[0] >> 9 & 127 : 0;
	CHECK(page < PAGES);
	if (err == 0 && page < PAGES)
		check_words(got, page, word, n, b[page], atomic_load(&begun[page]));
	atomic_fetch_add_explicit(&walked, err == 0, memory_order_relaxed);
	vm_io_dispose(&r.io);
	vm_io_remove(&r.io);
}

/* The guest writes an entry of its tables. */
static void flip(uint64_t *rng)
{
	uint64_t at = table_gpa(1) + 8 * (pt_index(VIRTUAL, 1) + random_below(rng, PAGES));
	uint64_t entry = page_gpa(random_below(rng, PAGES)) | PRESENT;
	int err = vm_write_guest(&space, gpa(at), &entry, 8, &use);

	CHECK(err == 0 || err == -EBUSY);
}

static void copier(unsigned cpu)
{
	uint64_t rng = thread_seed(cpu), sequence = (uint64_t)(cpu + 1) << 48;
	uint64_t ops = vmio_ops() / COPIERS;

	/* On a machine that is busy with other things threads may come after each other. */
	for (uint64_t done = 0; done < ops || (overtaken == 0 && done < 100 * ops); done++) {
		switch (random_below(&rng, 10)) {
		case 0:
			read_range(&rng);
			break;
		case 1:
			write_list(&rng, &sequence);
			break;
		case 2: /* the guest runs for a moment */
			tlb_enter(&space.pt.tlb);
			tlb_leave(&space.pt.tlb);
			break;
		case 3:
		case 4:
			exchange(&rng, &sequence);
			break;
		case 8:
			read_virtual(cpu, &rng);
			break;
		case 9:
			flip(&rng);
			break;
		default:
			read_words(&rng);
			done += READS - 1;
		}
	}
	atomic_fetch_sub(&copiers, 1);
}

static void worker(unsigned cpu)
{
	if (cpu < COPIERS)
		copier(cpu);
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

void vmio_nobody(const struct vm_space *s)
{
	CHECK(owner_audit(s, fail) == 0);
	owner_each(s, left, NULL);
}

uint64_t vmio_ops(void)
{
	return random_env("VMIO_OPS", 100000);
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
	memset(shadow, 0, sizeof(shadow));
	for (unsigned i = 0; i < PAGES; i++) {
		atomic_store(&ended[i], 0);
		atomic_store(&begun[i], 0);
	}
	CHECK(vm_space_init(&space, &npt_ops) == 0);
	tables_make();
	mode = (struct gva_mode){
		.cr0 = CR0_PG | CR0_PE,
		.cr3 = table_gpa(4),
		.cr4 = CR4_PAE,
		.efer = EFER_LMA | EFER_LME,
		.maxphyaddr = 46,
	};
	for (unsigned i = 0; i < COPIERS; i++)
		virtual[i] = (struct vm_virtual){ .mode = &mode, .fault = &virtual_fault[i] };
	atomic_store(&copiers, COPIERS);
	threads_run(CPUS, worker);
	vmio_nobody(&space);
	vm_space_destroy(&space);
	threads_settle(CPUS);
	frame_account(&account);
	CHECK(account.by_kind[FRAME_FREE] == before);
	CHECK(bytes_read != 0 && bytes_written != 0 && faults != 0 && busy != 0 && overtaken != 0);
	CHECK(walked != 0);
	printf("  %llu bytes read, %llu written, %llu walks, %llu faults, %llu busy, %llu changes, "
	       "%llu under a copy\n",
	       (unsigned long long)bytes_read, (unsigned long long)bytes_written,
	       (unsigned long long)walked, (unsigned long long)faults, (unsigned long long)busy,
	       (unsigned long long)changes, (unsigned long long)overtaken);
	frame_set_destructor(FRAME_GUEST, NULL);
	vmio_marks();
	arena_fini();
}
