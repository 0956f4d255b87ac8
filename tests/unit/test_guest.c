/* SPDX-License-Identifier: MPL-2.0 */
/* Guests as data: module lines, images of every bad kind, memory on demand, the UART, output. */
#include <CUnit/CUnit.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "ept/stage2.h"
#include "guest/boot_page.h"
#include "guest/guest.h"
#include "guest/hypercall.h"
#include "mm/frame_alloc.h"
#include "mm/pt_ops.h"
#include "tests/host/arena.h"
#include "vmio/vmio.h"

#define ARENA	  (UINT64_C(64) << 20)
#define MEM	  (UINT64_C(4) << 20)
#define ENTRY	  0x8010
#define SEGMENT_A 0x8000
#define SEGMENT_B 0x20000
#define IMAGE_MAX 8192

static char why[256];
static struct guest_config config;

static void no_violation(const char *text)
{
	fprintf(stderr, "audit: %s\n", text);
}

static uint64_t in_use(enum frame_kind kind)
{
	struct frame_account a;

	frame_account(&a);
	return a.by_kind[kind];
}

static void begin(void)
{
	arena_init(ARENA);
	npt_setup(true, 46);
	CU_ASSERT_EQUAL_FATAL(guest_config_parse("t.elf mem=4M", &config, why, sizeof(why)), 0);
}

/* Nothing is left of any guest. */
static void nothing_left(void)
{
	CU_ASSERT_EQUAL(in_use(FRAME_GUEST), 0);
	CU_ASSERT_EQUAL(in_use(FRAME_STAGE2_TABLE), 0);
	CU_ASSERT_PTR_NULL(guest_find(config.name));
}

static void end(void)
{
	epoch_drain();
	nothing_left();
	CU_ASSERT_EQUAL(frame_audit(no_violation), 0);
	arena_fini();
}

/* --- module lines ------------------------------------------------------------------------ */

static void test_config_good(void)
{
	struct guest_config c;

	CU_ASSERT_EQUAL(guest_config_parse("/guests/tiny-1.elf", &c, why, sizeof(why)), 0);
	CU_ASSERT_STRING_EQUAL(c.name, "tiny-1");
	CU_ASSERT(c.mem == 16 << 20 && c.vcpus == 1 && c.page == 1 && c.cpu == -1 && c.start);
	CU_ASSERT_EQUAL(guest_config_parse("x name=a.b_c mem=0x300000 cpus=8 page=1g cpu=3 "
					   "start=no cmdline=\"one=1 two\"",
					   &c, why, sizeof(why)),
			0);
	CU_ASSERT_STRING_EQUAL(c.name, "a.b_c");
	CU_ASSERT(c.mem == 3 << 20 && c.vcpus == 8 && c.page == 3 && c.cpu == 3 && !c.start);
	CU_ASSERT_STRING_EQUAL(c.cmdline, "one=1 two");
	/* As GRUB hands on a word with blanks in it. */
	CU_ASSERT_EQUAL(guest_config_parse("x \"cmdline=a b\"", &c, why, sizeof(why)), 0);
	CU_ASSERT_STRING_EQUAL(c.cmdline, "a b");
	CU_ASSERT_EQUAL(guest_config_parse("/a/b/.elf", &c, why, sizeof(why)), 0);
	CU_ASSERT_STRING_EQUAL(c.name, "guest");
}

