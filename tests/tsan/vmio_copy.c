/* SPDX-License-Identifier: MPL-2.0 */
/* Those who copy to and from a guest whose pages change: see tests/tsan/vmio.h. */
#include <string.h>

#include "tests/host/random.h"
#include "tests/tsan/threads.h"
#include "tests/tsan/vmio.h"

#define PAGES	 VMIO_PAGES
#define WORDS	 VMIO_WORDS
#define DATA	 VMIO_DATA
#define MAX_READ (3 * WORDS)
#define LIST	 3
#define PART	 64 /* words of one range of a list, at most */
#define RUN	 8  /* words of one remembered page */

/* A copier: a device, or the emulation of a vCPU. */
struct copier {
	unsigned cpu;
	uint64_t rng, sequence;
	struct gva_result fault;
	struct vm_virtual virtual;
};

static const struct vm_use use = { .who = "copier" };
static const struct vm_use alone = { .who = "alone", .flags = VM_ALONE };

/* Odd while somebody reads the page alone. Whoever reads it is excluded by that claim only. */
static uint64_t read_alone[PAGES];

static uint64_t other_words[VMIO_COPIERS][PAGES];

static uint64_t below(struct copier *c, uint64_t n)
{
	return random_below(&c->rng, n);
}

static void states_get(_Atomic state_t *from, uint64_t first, uint64_t n, state_t *to)
{
	for (uint64_t i = 0; i < n; i++)
		to[i] = atomic_load(&from[first + i]);
}

static bool activated(struct vm_io *io)
{
	int err = vm_io_activate(io);

	CHECK(err == 0 || err == -EBUSY);
	vmio_count(&vmio_counts.busy, err != 0);
	return err == 0;
}

static void gone(struct vm_io *io)
{
	vm_io_dispose(io);
	vm_io_remove(io);
}

/* --- reads: each is one operation, but for read_words ----------------------------------------- */

static void read_range(struct copier *c)
{
	uint64_t word = below(c, PAGES * WORDS), n = 1 + below(c, MAX_READ), page = word / WORDS;
	uint64_t got[MAX_READ], done, i = 0, last;
	struct vm_writer to = vm_writer_of(&got);
	state_t b[5], a[5];
	struct vm_reader r;
	int err;

	n = n < PAGES * WORDS - word ? n : PAGES * WORDS - word;
	last = (word + n - 1) / WORDS;
	CHECK(vm_reader_guest(&r, &vmio_space, gpa(VMIO_BASE + word * 8), n * 8, &use) == 0);
	if (!activated(&r.io))
		return;
	for (uint64_t p = page; p <= last; p++)
		CHECK(read_alone[p] % 2 == 0);
	states_get(vmio_ended, page, last - page + 1, b);
	err = vm_copy(&r, &to, UINT64_MAX, &done);
	states_get(vmio_begun, page, last - page + 1, a);
	CHECK(vm_remain(&r) == n * 8 - done && vm_avail(&to) == sizeof(got) - done);
	vmio_check_count(word * 8, n * 8, done, err, PT_READ, b, a);
	while (i < done / 8) {
		uint64_t p = (word + i) / WORDS, first = (word + i) % WORDS;
		uint64_t some = WORDS - first < done / 8 - i ? WORDS - first : done / 8 - i;

		vmio_check_words(c->cpu, got + i, p, first, some, b[p - page], a[p - page]);
		i += some;
	}
	vmio_count(&vmio_counts.bytes_read, done);
	gone(&r.io);
}

/* Word by word in one epoch section, so that the page last used is remembered: each word by itself
 * is from a frame that was there when it was read. */
