/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Readers and writers over a guest whose pages come and go, against the same guest as an array of
 * bytes that is copied byte by byte. Each input is a list of operations, one byte each, and their
 * arguments.
 *
 *      pages 0 .. 7 are mapped by operations only; 8 .. 11 come when they are touched;
 *      12 .. 15 are never there
 */
#include <string.h>

#include "base/err.h"
#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "tests/fuzz/input.h"
#include "tests/host/arena.h"
#include "vmio/vmio.h"

#define PAGES	   16
#define FIRST_LAZY 8
#define END_LAZY   12
#define GUEST_END  (PAGES * PAGE_SIZE)
#define HOST_BYTES (3 * PAGE_SIZE)
#define SLOTS	   4
#define OPERATIONS 96

enum { ABSENT, MAPPED, DEVICE };

/* A reader or writer as it should be: over the guest, or over the host's buffer. */
struct cursor {
	bool guest;
	uint64_t at, left;
};

static struct vm_space space;
static bool out_of_memory;
static struct {
	int is;
	pt_attr_t rights;
	bool dirty;
} pages[PAGES];
static uint8_t model[GUEST_END];
static uint8_t host_from[HOST_BYTES], host_to[HOST_BYTES], model_to[HOST_BYTES];
static struct vm_reader readers[SLOTS];
static struct vm_writer writers[SLOTS];
static struct cursor model_readers[SLOTS], model_writers[SLOTS];
static struct claim {
	uint64_t at, len;
} reader_claims[SLOTS], writer_claims[SLOTS];

static void put_page(unsigned page, int is, pt_attr_t rights)
{
	gpa_t at = gpa(page * PAGE_SIZE);
	struct vm_cursor c;
	uint64_t n;
	int err;

	FUZZ_CHECK(vm_cursor_open(&c, &space, at, gpa_add(at, PAGE_SIZE), VM_CHANGE) == 0);
	if (is == MAPPED)
		err = vm_map(&c, frame_alloc(0, FRAME_GUEST, ALLOC_ZERO), rights | PT_MEM_WB);
	else if (is == DEVICE)
		err = vm_map_untracked(&c, hpa(0xfee00000), PAGE_SIZE, rights | PT_MEM_UC);
	else
		err = vm_unmap(&c, PAGE_SIZE, &n);
	FUZZ_CHECK(err == 0);
	vm_cursor_close(&c);
}

static void protect_page(unsigned page, pt_attr_t rights)
{
	gpa_t at = gpa(page * PAGE_SIZE);
	struct vm_cursor c;
	uint64_t n;

	FUZZ_CHECK(vm_cursor_open(&c, &space, at, gpa_add(at, PAGE_SIZE), VM_CHANGE) == 0);
	FUZZ_CHECK(vm_protect(&c, PAGE_SIZE, rights | PT_MEM_WB, &n) == 0);
	FUZZ_CHECK(n == (pages[page].is != ABSENT));
	vm_cursor_close(&c);
}

static int fault(void *context, gpa_t at, pt_attr_t want)
{
	unsigned page = (unsigned)(at.gpa / PAGE_SIZE);
	struct pt_leaf leaf;

	(void)context;
	(void)want;
	if (page < FIRST_LAZY || page >= END_LAZY || vm_translate(&space, at, &leaf))
		return -EFAULT;
	if (out_of_memory)
		return -ENOMEM;
	put_page(page, MAPPED, PT_RW);
	return 0;
}

/* --- the model --- */

/* Makes sure that the byte can be used so. */
static int model_touch(uint64_t at, pt_attr_t want)
{
	uint64_t page = at / PAGE_SIZE;

	if (page >= PAGES)
		return -EFAULT;
	if (pages[page].is == ABSENT && page >= FIRST_LAZY && page < END_LAZY) {
		if (out_of_memory)
			return -ENOMEM;
		pages[page].is = MAPPED;
		pages[page].rights = PT_RW;
		memset(model + page * PAGE_SIZE, 0, PAGE_SIZE);
	}
	return pages[page].is == MAPPED && (pages[page].rights & want) != 0 ? 0 : -EFAULT;
}

static int model_get(const struct cursor *c, uint8_t *byte)
{
	int err = c->guest ? model_touch(c->at, PT_READ) : 0;

	if (err == 0)
		*byte = c->guest ? model[c->at] : host_from[c->at];
	return err;
}

static int model_put(const struct cursor *c, uint8_t byte)
{
	int err = c->guest ? model_touch(c->at, PT_WRITE) : 0;

	if (err == 0 && c->guest) {
		model[c->at] = byte;
		pages[c->at / PAGE_SIZE].dirty = true;
	} else if (err == 0) {
		model_to[c->at] = byte;
	}
	return err;
}