/* Each message names the option, the value, and what was expected. */
static void test_config_bad(void)
{
	static const char *const bad[][2] = {
		{ "x mem=16Q", "guest 'x': mem=16Q: expected a size from 1M to 1T" },
		{ "x mem=0", "mem=0: expected" },
		{ "x mem=1025", "mem=1025: expected" },
		{ "x mem=5000000", "mem=5000000: expected" },
		{ "x mem=2T", "mem=2T: expected" },
		{ "x mem=99999999999999999999", "mem=99999999999999999999: expected" },
		{ "x mem=-1", "mem=-1: expected" },
		{ "x mem", "mem=: expected" },
		{ "x cpus=0", "cpus=0: expected a number from 1 to 8" },
		{ "x cpus=9", "cpus=9: expected" },
		{ "x cpus=two", "cpus=two: expected" },
		{ "x page=4m", "page=4m: expected 4k, 2m or 1g" },
		{ "x cpu=64", "cpu=64: expected auto" },
		{ "x cpu=-1", "cpu=-1: expected auto" },
		{ "x start=maybe", "start=maybe: expected yes or no" },
		{ "x name=", "name=: expected 1 to 23" },
		{ "x name=a/b", "name=a/b: expected" },
		{ "x name=a123456789012345678901234", "expected 1 to 23" },
		{ "x memory=4M", "unknown option 'memory=4M': expected name=, mem=" },
		{ "x fast", "unknown option 'fast': expected" },
		{ "x name=\"open", "quotes closed" },
		{ "", "expected FILE and options" },
	};
	char line[1200];
	struct guest_config c;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CU_ASSERT_EQUAL(guest_config_parse(bad[i][0], &c, why, sizeof(why)), -EINVAL);
		if (strstr(why, bad[i][1]) == NULL)
			fprintf(stderr, "\"%s\" says: %s\n", bad[i][0], why);
		CU_ASSERT_PTR_NOT_NULL(strstr(why, bad[i][1]));
		CU_ASSERT_PTR_NULL(strchr(why, '\n'));
	}
	memset(line, 'a', sizeof(line));
	line[sizeof(line) - 1] = '\0';
	CU_ASSERT_EQUAL(guest_config_parse(line, &c, why, sizeof(why)), -EINVAL);
	memcpy(line, "x cmdline=", 10);
	line[10 + 256] = '\0';
	CU_ASSERT_EQUAL(guest_config_parse(line, &c, why, sizeof(why)), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "at most 255 characters"));
}

/* --- images ------------------------------------------------------------------------------ */

struct load {
	uint64_t offset, at, file_size, mem_size;
};

/* A file with two segments; tests change what they want to be wrong. */
struct image {
	bool wide;
	uint8_t ident[6];
	uint16_t type, machine, header_size, header_count;
	uint64_t entry, headers;
	struct load load[40];
	uint64_t len;
	uint8_t bytes[IMAGE_MAX];
};

static struct image good(bool wide)
{
	struct image m = {
		.wide = wide,
		.ident = { 0x7f, 'E', 'L', 'F', wide ? 2 : 1, 1 },
		.type = 2,
		.machine = wide ? 62 : 3,
		.header_size = wide ? 56 : 32,
		.header_count = 2,
		.entry = ENTRY,
		.headers = 64,
		.load = { { 0x1000, SEGMENT_A, 0x800, 0x800 },
			  { 0x1800, SEGMENT_B + 0x123, 0x400, 0x3000 } },
		.len = 0x1c00,
	};

	for (unsigned i = 0; i < IMAGE_MAX; i++)
		m.bytes[i] = (uint8_t)(i * 7 + i / 256);
	return m;
}

static void put(struct image *m, uint64_t at, uint64_t value, unsigned size)
{
	if (at + size <= IMAGE_MAX)
		memcpy(m->bytes + at, &value, size);
}

/* Writes the header and the program headers into the bytes. */
static void encode(struct image *m)
{
	unsigned word = m->wide ? 8 : 4;

	memcpy(m->bytes, m->ident, 6);
	put(m, 16, m->type, 2);
	put(m, 18, m->machine, 2);
	put(m, 24, m->entry, word);
	put(m, 24 + word, m->headers, word);
	put(m, m->wide ? 54 : 42, m->header_size, 2);
	put(m, m->wide ? 56 : 44, m->header_count, 2);
	for (unsigned i = 0; i < m->header_count && i < 40 && m->headers < IMAGE_MAX; i++) {
		uint64_t at = m->headers + (uint64_t)i * m->header_size;
		const struct load *l = &m->load[i];

		put(m, at, 1, 4);
		put(m, at + (m->wide ? 8 : 4), l->offset, word);
		put(m, at + (m->wide ? 24 : 12), l->at, word);
		put(m, at + (m->wide ? 32 : 16), l->file_size, word);
		put(m, at + (m->wide ? 40 : 20), l->mem_size, word);
	}
}

/* From a copy of exactly its length, so that reading beyond it is caught. */
static int create(struct image *m, struct guest **g)
{
	uint8_t *copy;
	int err;

	encode(m);
	copy = malloc(m->len != 0 ? m->len : 1);
	CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
	memcpy(copy, m->bytes, m->len);
	why[0] = '\0';
	err = guest_create(&config, copy, m->len, &npt_ops, g, why, sizeof(why));
	free(copy);
	return err;
}

static void break_nothing_to_load(struct image *m)
{
	m->load[0].mem_size = m->load[1].mem_size = 0;
	m->load[0].file_size = m->load[1].file_size = 0;
}

static void break_many(struct image *m)
{
	m->header_count = 40;
	for (unsigned i = 0; i < 40; i++)
		m->load[i] = (struct load){ 0x1000, SEGMENT_A + i * 0x1000, 16, 16 };
}