static void read_words(struct copier *c)
{
	uint64_t first = below(c, PAGES - 1), value = 0;
	struct vm_reader r;

	CHECK(vm_reader_guest(&r, &vmio_space, gpa(vmio_page_gpa(first)), 2 * PAGE_SIZE, &use) ==
	      0);
	if (!activated(&r.io))
		return;
	CHECK(read_alone[first] % 2 == 0 && read_alone[first + 1] % 2 == 0);
	epoch_enter();
	for (unsigned i = 0; i < RUN; i++) {
		/* Often from the end of the one page to the start of the other: it is looked up
		 * ahead. */
		uint64_t word = below(c, 2) ? WORDS - 2 + i % 4 : below(c, 2 * WORDS);
		uint64_t page = first + word / WORDS;
		state_t b = atomic_load(&vmio_ended[page]), a;
		int err;

		if (below(c, 32) == 0)
			vmio_wait_for_change(page);
		CHECK(vm_io_seek(&r.io, word * 8) == 0);
		err = i != 6 ? vm_read_val(&r, &value) : vm_read_once(&r, 8, &value);
		a = atomic_load(&vmio_begun[page]);
		vmio_check_count(first * PAGE_SIZE + word * 8, 8, err == 0 ? 8 : 0, err, PT_READ,
				 &b, &a);
		if (err == 0)
			vmio_check_words(c->cpu, &value, page, word % WORDS, 1, b, a);
	}
	epoch_exit();
	gone(&r.io);
}

/* Ranges in any pages, in any order, also the same ones. */
static void read_list(struct copier *c)
{
	uint64_t got[LIST * PART], done, rest, at = 0;
	struct vm_writer to = vm_writer_of(&got);
	struct vm_range list[LIST];
	state_t b[LIST], a[LIST];
	struct vm_reader r;
	int err;

	for (unsigned i = 0; i < LIST; i++)
		list[i] = (struct vm_range){ gpa(vmio_page_gpa(below(c, PAGES)) +
						 below(c, WORDS - PART) * 8),
					     below(c, PART + 1) * 8 };
	CHECK(vm_reader_list(&r, &vmio_space, list, LIST, &use) == 0);
	if (!activated(&r.io))
		return;
	for (unsigned i = 0; i < LIST; i++)
		b[i] = atomic_load(&vmio_ended[(list[i].at.gpa - VMIO_BASE) / PAGE_SIZE]);
	err = vm_copy(&r, &to, UINT64_MAX, &done);
	for (unsigned i = 0; i < LIST; i++)
		a[i] = atomic_load(&vmio_begun[(list[i].at.gpa - VMIO_BASE) / PAGE_SIZE]);
	vmio_check_list(list, LIST, done, err, PT_READ, b, a);
	rest = done / 8;
	for (unsigned i = 0; i < LIST && rest != 0; i++) {
		uint64_t word = (list[i].at.gpa - VMIO_BASE) / 8, n = list[i].len / 8;

		n = n < rest ? n : rest;
		CHECK(n == 0 || read_alone[word / WORDS] % 2 == 0);
		if (n != 0)
			vmio_check_words(c->cpu, got + at, word / WORDS, word % WORDS, n, b[i],
					 a[i]);
		at += n;
		rest -= n;
	}
	vmio_count(&vmio_counts.bytes_read, done);
	gone(&r.io);
}

static void read_page_alone(struct copier *c)
{
	uint64_t page = below(c, PAGES), got[PART], done;
	struct vm_writer to = vm_writer_of(&got);
	struct vm_reader r;
	state_t b, a;
	int err;

	CHECK(vm_reader_guest(&r, &vmio_space, gpa(vmio_page_gpa(page)), PAGE_SIZE, &alone) == 0);
	if (!activated(&r.io))
		return;
	CHECK(++read_alone[page] % 2 == 1);
	b = atomic_load(&vmio_ended[page]);
	err = vm_copy(&r, &to, UINT64_MAX, &done);
	a = atomic_load(&vmio_begun[page]);
	vmio_check_count(page * PAGE_SIZE, sizeof(got), done, err, PT_READ, &b, &a);
	if (err == 0)
		vmio_check_words(c->cpu, got, page, 0, PART, b, a);
	CHECK(++read_alone[page] % 2 == 0);
	gone(&r.io);
}

