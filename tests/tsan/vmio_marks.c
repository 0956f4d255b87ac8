/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Threads that write to a guest by every call there is, while others take the marks of what was
 * written, cut large pages into small ones and join them again, or take pages away: whoever goes by
 * the marks misses nothing.
 *
 *      writers 0, 1     each to windows of its own; `mine` is what it has written there
 *      collector        takes the dirty marks, waits for a grace period, keeps what those pages
 *                       hold: in the end what it has kept is what is there
 *      shaper           splits and joins the areas of 2 MiB
 *      pager            takes a page out: what was clean is as it was kept the time before
 */
#include <stdio.h>
#include <string.h>

#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "tests/host/random.h"
#include "tests/tsan/threads.h"
#include "tests/tsan/vmio.h"

#define WRITERS 2
#define AREAS	2
#define BYTES	(AREAS * SIZE_2M)
#define WINDOW	(32 * PAGE_SIZE) /* of one writer in an area */
#define LONGEST (4 * PAGE_SIZE)

static struct vm_space space;
static uint8_t kept[BYTES];
static uint8_t *area[AREAS]; /* their bytes */
static uint8_t mine[WRITERS][AREAS][WINDOW], from[WRITERS][LONGEST], back[WRITERS][LONGEST];
static _Atomic unsigned writers;
static _Atomic uint64_t done, overtaken, collected, splits, joins, clean, dirty, missed;
static const struct vm_use use = { .who = "marks" };
static struct gva_mode flat = { .maxphyaddr = 46 };

static void count(_Atomic uint64_t *what, uint64_t n)
{
	atomic_fetch_add_explicit(what, n, memory_order_relaxed);
}

static void map_block(uint64_t at, struct frame *f)
{
	struct vm_cursor c;

	CHECK(vm_cursor_open(&c, &space, gpa(at), gpa(at + (PAGE_SIZE << f->order)), VM_CHANGE) ==
	      0);
	CHECK(vm_map(&c, f, PT_RWX | PT_MEM_WB) == 0);
	vm_cursor_close(&c);
}

/* Between a walk and what is then written others have a turn, now and then. */
static struct pt_ops slow_ops;

static struct pt_place slow_place(const struct pt *pt, uint64_t va, pt_attr_t needs)
{
	static _Thread_local uint64_t rng; /* the same in each run: only a rhythm */
	struct pt_place found = npt_ops.place(pt, va, needs);

	if (random_below(&rng, 16) == 0)
		for (unsigned i = 0; i < 4; i++)
			cpu_relax();
	return found;
}

/* --- writers of windows ----------------------------------------------------------------------- */

/* Where a writer writes now. */
struct job {
	struct vm_writer w;
	struct vm_virtual virt;
	uint8_t *mine;
	const uint8_t *from;
	uint64_t at, len;
	uint64_t rng;
};

static void write_steps(struct job *j)
{
	uint64_t step = j->at % PAGE_SIZE == 0 && random_below(&j->rng, 2) != 0
				? PAGE_SIZE
				: 1 + random_below(&j->rng, 600);

	for (uint64_t off = 0; off < j->len;) {
		uint64_t n = j->len - off < step ? j->len - off : step;

		CHECK(vm_write_bytes(&j->w, j->from + off, n) == 0);
		off += n;
	}
	memcpy(j->mine, j->from, j->len);
}

/* Words through the page last used. */
static void write_values(struct job *j)
{
	uint64_t n = j->len < 64 * 8 ? j->len / 8 : 64;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t value;

		memcpy(&value, j->from + 8 * i, 8);
		if (i % 16 == 7)
			cpu_relax();
		CHECK(vm_write_val(&j->w, &value) == 0);
	}
	memcpy(j->mine, j->from, n * 8);
}

/* Single words, from the first one that is aligned. */
static void write_words(struct job *j)
{
	uint64_t off = -j->at & 7;

	if (off + 8 > j->len)
		return;
	vm_io_skip(&j->w.io, off);
	for (unsigned i = 0; i < 50 && off + 8 <= j->len; i++, off += 8) {
		uint64_t old = 1, value, was;

		memcpy(&value, j->from + off, 8);
		memcpy(&was, j->mine + off, 8);
		switch (i % 3) {
		case 0:
			CHECK(vm_write_once(&j->w, 8, value) == 0);
			break;
		case 1:
			CHECK(vm_fetch_or(&j->w, 8, value, &old) == 0);
			CHECK(old == was);
			value |= was;
			vm_io_skip(&j->w.io, 8);
			break;
		default:
			old = was;
			CHECK(vm_compare_exchange(&j->w, 8, &old, value) == 0);
			vm_io_skip(&j->w.io, 8);
		}
		memcpy(j->mine + off, &value, 8);
	}
}