#define BREAK(name, change)                       \
	static void break_##name(struct image *m) \
	{                                         \
		change;                           \
	}

BREAK(empty, m->len = 0)
BREAK(magic, m->ident[1] = 'F')
BREAK(header_cut, m->len = m->wide ? 63 : 51)
BREAK(class, m->ident[4] = 3)
BREAK(order, m->ident[5] = 2)
BREAK(relocatable, m->type = 1)
BREAK(shared, m->type = 3)
BREAK(machine, m->machine = 183)
BREAK(headers_cut, m->headers = m->len - 8)
BREAK(headers_far, m->headers = UINT64_MAX - 8)
BREAK(headers_small, m->header_size = 8)
BREAK(headers_many, m->header_count = 0xffff)
BREAK(no_headers, m->header_count = 0)
BREAK(file_more, m->load[1].file_size = 0x3001)
BREAK(file_only, m->load[1].mem_size = 0)
BREAK(data_cut, m->len = 0x1bff)
BREAK(data_far, m->load[0].offset = 0xfffffff0)
BREAK(overlap, m->load[1].at = SEGMENT_A + 0x7ff)
BREAK(inside, (m->load[1].at = SEGMENT_A - 0x1000))
BREAK(wraps, m->load[1].at = UINT64_MAX - 0xfff)
BREAK(exceeds, m->load[1].at = MEM - 0x2fff)
BREAK(above, m->load[1].at = 0x80000000)
BREAK(boot_page, m->load[1].at = 0x400)
BREAK(entry_high, m->entry = 0x100000)
BREAK(entry_out, m->entry = SEGMENT_A + 0x800)
BREAK(entry_before, m->entry = SEGMENT_A - 1)

static const struct {
	void (*apply)(struct image *m);
	int err;
	bool wide_only;
	const char *says;
} breaks[] = {
	{ break_empty, -ENOEXEC, false, "the file is empty" },
	{ break_magic, -ENOEXEC, false, "not an ELF file" },
	{ break_header_cut, -ENOEXEC, false, "header is cut off" },
	{ break_class, -ENOEXEC, false, "ELF class 3" },
	{ break_order, -ENOEXEC, false, "byte order 2" },
	{ break_relocatable, -ENOEXEC, false, "ELF type 1" },
	{ break_shared, -ENOEXEC, false, "ELF type 3" },
	{ break_machine, -ENOEXEC, false, "machine 183" },
	{ break_headers_cut, -ENOEXEC, false, "program headers (2 of" },
	{ break_headers_far, -ENOEXEC, false, "program headers (2 of" },
	{ break_headers_small, -ENOEXEC, false, "program headers (2 of 8 bytes" },
	{ break_headers_many, -ENOEXEC, false, "program headers (65535 of" },
	{ break_no_headers, -ENOEXEC, false, "no segment to load" },
	{ break_nothing_to_load, -ENOEXEC, false, "no segment to load" },
	{ break_many, -ENOEXEC, false, "more than 32 segments" },
	{ break_file_more, -ENOEXEC, false, "segment 1 has 0x3001 bytes in the file" },
	{ break_file_only, -ENOEXEC, false, "segment 1 has 0x400 bytes in the file" },
	{ break_data_cut, -ENOEXEC, false, "segment 1 (file bytes 0x1800+0x400) is cut off" },
	{ break_data_far, -ENOEXEC, false, "segment 0 (file bytes 0xfffffff0+0x800) is cut off" },
	{ break_overlap, -EINVAL, false, "segment 1 (0x87ff+0x3000) overlaps segment 0" },
	{ break_inside, -EINVAL, false, "overlaps segment 0 (0x8000+0x800)" },
	{ break_wraps, -EINVAL, true, "segment 1 (0xfffffffffffff000+0x3000) wraps" },
	{ break_exceeds, -EINVAL, false, "segment 1 (0x3fd001+0x3000) exceeds the guest's memory" },
	{ break_above, -EINVAL, false, "segment 1 (0x80000000+0x3000) exceeds" },
	{ break_boot_page, -EINVAL, false, "segment 1 (0x400+0x3000) covers 0x500" },
	{ break_entry_high, -EINVAL, false, "entry 0x100000 is not below 1 MiB" },
	{ break_entry_out, -EINVAL, false, "entry 0x8800 lies in no segment" },
	{ break_entry_before, -EINVAL, false, "entry 0x7fff lies in no segment" },
};