/* --- writes ----------------------------------------------------------------------------------- */

/* Some data of three neighbouring pages, as a device with a scatter list writes it. */
static void write_list(struct copier *c)
{
	uint64_t page = below(c, PAGES - LIST), from[LIST * DATA], done, n = 0, rest;
	struct vm_range list[LIST];
	state_t b[LIST], a[LIST];
	struct vm_reader r;
	struct vm_writer w;
	int err;

	for (unsigned i = 0; i < LIST; i++) {
		uint64_t word = DATA + below(c, VMIO_OWN - DATA);
		uint64_t words = below(c, VMIO_OWN - word + 1);

		list[i] = (struct vm_range){ gpa(vmio_page_gpa(page + i) + word * 8), words * 8 };
		n += words;
	}
	for (uint64_t i = 0; i < n; i++)
		from[i] = ++c->sequence;
	r = vm_reader_host(from, n * 8);
	CHECK(vm_writer_list(&w, &vmio_space, list, LIST, &use) == 0);
	if (!activated(&w.io))
		return;
	states_get(vmio_ended, page, LIST, b);
	err = vm_copy(&r, &w, UINT64_MAX, &done);
	states_get(vmio_begun, page, LIST, a);
	CHECK(vm_avail(&w) == n * 8 - done && vm_remain(&r) == n * 8 - done);
	vmio_check_list(list, LIST, done, err, PT_WRITE, b, a);
	rest = done / 8;
	for (unsigned i = 0; i < LIST; i++)
		for (uint64_t k = 0; k < list[i].len / 8 && rest != 0; k++, rest--)
			vmio_wrote(page + i, list[i].at.gpa % PAGE_SIZE / 8 + k,
				   from[done / 8 - rest], b[i], a[i]);
	vmio_count(&vmio_counts.bytes_written, done);
	gone(&w.io);
}

/* A claim of n words of data of some page; false: somebody is there. */
static bool claims_words(struct copier *c, uint64_t n, uint64_t *page, uint64_t *word,
			 struct vm_writer *w)
{
	*page = below(c, PAGES);
	*word = DATA + below(c, VMIO_OWN - DATA - n + 1);
	CHECK(vm_writer_guest(w, &vmio_space, gpa(vmio_page_gpa(*page) + *word * 8), n * 8, &use) ==
	      0);
	return activated(&w->io);
}

/* An exchange with what was written last finds it, or a younger frame's zero; so does fetch_or. */
static void exchange(struct copier *c)
{
	uint64_t page, word, new = ++c->sequence, old;
	bool or = below(c, 3) == 0;
	struct vmio_word *s;
	struct vm_writer w;
	state_t b, a;
	int err;

	if (!claims_words(c, 1, &page, &word, &w))
		return;
	s = &vmio_shadow[page][word - DATA];
	old = s->value;
	b = atomic_load(&vmio_ended[page]);
	err = or ? vm_fetch_or(&w, 8, new, &old) : vm_compare_exchange(&w, 8, &old, new);
	a = atomic_load(&vmio_begun[page]);
	CHECK(! or || err != -EAGAIN);
	if (err == 0 || err == -EAGAIN)
		vmio_check_data(s, old, b, a);
	vmio_check_count(page * PAGE_SIZE + word * 8, 8, err == -EFAULT ? 0 : 8,
			 err == -EAGAIN ? 0 : err, PT_WRITE, &b, &a);
	if (err == 0)
		vmio_wrote(page, word, or ? old | new : new, b, a);
	gone(&w.io);
}