static void write_some(struct job *j, unsigned what)
{
	struct vm_reader r = vm_reader_host(j->from, j->len);
	uint64_t n = 0;

	switch (what) {
	case 0:
		CHECK(vm_fill(&j->w, j->from[0], j->len, &n) == 0 && n == j->len);
		memset(j->mine, j->from[0], j->len);
		break;
	case 1:
		write_steps(j);
		break;
	case 2:
		write_values(j);
		break;
	case 3:
		write_words(j);
		break;
	default:
		CHECK(vm_copy(&r, &j->w, UINT64_MAX, &n) == 0 && n == j->len);
		memcpy(j->mine, j->from, j->len);
	}
}

/* One write of a window, and then what it has written is there. */
static void write_window(unsigned cpu, struct job *j)
{
	uint64_t a = random_below(&j->rng, AREAS), before = vm_page_watch(&space);
	unsigned what = (unsigned)random_below(&j->rng, 6);
	bool inside = random_below(&j->rng, 2) != 0;
	uint64_t off = random_below(&j->rng, WINDOW - LONGEST), start = a * SIZE_2M + cpu * WINDOW;

	j->len = 1 + random_below(&j->rng, random_below(&j->rng, 4) != 0 ? 600 : LONGEST);
	if (random_below(&j->rng, 4) == 0)
		off &= ~(PAGE_SIZE - 1);
	j->at = start + off;
	j->mine = &mine[cpu][a][off];
	for (uint64_t i = 0; i < j->len; i += 8) {
		uint64_t word = random_next(&j->rng);

		memcpy(&from[cpu][i], &word, 8);
	}
	if (what == 5)
		vm_writer_virtual(&j->w, &space, gva(j->at), j->len, &j->virt, &use);
	else
		CHECK(vm_writer_guest(&j->w, &space, gpa(j->at), j->len, &use) == 0);
	CHECK(vm_io_activate(&j->w.io) == 0);
	if (inside)
		epoch_enter();
	write_some(j, what);
	if (inside)
		epoch_exit();
	vm_io_dispose(&j->w.io);
	vm_io_remove(&j->w.io);
	CHECK(vm_read_guest(&space, gpa(j->at), back[cpu], j->len, &use) == 0);
	CHECK(memcmp(back[cpu], j->mine, j->len) == 0);
	count(&overtaken, vm_page_peek(&space) != before);
	count(&done, 1);
	epoch_poll();
}

static void window_writer(unsigned cpu)
{
	struct gva_result fault;
	struct job j = {
		.virt = { .mode = &flat, .fault = &fault },
		.from = from[cpu],
		.rng = thread_seed(cpu),
	};

	for (uint64_t i = vmio_ops() / 20 / WRITERS; i > 0; i--)
		write_window(cpu, &j);
	atomic_fetch_sub(&writers, 1);
}

/* --- collector and shaper --------------------------------------------------------------------- */

static void collect(void)
{
	static struct pt_leaf leaf[BYTES / PAGE_SIZE];
	unsigned n = 0;

	for (uint64_t a = 0; a < AREAS; a++) {
		uint64_t end = (a + 1) * SIZE_2M;
		struct vm_cursor c;

		CHECK(vm_cursor_open(&c, &space, gpa(a * SIZE_2M), gpa(end), VM_CHANGE) == 0);
		while (vm_clear_marks_next(&c, end - vm_cursor_at(&c).gpa, PT_DIRTY, &leaf[n]) == 0)
			n += (leaf[n].attr & PT_DIRTY) != 0;
		vm_cursor_close(&c);
	}
	epoch_wait();
	for (unsigned i = 0; i < n; i++)
		move_bytes(&kept[leaf[i].va], area[leaf[i].va / SIZE_2M] + leaf[i].va % SIZE_2M,
			   leaf[i].size);
	count(&collected, n);
}

/* A page that is not as it was kept has been written to since, and is marked: whoever writes marks
 * first. */
static void check_kept(uint64_t a)
{
	struct vm_cursor c;
	struct pt_leaf leaf;

	CHECK(vm_cursor_open(&c, &space, gpa(a * SIZE_2M), gpa((a + 1) * SIZE_2M), VM_READ) == 0);
	for (uint64_t off = 0; off < WRITERS * WINDOW; off += PAGE_SIZE) {
		if (memcmp(area[a] + off, &kept[a * SIZE_2M + off], PAGE_SIZE) == 0)
			continue;
		CHECK(vm_jump(&c, gpa(a * SIZE_2M + off)) == 0);
		CHECK(vm_query(&c, &leaf) == 0 && (leaf.attr & PT_DIRTY) != 0);
	}
	vm_cursor_close(&c);
}