/* Copies, or fills with zeros when there is no reader. */
static int model_copy(struct cursor *r, struct cursor *w, uint64_t max, uint64_t *done)
{
	uint8_t byte = 0;
	int err;

	for (*done = 0; *done < max && w->left != 0 && (r == NULL || r->left != 0); ++*done) {
		err = r != NULL ? model_get(r, &byte) : 0;
		if (err == 0)
			err = model_put(w, byte);
		if (err != 0)
			return err;
		if (r != NULL) {
			r->at++;
			r->left--;
		}
		w->at++;
		w->left--;
	}
	return 0;
}

/* --- operations --- */

static bool same(const struct vm_io *io, const struct cursor *c, const uint8_t *host)
{
	if (vm_io_left(io) != c->left || (io->space != NULL) != c->guest)
		return false;
	return c->guest ? vm_io_at(io) == c->at : hva_ptr(hva(vm_io_at(io))) == host + c->at;
}

static void op_page(struct input *in)
{
	unsigned how = (unsigned)input_take(in, 1), page = how % END_LAZY;
	pt_attr_t rights = how & 0x20 ? PT_RW : how & 0x40 ? PT_READ : 0;
	int is = how & 0x80 ? ABSENT : how & 0x10 && rights != 0 ? DEVICE : MAPPED;

	put_page(page, is, rights);
	pages[page].is = is;
	pages[page].rights = rights;
	pages[page].dirty = false;
	memset(model + page * PAGE_SIZE, 0, PAGE_SIZE);
}

static void op_protect(struct input *in)
{
	unsigned how = (unsigned)input_take(in, 1), page = how % END_LAZY;
	pt_attr_t rights = how & 0x20 ? PT_RW : PT_READ;

	if (pages[page].is == DEVICE)
		return;
	protect_page(page, rights);
	pages[page].rights = rights;
}

/* The claim of a cursor is its whole range, until it is replaced. */
static bool meets(const struct claim *a, const struct claim *b)
{
	return a->len != 0 && b->len != 0 && a->at < b->at + b->len && b->at < a->at + a->len;
}

static bool somebody_there(const struct claim *c, bool write)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (meets(c, &writer_claims[i]) || (write && meets(c, &reader_claims[i])))
			return true;
	return false;
}

static void close_cursor(unsigned k, bool write)
{
	struct vm_io *io = write ? &writers[k].io : &readers[k].io;

	if (io->space != NULL) {
		vm_io_dispose(io);
		vm_io_remove(io);
	}
	if (write) {
		writers[k] = vm_writer_host(host_to, 0);
		model_writers[k] = (struct cursor){ false, 0, 0 };
		writer_claims[k] = (struct claim){ 0, 0 };
	} else {
		readers[k] = vm_reader_host(host_from, 0);
		model_readers[k] = (struct cursor){ false, 0, 0 };
		reader_claims[k] = (struct claim){ 0, 0 };
	}
}

static void open_guest(unsigned k, bool write, uint64_t at, uint64_t len)
{
	static const struct vm_use use = { .who = "fuzz" };
	struct claim claim = { at, len };
	struct vm_reader r;
	struct vm_writer w;
	struct vm_io *io = write ? &w.io : &r.io;
	int err = write ? vm_writer_guest(&w, &space, gpa(at), len, &use)
			: vm_reader_guest(&r, &space, gpa(at), len, &use);

	FUZZ_CHECK(err == (at + len < at ? -ERANGE : 0));
	if (err != 0)
		return;
	err = vm_io_activate(io);
	FUZZ_CHECK(err == (somebody_there(&claim, write) ? -EBUSY : 0));
	if (err != 0)
		return;
	if (write) {
		writers[k] = w;
		model_writers[k] = (struct cursor){ true, at, len };
		writer_claims[k] = claim;
	} else {
		readers[k] = r;
		model_readers[k] = (struct cursor){ true, at, len };
		reader_claims[k] = claim;
	}
}

static void op_open(struct input *in)
{
	unsigned how = (unsigned)input_take(in, 1), k = how % SLOTS;
	uint64_t at = input_take(in, 3), len = input_take(in, 2);
	bool write = (how & 4) != 0;

	close_cursor(k, write);
	if (how & 8) {
		/* Now and then at the very end of all addresses. */
		open_guest(k, write, how & 16 ? at - (1 << 16) : at % (GUEST_END + PAGE_SIZE), len);
		return;
	}
	at %= HOST_BYTES;
	len %= HOST_BYTES - at + 1;
	if (write) {
		writers[k] = vm_writer_host(host_to + at, len);
		model_writers[k] = (struct cursor){ false, at, len };
	} else {
		readers[k] = vm_reader_host(host_from + at, len);
		model_readers[k] = (struct cursor){ false, at, len };
	}
}

static void op_copy(struct input *in)
{
	unsigned how = (unsigned)input_take(in, 1), i = how % SLOTS, k = how / SLOTS % SLOTS;
	uint64_t max = input_take(in, 2), copied = 0, want;
	int err;

	err = model_copy(&model_readers[i], &model_writers[k], max, &want);
	FUZZ_CHECK(vm_copy(&readers[i], &writers[k], max, &copied) == err && copied == want);
}