/* Some words one by one through the page that the writer remembers. */
static void write_words(struct copier *c)
{
	uint64_t page, word, value;
	struct vm_writer w;

	if (!claims_words(c, RUN, &page, &word, &w))
		return;
	epoch_enter();
	for (unsigned i = 0; i < RUN; i++) {
		uint64_t k = below(c, RUN);
		state_t b = atomic_load(&vmio_ended[page]), a;
		int err;

		if (below(c, 16) == 0)
			vmio_wait_for_change(page);
		CHECK(vm_io_seek(&w.io, k * 8) == 0);
		value = ++c->sequence;
		err = i % 4 != 3 ? vm_write_val(&w, &value) : vm_write_once(&w, 8, value);
		a = atomic_load(&vmio_begun[page]);
		vmio_check_count(page * PAGE_SIZE + (word + k) * 8, 8, err == 0 ? 8 : 0, err,
				 PT_WRITE, &b, &a);
		if (err == 0)
			vmio_wrote(page, word + k, value, b, a);
	}
	epoch_exit();
	gone(&w.io);
}

static void fill(struct copier *c)
{
	uint64_t n = 1 + below(c, PART), page, word, done;
	uint8_t byte = (uint8_t)++c->sequence;
	struct vm_writer w;
	state_t b, a;
	int err;

	if (!claims_words(c, n, &page, &word, &w))
		return;
	b = atomic_load(&vmio_ended[page]);
	err = vm_fill(&w, byte, n * 8, &done);
	a = atomic_load(&vmio_begun[page]);
	vmio_check_count(page * PAGE_SIZE + word * 8, n * 8, done, err, PT_WRITE, &b, &a);
	for (uint64_t i = 0; i < done / 8; i++)
		vmio_wrote(page, word + i, byte * UINT64_C(0x0101010101010101), b, a);
	vmio_count(&vmio_counts.bytes_written, done);
	gone(&w.io);
}

/* --- through the guest's tables, and elsewhere ------------------------------------------------ */

/* Whether the outcome says something of the page: other parties and busy tables do not. */
static bool judged(const struct copier *c, int err)
{
	/* The guest's tables always allow it. */
	CHECK(err != -EFAULT || c->fault.outcome == GVA_OK);
	CHECK(err == 0 || err == -EFAULT || err == -EBUSY || c->fault.outcome == GVA_BUSY);
	vmio_count(&vmio_counts.walks_busy, err == -EBUSY);
	return err == 0 || err == -EFAULT;
}

/* Some stamps: all of one page, whichever the entry named. */
static void read_virtual(struct copier *c)
{
	uint64_t i = below(c, PAGES), word = below(c, DATA - 8), n = 1 + below(c, 8);
	uint64_t got[8], done, page;
	struct vm_writer to = vm_writer_host(got, n * 8);
	state_t b[PAGES];
	struct vm_reader r;
	int err;

	vm_reader_virtual(&r, &vmio_space, gva(VMIO_VIRTUAL + i * PAGE_SIZE + word * 8), n * 8,
			  &c->virtual, &use);
	CHECK(vm_io_activate(&r.io) == 0);
	states_get(vmio_ended, 0, PAGES, b);
	err = vm_copy(&r, &to, UINT64_MAX, &done);
	judged(c, err);
	CHECK(done == (err == 0 ? n * 8 : 0));
	page = err == 0 ? got[0] >> 9 & 127 : 0;
	CHECK(page < PAGES);
	if (err == 0 && page < PAGES)
		vmio_check_words(c->cpu, got, page, word, n, b[page],
				 atomic_load(&vmio_begun[page]));
	vmio_count(&vmio_counts.walked, err == 0);
	gone(&r.io);
}