static void collector(void)
{
	for (uint64_t i = 0; atomic_load(&writers) != 0; i++) {
		collect();
		check_kept(i % AREAS);
	}
}

static void shape(uint64_t *rng)
{
	uint64_t a = random_below(rng, AREAS), n;
	gpa_t at = gpa(a * SIZE_2M + random_below(rng, WRITERS * WINDOW / PAGE_SIZE) * PAGE_SIZE);
	struct vm_cursor c;

	CHECK(vm_cursor_open(&c, &space, gpa(a * SIZE_2M), gpa((a + 1) * SIZE_2M), VM_CHANGE) == 0);
	if (random_below(rng, 2) != 0) {
		CHECK(vm_jump(&c, at) == 0);
		CHECK(vm_protect(&c, PAGE_SIZE, PT_RWX | PT_MEM_WB, &n) == 0);
		count(&splits, 1);
	} else {
		count(&joins, vm_collapse(&c, SIZE_2M) == 0);
	}
	vm_cursor_close(&c);
	epoch_poll();
}

static void shaper(void)
{
	uint64_t rng = thread_seed(3);

	while (atomic_load(&writers) != 0) {
		shape(&rng);
		for (uint64_t i = random_below(&rng, 16); i > 0; i--)
			cpu_relax();
	}
}

static void collecting(unsigned cpu)
{
	if (cpu < WRITERS)
		window_writer(cpu);
	else if (cpu == WRITERS)
		collector();
	else
		shaper();
}

static void test_collector(void)
{
	uint64_t lost = 0;

	for (uint64_t a = 0; a < AREAS; a++) {
		struct frame *f = frame_alloc(FRAME_ORDER_2M, FRAME_GUEST, ALLOC_ZERO);

		CHECK(f != NULL);
		area[a] = frame_bytes(f);
		map_block(a * SIZE_2M, f);
	}
	memset(kept, 0, sizeof(kept));
	memset(mine, 0, sizeof(mine));
	atomic_store(&writers, WRITERS);
	threads_run(WRITERS + 2, collecting);
	collect();
	for (uint64_t i = 0; i < BYTES; i += PAGE_SIZE)
		lost += memcmp(area[i / SIZE_2M] + i % SIZE_2M, kept + i, PAGE_SIZE) != 0;
	CHECK(lost == 0);
	for (uint64_t i = 0; i < AREAS * WRITERS; i++)
		CHECK(memcmp(area[i / WRITERS] + i % WRITERS * WINDOW,
			     mine[i % WRITERS][i / WRITERS], WINDOW) == 0);
	CHECK(collected != 0 && splits != 0 && joins != 0 && overtaken != 0);
	printf("  %llu writes, %llu of them under a change, %llu pages collected, %llu splits, "
	       "%llu joins\n",
	       (unsigned long long)done, (unsigned long long)overtaken,
	       (unsigned long long)collected, (unsigned long long)splits,
	       (unsigned long long)joins);
}

/* --- pager ------------------------------------------------------------------------------------ */

#define PAGES 8
#define WORDS (PAGE_SIZE / 8)

static struct frame *frames[PAGES];
static uint64_t last[PAGES][WORDS]; /* written with success; of each writer every second one */

/* Of a page that is out: a moment later it may be back, but nobody waits for it in a section that
 * the pager waits for. */
static int page_fault(void *context, gpa_t at, pt_attr_t want)
{
	(void)context;
	(void)want;
	cpu_relax();
	return vm_lookup(&space, at).level != 0 ? 0 : -EFAULT;
}

static int write_paged(struct vm_writer *w, unsigned what, uint64_t *word, uint64_t value)
{
	uint64_t old = *word;
	int err;

	switch (what) {
	case 0:
		err = vm_write_once(w, 8, value);
		break;
	case 1:
		err = vm_compare_exchange(w, 8, &old, value);
		break;
	case 2:
		err = vm_fetch_or(w, 8, value, &old);
		CHECK(err != 0 || old == *word);
		value |= *word;
		break;
	default:
		err = vm_write_val(w, &value);
	}
	CHECK(err == 0 || err == -EFAULT);
	if (err == 0)
		*word = value;
	return err;
}