static void try_break(unsigned i, bool wide)
{
	struct image m = good(wide);
	struct guest *g;
	int err;

	breaks[i].apply(&m);
	err = create(&m, &g);
	if (err != breaks[i].err || strstr(why, breaks[i].says) == NULL)
		fprintf(stderr, "image %u, %u bits: %s, \"%s\"\n", i, wide ? 64 : 32, err_name(err),
			why);
	CU_ASSERT_EQUAL(err, breaks[i].err);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, breaks[i].says));
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "guest 't': image: "));
	CU_ASSERT_PTR_NULL(strchr(why, '\n'));
	epoch_drain();
	nothing_left();
}

static void test_image_bad(void)
{
	begin();
	for (unsigned i = 0; i < sizeof(breaks) / sizeof(breaks[0]); i++) {
		try_break(i, true);
		if (!breaks[i].wide_only)
			try_break(i, false);
	}
	end();
}

static void check_bytes(struct guest *g, uint64_t at, const uint8_t *expected, uint64_t len)
{
	static const struct vm_use use = { .who = "test" };
	uint8_t *got = malloc(len);

	CU_ASSERT_PTR_NOT_NULL_FATAL(got);
	CU_ASSERT_EQUAL(vm_read_guest(&g->space, gpa(at), got, len, &use), 0);
	CU_ASSERT_EQUAL(memcmp(got, expected, len), 0);
	free(got);
}

static void test_image_good(void)
{
	static const uint8_t zeros[0x2c00];

	begin();
	memcpy(config.cmdline, "a=1", 4);
	for (unsigned wide = 0; wide < 2; wide++) {
		struct image m = good(wide != 0);
		struct guest_boot_page page = { .magic = GUEST_BOOT_MAGIC,
						.mem_pages = MEM / PAGE_SIZE,
						.vcpus = 1,
						.cmdline = "a=1" };
		struct guest *g;

		CU_ASSERT_EQUAL_FATAL(create(&m, &g), 0);
		CU_ASSERT_EQUAL(g->start.entry, ENTRY);
		CU_ASSERT_PTR_EQUAL(guest_find("t"), g);
		CU_ASSERT_PTR_EQUAL(guest_at(g->index), g);
		check_bytes(g, SEGMENT_A, m.bytes + 0x1000, 0x800);
		check_bytes(g, SEGMENT_B + 0x123, m.bytes + 0x1800, 0x400);
		check_bytes(g, SEGMENT_B + 0x523, zeros, sizeof(zeros));
		check_bytes(g, GUEST_BOOT_PAGE, (uint8_t *)&page, sizeof(page));
		guest_destroy(g);
		epoch_drain();
		nothing_left();
	}
	end();
}

/* Cut off anywhere, and with any byte changed: an error or a guest, never more. */
static void test_image_mangled(void)
{
	unsigned seed = 1;
	struct guest *g;

	begin();
	for (unsigned len = 0; len < 0x1c00; len += len < 300 ? 1 : 97) {
		struct image m = good(len & 1);

		m.len = len;
		CU_ASSERT_NOT_EQUAL(create(&m, &g), 0);
	}
	for (unsigned i = 0; i < 3000; i++) {
		struct image m = good(i & 1);

		encode(&m);
		for (unsigned n = rand_r(&seed) % 4; n < 4; n++)
			m.bytes[rand_r(&seed) % 176] = (uint8_t)rand_r(&seed);
		if (guest_create(&config, m.bytes, m.len, &npt_ops, &g, why, sizeof(why)) == 0)
			guest_destroy(g);
	}
	end();
}

/* --- the table of guests ----------------------------------------------------------------- */

static void test_names(void)
{
	struct guest *g[GUESTS_MAX], *other;
	struct image m = good(true);

	begin();
	config.mem = 1 << 20;
	for (unsigned i = 0; i < GUESTS_MAX; i++) {
		snprintf(config.name, sizeof(config.name), "g%u", i);
		CU_ASSERT_EQUAL_FATAL(create(&m, &g[i]), 0);
		CU_ASSERT_EQUAL(g[i]->index, i);
	}
	CU_ASSERT_EQUAL(create(&m, &other), -EEXIST);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "guest 'g15': there is one of that name"));
	snprintf(config.name, sizeof(config.name), "more");
	CU_ASSERT_EQUAL(create(&m, &other), -ENOSPC);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "16 guests"));
	guest_destroy(g[5]);
	CU_ASSERT_PTR_NULL(guest_find("g5"));
	CU_ASSERT_PTR_NULL(guest_at(5));
	CU_ASSERT_EQUAL(create(&m, &g[5]), 0);
	CU_ASSERT_EQUAL(g[5]->index, 5);
	for (unsigned i = 0; i < GUESTS_MAX; i++)
		guest_destroy(g[i]);
	CU_ASSERT_PTR_NULL(guest_at(GUESTS_MAX));
	end();
}