static void op_fill(struct input *in)
{
	unsigned k = (unsigned)input_take(in, 1) % SLOTS;
	uint64_t max = input_take(in, 2), filled = 0, want;
	int err = model_copy(NULL, &model_writers[k], max, &want);

	FUZZ_CHECK(vm_fill(&writers[k], 0, max, &filled) == err && filled == want);
}

/* All or nothing: the cursor stays where it was when something fails. */
static void op_read_bytes(struct input *in)
{
	static uint8_t got[512];
	unsigned i = (unsigned)input_take(in, 1) % SLOTS;
	uint64_t len = input_take(in, 2) % sizeof(got), n;
	struct cursor from = model_readers[i], to = { false, 0, len };
	int err = len > from.left ? -ERANGE : model_copy(&from, &to, len, &n);

	FUZZ_CHECK(vm_read_bytes(&readers[i], got, len) == err);
	if (err == 0) {
		FUZZ_CHECK(memcmp(got, model_to, len) == 0);
		model_readers[i] = from;
	}
	memcpy(model_to, host_to, sizeof(host_to));
}

static void op_write_bytes(struct input *in)
{
	unsigned k = (unsigned)input_take(in, 1) % SLOTS;
	uint64_t len = input_take(in, 2) % HOST_BYTES, n;
	struct cursor from = { false, 0, len }, to = model_writers[k];
	int err = len > to.left ? -ERANGE : model_copy(&from, &to, len, &n);

	FUZZ_CHECK(vm_write_bytes(&writers[k], host_from, len) == err);
	if (err == 0)
		model_writers[k] = to;
}

static void op_scarcity(struct input *in)
{
	out_of_memory = input_take(in, 1) & 1;
}

/* --- one input --- */

static void check_page(unsigned page)
{
	struct pt_leaf leaf;

	if (!vm_translate(&space, gpa(page * PAGE_SIZE), &leaf)) {
		FUZZ_CHECK(pages[page].is == ABSENT || pages[page].rights == 0);
		return;
	}
	FUZZ_CHECK(pages[page].is == ((leaf.attr & PT_TRACKED) != 0 ? MAPPED : DEVICE));
	FUZZ_CHECK(pages[page].dirty == ((leaf.attr & PT_DIRTY) != 0));
	if (pages[page].is == MAPPED)
		FUZZ_CHECK(memcmp(hpa_ptr(leaf.hpa), model + page * PAGE_SIZE, PAGE_SIZE) == 0);
}

static void check_pages(void)
{
	epoch_enter();
	for (unsigned page = 0; page < PAGES; page++)
		check_page(page);
	epoch_exit();
}

static void check_cursors(void)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		FUZZ_CHECK(same(&readers[i].io, &model_readers[i], host_from));
		FUZZ_CHECK(same(&writers[i].io, &model_writers[i], host_to));
	}
	FUZZ_CHECK(memcmp(host_to, model_to, sizeof(host_to)) == 0);
	FUZZ_CHECK(!epoch_inside());
}

static void run(struct input *in)
{
	static void (*const ops[])(struct input *) = {
		op_page, op_protect,	op_open,	op_copy,
		op_fill, op_read_bytes, op_write_bytes, op_scarcity,
	};

	for (unsigned i = 0; i < OPERATIONS && in->left != 0; i++) {
		ops[input_take(in, 1) % (sizeof(ops) / sizeof(ops[0]))](in);
		check_cursors();
	}
	check_pages();
}

static void reset(void)
{
	memset(pages, 0, sizeof(pages));
	memset(host_to, 0, sizeof(host_to));
	memset(model_to, 0, sizeof(model_to));
	for (unsigned i = 0; i < HOST_BYTES; i++)
		host_from[i] = (uint8_t)(i * 7 + i / 251 + 1);
	for (unsigned i = 0; i < SLOTS; i++) {
		close_cursor(i, false);
		close_cursor(i, true);
	}
	out_of_memory = false;
}

static uint64_t free_bytes(void)
{
	struct frame_account account;

	frame_account(&account);
	return account.by_kind[FRAME_FREE];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	static bool ready;
	uint64_t before;

	if (!ready) {
		arena_init(UINT64_C(16) << 20);
		npt_setup(true, 46);
		ready = true;
	}
	before = free_bytes();
	reset();
	FUZZ_CHECK(vm_space_init(&space, &npt_ops) == 0);
	vm_space_set_fault_handler(&space, fault, NULL);
	run(&in);
	for (unsigned i = 0; i < SLOTS; i++) {
		close_cursor(i, false);
		close_cursor(i, true);
	}
	vm_space_destroy(&space);
	epoch_drain();
	FUZZ_CHECK(free_bytes() == before);
	return 0;
}