/* Some of the words that nobody else writes, by entries that stay. */
static void write_virtual(struct copier *c)
{
	uint64_t page = below(c, PAGES), k = below(c, VMIO_EACH), n = 1 + below(c, VMIO_EACH - k);
	uint64_t word = VMIO_OWN + c->cpu * VMIO_EACH + k, from[VMIO_EACH], done;
	struct vm_reader r = vm_reader_host(from, n * 8);
	struct vm_writer w;
	state_t b, a;
	int err;

	for (uint64_t i = 0; i < n; i++)
		from[i] = ++c->sequence;
	vm_writer_virtual(&w, &vmio_space,
			  gva(VMIO_VIRTUAL + (PAGES + page) * PAGE_SIZE + word * 8), n * 8,
			  &c->virtual, &use);
	CHECK(vm_io_activate(&w.io) == 0);
	b = atomic_load(&vmio_ended[page]);
	err = vm_copy(&r, &w, UINT64_MAX, &done);
	a = atomic_load(&vmio_begun[page]);
	CHECK(done == (err == 0 ? n * 8 : 0) && vm_avail(&w) == n * 8 - done);
	if (judged(c, err))
		vmio_check_count(page * PAGE_SIZE + word * 8, n * 8, done, err, PT_WRITE, &b, &a);
	for (uint64_t i = 0; i < done / 8; i++)
		vmio_wrote(page, word + i, from[i], b, a);
	vmio_count(&vmio_counts.walked, err == 0);
	vmio_count(&vmio_counts.bytes_written, done);
	gone(&w.io);
}

/* The guest writes an entry of its tables. */
static void flip(struct copier *c)
{
	uint64_t entry = vmio_page_gpa(below(c, PAGES)) | 7; /* for everybody */
	int err = vm_write_guest(&vmio_space, gpa(vmio_entry_gpa(below(c, PAGES))), &entry, 8,
				 &use);

	CHECK(err == 0 || err == -EBUSY);
}

/* Another guest's memory at the same addresses: what happens to this one's is nothing to it. */
static void elsewhere(struct copier *c)
{
	uint64_t page = below(c, PAGES), at = vmio_page_gpa(page) + c->cpu * 8, got = 0;
	uint64_t *mine = &other_words[c->cpu][page];

	CHECK(vm_read_guest(&vmio_other, gpa(at), &got, 8, &use) == 0);
	CHECK(got == *mine);
	*mine = ++c->sequence;
	CHECK(vm_write_guest(&vmio_other, gpa(at), mine, 8, &use) == 0);
}

/* The guest runs for a moment. */
static void run(struct copier *c)
{
	(void)c;
	tlb_enter(&vmio_space.pt.tlb);
	tlb_leave(&vmio_space.pt.tlb);
}

/* --- copiers ---------------------------------------------------------------------------------- */

static const struct {
	void (*f)(struct copier *c);
	unsigned share, ops;
} kinds[] = {
	{ read_range, 2, 1 },	 { read_words, 8, RUN },
	{ read_list, 2, 1 },	 { read_page_alone, 1, 1 },
	{ write_list, 2, 1 },	 { exchange, 4, 1 },
	{ write_words, 2, RUN }, { fill, 2, 1 },
	{ read_virtual, 2, 1 },	 { write_virtual, 2, 1 },
	{ flip, 1, 1 },		 { elsewhere, 1, 1 },
	{ run, 1, 1 },
};

void vmio_copier(unsigned cpu)
{
	/* The other parts have what is left. */
	uint64_t ops = vmio_ops() / 100 * 85 / VMIO_COPIERS, all = 0;
	struct copier c = {
		.cpu = cpu,
		.rng = thread_seed(cpu),
		.sequence = (uint64_t)(cpu + 1) << 48,
	};

	c.virtual = (struct vm_virtual){ .mode = &vmio_mode, .fault = &c.fault };
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		all += kinds[i].share;
	for (uint64_t done = 0; done < ops;) {
		uint64_t pick = below(&c, all);
		unsigned i = 0;

		for (; pick >= kinds[i].share; i++)
			pick -= kinds[i].share;
		kinds[i].f(&c);
		done += kinds[i].ops;
	}
	atomic_fetch_sub(&vmio_copiers, 1);
}