/* What was promised to one guest is not there for another, touched or not. */
static void test_promises(void)
{
	struct image m = good(true);
	struct guest *g, *other;

	begin();
	config.mem = UINT64_C(65) << 20;
	CU_ASSERT_EQUAL(create(&m, &g), -ENOMEM);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "mem=65M is more than the 63M that are free"));
	config.mem = UINT64_C(40) << 20;
	CU_ASSERT_EQUAL_FATAL(create(&m, &g), 0);
	snprintf(config.name, sizeof(config.name), "other");
	CU_ASSERT_EQUAL(create(&m, &other), -ENOMEM);
	config.mem = UINT64_C(20) << 20;
	CU_ASSERT_EQUAL_FATAL(create(&m, &other), 0);
	guest_destroy(g);
	guest_destroy(other);
	end();
}

/* An allocation fails, each one in turn: an error with a message, and nothing is left. */
static void test_out_of_memory(void)
{
	struct image m = good(false);
	unsigned failed = 0;
	struct guest *g;
	int err = -ENOMEM;

	begin();
	for (int skip = 0; err != 0 && skip < 64; skip++) {
		frame_alloc_fail_after(skip);
		err = create(&m, &g);
		frame_alloc_fail_after(-1);
		if (err == 0)
			break;
		failed++;
		CU_ASSERT_EQUAL(err, -ENOMEM);
		CU_ASSERT_PTR_NOT_NULL(strstr(why, "no memory for"));
		epoch_drain();
		nothing_left();
	}
	CU_ASSERT_EQUAL_FATAL(err, 0);
	CU_ASSERT(failed >= 4);
	guest_destroy(g);
	end();
}

/* --- memory ------------------------------------------------------------------------------ */

static struct guest *guest_with(uint64_t mem, unsigned page)
{
	struct image m = good(true);
	struct guest *g = NULL;

	config.mem = mem;
	config.page = page;
	CU_ASSERT_EQUAL_FATAL(create(&m, &g), 0);
	return g;
}

static int fault(struct guest *g, uint64_t at, pt_attr_t want, bool present)
{
	struct stage2_fault f = { .gpa = gpa(at),
				  .read = want == PT_READ,
				  .write = want == PT_WRITE,
				  .exec = want == PT_EXEC,
				  .present = present };
	int err;

	why[0] = '\0';
	epoch_enter();
	err = guest_fault(g, &f, why, sizeof(why));
	epoch_exit();
	return err;
}

static struct pt_leaf leaf_at(struct guest *g, uint64_t at)
{
	struct pt_leaf leaf = { 0 };

	epoch_enter();
	if (!vm_translate(&g->space, gpa(at), &leaf))
		leaf.attr = 0;
	epoch_exit();
	return leaf;
}

static void protect(struct guest *g, uint64_t at, pt_attr_t attr)
{
	struct vm_cursor c;
	struct pt_leaf was;

	CU_ASSERT_EQUAL_FATAL(
		vm_cursor_open(&c, &g->space, gpa(at), gpa(at + PAGE_SIZE), VM_CHANGE), 0);
	CU_ASSERT_EQUAL(vm_protect_next(&c, PAGE_SIZE, attr | PT_MEM_WB, &was), 0);
	vm_cursor_close(&c);
}

static void test_fault(void)
{
	struct guest *g;
	struct pt_leaf leaf;
	uint64_t served;

	begin();
	g = guest_with(MEM, 1);
	served = g->faults_served;
	CU_ASSERT_EQUAL(fault(g, 0x200123, PT_WRITE, false), 0);
	leaf = leaf_at(g, 0x200000);
	CU_ASSERT_EQUAL(leaf.size, PAGE_SIZE);
	CU_ASSERT_EQUAL(leaf.attr & (PT_RIGHTS | PT_TRACKED), PT_RWX | PT_TRACKED);
	CU_ASSERT_EQUAL(g->faults_served, served + 1);
	/* Late, or told twice: what is there stays. */
	CU_ASSERT_EQUAL(fault(g, 0x200456, PT_READ, false), 0);
	CU_ASSERT_EQUAL(fault(g, 0x200456, PT_WRITE, true), 0);
	CU_ASSERT_EQUAL(leaf_at(g, 0x200000).hpa.hpa, leaf.hpa.hpa);
	CU_ASSERT_EQUAL(g->faults_served, served + 1);
	/* Not RAM, and not allowed. */
	CU_ASSERT_EQUAL(fault(g, MEM - 1, PT_READ, false), 0);
	CU_ASSERT_EQUAL(fault(g, MEM, PT_READ, false), -EFAULT);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "read at guest-physical 0x400000: no memory there"));
	CU_ASSERT_EQUAL(fault(g, UINT64_MAX, PT_EXEC, false), -EFAULT);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "execution at guest-physical 0xffffffffffffffff"));
	protect(g, 0x200000, PT_READ);
	CU_ASSERT_EQUAL(fault(g, 0x200000, PT_WRITE, true), -EFAULT);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "write at guest-physical 0x200000: the page allows"));
	CU_ASSERT_EQUAL(fault(g, 0x200000, PT_READ, true), 0);
	guest_destroy(g);
	end();
}