/* Some words of a page in one section, so that it is remembered. */
static void write_page(unsigned cpu, uint64_t *rng)
{
	uint64_t page = random_below(rng, PAGES), before = vm_page_peek(&space);
	struct vm_writer w;

	for (unsigned i = 0; i < 8; i++) {
		uint64_t word = random_below(rng, WORDS / 2) * 2 + cpu, got;
		uint64_t at = page * PAGE_SIZE + word * 8;

		CHECK(vm_writer_guest(&w, &space, gpa(at), 8, &use) == 0);
		CHECK(vm_io_activate(&w.io) == 0);
		epoch_enter();
		if (i % 4 == 3)
			cpu_relax();
		if (write_paged(&w, (unsigned)random_below(rng, 4), &last[page][word],
				random_next(rng)) != 0)
			count(&missed, 1);
		epoch_exit();
		vm_io_dispose(&w.io);
		vm_io_remove(&w.io);
		if (i == 0 && vm_read_guest(&space, gpa(at), &got, 8, &use) == 0)
			CHECK(got == last[page][word]);
	}
	count(&overtaken, vm_page_peek(&space) != before);
	count(&done, 8);
}

static void page_writer(unsigned cpu)
{
	uint64_t rng = thread_seed(cpu);

	for (uint64_t i = vmio_ops() / 10 / 8 / WRITERS; i > 0; i--)
		write_page(cpu, &rng);
	atomic_fetch_sub(&writers, 1);
}

static void page_out(uint64_t page)
{
	gpa_t at = gpa(page * PAGE_SIZE);
	uint8_t *bytes = frame_bytes(frames[page]);
	struct pt_fragment f = { 0 };
	struct vm_cursor c;

	frame_get(frames[page]);
	CHECK(vm_cursor_open(&c, &space, at, gpa_add(at, PAGE_SIZE), VM_CHANGE) == 0);
	CHECK(vm_take_next(&c, PAGE_SIZE, &f) == 0);
	vm_cursor_close(&c);
	epoch_wait();
	if ((f.attr & PT_DIRTY) != 0) {
		move_bytes(&kept[at.gpa], bytes, PAGE_SIZE);
		count(&dirty, 1);
	} else {
		CHECK(memcmp(&kept[at.gpa], bytes, PAGE_SIZE) == 0);
		count(&clean, 1);
	}
	map_block(at.gpa, frames[page]);
	epoch_poll();
}

static void pager(void)
{
	uint64_t rng = thread_seed(WRITERS);

	while (atomic_load(&writers) != 0) {
		page_out(random_below(&rng, PAGES));
		for (uint64_t i = random_below(&rng, 4); i > 0; i--)
			cpu_relax();
	}
}

static void paging(unsigned cpu)
{
	if (cpu < WRITERS)
		page_writer(cpu);
	else
		pager();
}

static void test_pager(void)
{
	vm_space_set_fault_handler(&space, page_fault, NULL);
	for (unsigned i = 0; i < PAGES; i++) {
		frames[i] = frame_alloc(0, FRAME_GUEST, ALLOC_ZERO);
		CHECK(frames[i] != NULL);
		map_block(i * PAGE_SIZE, frames[i]);
	}
	memset(kept, 0, sizeof(kept));
	memset(last, 0, sizeof(last));
	atomic_store(&done, 0);
	atomic_store(&overtaken, 0);
	atomic_store(&writers, WRITERS);
	threads_run(WRITERS + 1, paging);
	for (unsigned i = 0; i < PAGES; i++)
		CHECK(memcmp(frame_bytes(frames[i]), last[i], PAGE_SIZE) == 0);
	CHECK(clean != 0 && dirty != 0 && missed != 0 && overtaken != 0);
	printf("  %llu words to pages of which %llu went clean and %llu dirty, %llu of them while "
	       "they were out, in %llu of %llu runs under a change\n",
	       (unsigned long long)done, (unsigned long long)clean, (unsigned long long)dirty,
	       (unsigned long long)missed, (unsigned long long)overtaken,
	       (unsigned long long)done / 8);
}

/* --- both ------------------------------------------------------------------------------------- */

static void in_a_space(void (*f)(void))
{
	slow_ops = npt_ops;
	slow_ops.place = slow_place;
	CHECK(vm_space_init(&space, &slow_ops) == 0);
	f();
	vmio_nobody(&space);
	vm_space_destroy(&space);
	threads_settle(WRITERS + 2);
}

void vmio_marks(void)
{
	in_a_space(test_collector);
	in_a_space(test_pager);
}