/* Large pages where they fit, smaller ones at the end of RAM and where small ones are in use. */
static void test_fault_large(void)
{
	struct guest *g;

	begin();
	g = guest_with((UINT64_C(6) << 20) + PAGE_SIZE, 2);
	CU_ASSERT_EQUAL(leaf_at(g, SEGMENT_A).size, SIZE_2M);
	CU_ASSERT_EQUAL(fault(g, SIZE_2M + 0x5000, PT_WRITE, false), 0);
	CU_ASSERT_EQUAL(leaf_at(g, SIZE_2M).size, SIZE_2M);
	CU_ASSERT_EQUAL(fault(g, UINT64_C(6) << 20, PT_WRITE, false), 0);
	CU_ASSERT_EQUAL(leaf_at(g, UINT64_C(6) << 20).size, PAGE_SIZE);
	guest_destroy(g);
	/* 1 GiB does not fit into this guest: 2 MiB does. */
	g = guest_with(MEM, 3);
	CU_ASSERT_EQUAL(leaf_at(g, SEGMENT_A).size, SIZE_2M);
	guest_destroy(g);
	end();
}

static void test_fault_splintered(void)
{
	struct vm_cursor c;
	struct guest *g;
	uint64_t pages, hpa_small;

	begin();
	g = guest_with(MEM, 2);
	CU_ASSERT_EQUAL(fault(g, SIZE_2M, PT_WRITE, false), 0);
	/* All of the large page goes but one small one, which must survive the next fault. */
	CU_ASSERT_EQUAL_FATAL(
		vm_cursor_open(&c, &g->space, gpa(SIZE_2M), gpa(2 * SIZE_2M), VM_CHANGE), 0);
	CU_ASSERT_EQUAL(vm_jump(&c, gpa(SIZE_2M + PAGE_SIZE)), 0);
	CU_ASSERT_EQUAL(vm_unmap(&c, SIZE_2M - PAGE_SIZE, &pages), 0);
	vm_cursor_close(&c);
	hpa_small = leaf_at(g, SIZE_2M).hpa.hpa;
	CU_ASSERT_EQUAL(fault(g, SIZE_2M + 0x7000, PT_WRITE, false), 0);
	CU_ASSERT_EQUAL(leaf_at(g, SIZE_2M + 0x7000).size, PAGE_SIZE);
	CU_ASSERT_EQUAL(leaf_at(g, SIZE_2M).hpa.hpa, hpa_small);
	guest_destroy(g);
	end();
}

/* The host runs out: 2 MiB blocks first, then everything. */
static void test_fault_no_memory(void)
{
	struct guest *g;

	begin();
	g = guest_with(MEM, 2);
	frame_alloc_fail_after(0);
	CU_ASSERT_EQUAL(fault(g, SIZE_2M, PT_WRITE, false), 0);
	frame_alloc_fail_after(-1);
	CU_ASSERT_EQUAL(leaf_at(g, SIZE_2M).size, PAGE_SIZE);
	guest_destroy(g);
	g = guest_with(MEM, 1);
	frame_alloc_fail_after(0);
	CU_ASSERT_EQUAL(fault(g, SIZE_2M, PT_WRITE, false), -ENOMEM);
	frame_alloc_fail_after(-1);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "no memory left for guest-physical 0x200000"));
	CU_ASSERT_EQUAL(fault(g, SIZE_2M, PT_WRITE, false), 0);
	guest_destroy(g);
	end();
}

/*
 *      CPU 1                     CPU 2
 *      fault at page p           fault at page p
 *      cursor, not mapped        cursor waits
 *      map, close                mapped already: nothing to do
 */
static struct guest *raced;
static pthread_barrier_t barrier;

static void *race(void *number)
{
	host_cpu = (unsigned)(uintptr_t)number;
	for (uint64_t at = SIZE_2M; at < MEM; at += PAGE_SIZE) {
		pthread_barrier_wait(&barrier);
		if (fault(raced, at, PT_WRITE, false) != 0)
			return (void *)1;
	}
	return NULL;
}

static void test_fault_race(void)
{
	struct vm_audit audit;
	pthread_t thread[2];
	void *result;
	uint64_t before;

	begin();
	raced = guest_with(MEM, 1);
	before = raced->pages_populated;
	pthread_barrier_init(&barrier, NULL, 2);
	for (uintptr_t i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, race, (void *)(i + 1));
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(thread[i], &result);
		CU_ASSERT_PTR_NULL(result);
	}
	pthread_barrier_destroy(&barrier);
	CU_ASSERT_EQUAL(raced->pages_populated, before + (MEM - SIZE_2M) / PAGE_SIZE);
	vm_audit(&raced->space, &audit, no_violation);
	CU_ASSERT_EQUAL(audit.violations, 0);
	CU_ASSERT_EQUAL(audit.leaves[1], raced->pages_populated);
	guest_destroy(raced);
	end();
}

/* --- devices and output ------------------------------------------------------------------ */

static char lines[4][GUEST_LINE_MAX + 8];
static unsigned line_count;

static void keep_line(const struct guest *g, const char *text)
{
	(void)g;
	snprintf(lines[line_count % 4], sizeof(lines[0]), "%s", text);
	line_count++;
}

static void print(struct guest *g, const char *text)
{
	for (; *text != '\0'; text++)
		guest_port_out(g, UART_BASE, 1, (uint8_t)*text);
}

static void test_output(void)
{
	static struct guest g = { .output_lock = SPINLOCK_INIT(LOCK_LEAF) };

	guest_set_output(keep_line);
	line_count = 0;
	print(&g, "hello\r\nwor");
	CU_ASSERT_EQUAL(line_count, 1);
	CU_ASSERT_STRING_EQUAL(lines[0], "hello");
	print(&g, "ld\033[2J\177\a\t\200!\n");
	CU_ASSERT_STRING_EQUAL(lines[1], "world?[2J?? ?!");
	for (unsigned i = 0; i < GUEST_LINE_MAX; i++)
		print(&g, "x");
	CU_ASSERT_EQUAL(line_count, 3);
	CU_ASSERT_EQUAL(strlen(lines[2]), GUEST_LINE_MAX - 1);
	/* The rest comes out when it ends; the first end wins. */
	guest_stop(&g, "because of %u", 7u);
	CU_ASSERT_EQUAL(line_count, 4);
	CU_ASSERT_STRING_EQUAL(lines[3], "x");
	guest_done(&g, 3);
	guest_stop(&g, "later");
	CU_ASSERT_EQUAL(g.state, GUEST_STOPPED);
	CU_ASSERT_STRING_EQUAL(g.why, "because of 7");
	CU_ASSERT_EQUAL(g.status, 0);
	CU_ASSERT_EQUAL(line_count, 4);
	guest_set_output(NULL);
}

static void test_uart(void)
{
	struct guest_uart u = { 0 };

	CU_ASSERT(guest_uart_write(&u, 0, 'a'));
	CU_ASSERT_EQUAL(guest_uart_read(&u, 5) & 0x61, 0x60);
	guest_uart_write(&u, 3, 0x83);
	CU_ASSERT_FALSE(guest_uart_write(&u, 0, 0x0c));
	CU_ASSERT_FALSE(guest_uart_write(&u, 1, 0x34));
	CU_ASSERT_EQUAL(guest_uart_read(&u, 0), 0x0c);
	CU_ASSERT_EQUAL(guest_uart_read(&u, 1), 0x34);
	guest_uart_write(&u, 3, 0x03);
	CU_ASSERT_EQUAL(guest_uart_read(&u, 0), 0);
	guest_uart_write(&u, 1, 0xff);
	CU_ASSERT_EQUAL(guest_uart_read(&u, 1), 0x0f);
	CU_ASSERT_EQUAL(guest_uart_read(&u, 2), 0x01);
	guest_uart_write(&u, 2, 0x01);
	CU_ASSERT_EQUAL(guest_uart_read(&u, 2), 0xc1);
	guest_uart_write(&u, 7, 0x5a);
	CU_ASSERT_EQUAL(guest_uart_read(&u, 7), 0x5a);
}

static void test_ports(void)
{
	static struct guest g = { .output_lock = SPINLOCK_INIT(LOCK_LEAF) };
	unsigned answers = 0;

	guest_set_output(keep_line);
	line_count = 0;
	for (uint32_t port = 0; port < 0x10000; port++) {
		answers += guest_port_in(&g, (uint16_t)port, 1) != 0xff;
		CU_ASSERT_EQUAL(guest_port_in(&g, (uint16_t)port, 2), 0xffff);
		CU_ASSERT_EQUAL(guest_port_in(&g, (uint16_t)port, 4), 0xffffffff);
		guest_port_out(&g, (uint16_t)port, 4, 0x0a0a0a0a);
	}
	CU_ASSERT_EQUAL(answers, UART_PORTS + 1);
	CU_ASSERT_EQUAL(line_count, 0);
	guest_port_out(&g, DEBUG_PORT, 1, 'x');
	guest_port_out(&g, DEBUG_PORT, 1, '\n');
	CU_ASSERT_STRING_EQUAL(lines[0], "x");
	guest_set_output(NULL);
}

/* Two vCPUs touch one fresh large page; the second one's fault is served late, and leaves it whole.
 */
static void test_large_page_late(void)
{
	struct guest *g;

	begin();
	g = guest_with(MEM, 2);
	CU_ASSERT_EQUAL(fault(g, SIZE_2M + 0x5000, PT_WRITE, false), 0);
	CU_ASSERT_EQUAL(fault(g, SIZE_2M + 0x9000, PT_WRITE, false), 0);
	CU_ASSERT_EQUAL(leaf_at(g, SIZE_2M).size, SIZE_2M);
	guest_destroy(g);
	end();
}

/* The other vCPU has taken the last frame, for this very page: nothing is wrong. */
static void test_last_frame_late(void)
{
	struct guest *g;

	begin();
	g = guest_with(MEM, 1);
	CU_ASSERT_EQUAL(fault(g, SIZE_2M, PT_WRITE, false), 0);
	frame_alloc_fail_after(0);
	CU_ASSERT_EQUAL(fault(g, SIZE_2M, PT_WRITE, false), 0);
	frame_alloc_fail_after(-1);
	guest_destroy(g);
	end();
}

/* An emptied table does not keep large pages away. */
static void test_large_page_after_unmap(void)
{
	struct vm_cursor c;
	struct guest *g;
	uint64_t pages;

	begin();
	g = guest_with(MEM, 2);
	CU_ASSERT_EQUAL(fault(g, SIZE_2M, PT_WRITE, false), 0);
	for (unsigned half = 0; half < 2; half++) {
		uint64_t at = SIZE_2M + half * SIZE_2M / 2;

		CU_ASSERT_EQUAL_FATAL(
			vm_cursor_open(&c, &g->space, gpa(at), gpa(at + SIZE_2M / 2), VM_CHANGE),
			0);
		CU_ASSERT_EQUAL(vm_unmap(&c, SIZE_2M / 2, &pages), 0);
		vm_cursor_close(&c);
	}
	CU_ASSERT_EQUAL(fault(g, SIZE_2M, PT_WRITE, false), 0);
	CU_ASSERT_EQUAL(leaf_at(g, SIZE_2M).size, SIZE_2M);
	guest_destroy(g);
	end();
}

void suite_guest(void);
void suite_guest(void)
{
	CU_pSuite s = CU_add_suite("guest", NULL, NULL);

	CU_add_test(s, "config_good", test_config_good);
	CU_add_test(s, "config_bad", test_config_bad);
	CU_add_test(s, "image_bad", test_image_bad);
	CU_add_test(s, "image_good", test_image_good);
	CU_add_test(s, "image_mangled", test_image_mangled);
	CU_add_test(s, "names", test_names);
	CU_add_test(s, "promises", test_promises);
	CU_add_test(s, "out_of_memory", test_out_of_memory);
	CU_add_test(s, "fault", test_fault);
	CU_add_test(s, "fault_large", test_fault_large);
	CU_add_test(s, "fault_splintered", test_fault_splintered);
	CU_add_test(s, "fault_no_memory", test_fault_no_memory);
	CU_add_test(s, "fault_race", test_fault_race);
	CU_add_test(s, "output", test_output);
	CU_add_test(s, "uart", test_uart);
	CU_add_test(s, "ports", test_ports);
	CU_add_test(s, "large page, late fault", test_large_page_late);
	CU_add_test(s, "last frame, late fault", test_last_frame_late);
	CU_add_test(s, "large page after unmapping", test_large_page_after_unmap);
}
