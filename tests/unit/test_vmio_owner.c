/* SPDX-License-Identifier: MPL-2.0 */
/* Who may be at which bytes of a guest, and the life of a reader or writer. */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "mm/frame_alloc.h"
#include "tests/host/arena.h"
#include "tests/host/random.h"
#include "tests/unit/vmio_world.h"
#include "vmio/view.h"

static const struct vm_use alone = { .who = "alone", .flags = VM_ALONE };

static struct vm_reader reader(uint64_t at, uint64_t len, const struct vm_use *use)
{
	struct vm_reader r;

	CU_ASSERT_EQUAL_FATAL(vm_reader_guest(&r, &vmio_space, gpa(at), len, use), 0);
	return r;
}

static struct vm_writer writer(uint64_t at, uint64_t len)
{
	struct vm_writer w;

	CU_ASSERT_EQUAL_FATAL(vm_writer_guest(&w, &vmio_space, gpa(at), len, &vmio_use), 0);
	return w;
}

/* What a second one meets, by kinds and by where it lies. */
static void test_exclusion(void)
{
	static const struct {
		uint64_t at, len;
		bool meets; /* [0x1000, 0x3000) */
	} where[] = {
		{ 0x0, 0x1000, false },	  { 0x0, 0x1001, true },    { 0x3000, 0x1000, false },
		{ 0x2fff, 0x1000, true }, { 0x1000, 0x2000, true }, { 0x1800, 1, true },
		{ 0x0, 0x5000, true },	  { 0x1800, 0, false },	    { 0x2fff, 1, true },
		{ 0xfff, 1, false },	  { 0x1000, 1, true },
	};

	vmio_begin();
	for (unsigned first = 0; first < 3; first++)
		for (unsigned second = 0; second < 3; second++)
			for (unsigned i = 0; i < sizeof(where) / sizeof(where[0]); i++) {
				struct vm_reader r[2];
				struct vm_writer w[2];
				struct vm_io *a, *b;
				bool busy = where[i].meets && (first != 0 || second != 0);

				/* Kinds: a reader that shares, one that does not, a writer. */
				r[0] = reader(0x1000, 0x2000, first == 1 ? &alone : &vmio_use);
				w[0] = writer(0x1000, 0x2000);
				r[1] = reader(where[i].at, where[i].len,
					      second == 1 ? &alone : &vmio_use);
				w[1] = writer(where[i].at, where[i].len);
				a = first == 2 ? &w[0].io : &r[0].io;
				b = second == 2 ? &w[1].io : &r[1].io;
				CU_ASSERT_EQUAL(vm_io_activate(a), 0);
				CU_ASSERT_EQUAL(vm_io_activate(b), busy ? -EBUSY : 0);
				if (!busy)
					vm_io_dispose(b);
				vm_io_dispose(a);
				CU_ASSERT_EQUAL(vm_io_activate(b), 0);
				vm_io_dispose(b);
			}
	vmio_end();
}

/* Another space is nobody's business, also where it shares the table. */
static void test_other_spaces(void)
{
	static struct vm_space others[40];
	struct vm_writer w = { 0 }, o[40];

	vmio_begin();
	w = vmio_writer(0x1000, 0x1000);
	for (unsigned i = 0; i < 40; i++) {
		CU_ASSERT_EQUAL(vm_writer_guest(&o[i], &others[i], gpa(0x1000), 8, &vmio_use), 0);
		CU_ASSERT_EQUAL(vm_io_activate(&o[i].io), 0);
	}
	for (unsigned i = 0; i < 40; i++)
		vmio_gone(&o[i].io);
	vmio_gone(&w.io);
	vmio_end();
}

static char logged[256];

static void keep_line(enum log_level level, const char *text)
{
	CU_ASSERT_EQUAL(level, LOG_INFO);
	snprintf(logged, sizeof(logged), "%s", text);
}

/* Both parties are named, with what they hold. */
static void test_conflict_names(void)
{
	static const struct vm_use loader = { .who = "image loader" };
	char want[192];
	struct vm_reader r;
	struct vm_writer w;

	vmio_begin();
	log_set_output(keep_line);
	r = reader(0x1000, 0x100, &vmio_use);
	CU_ASSERT_EQUAL(vm_io_activate(&r.io), 0);
	CU_ASSERT_EQUAL(vm_writer_guest(&w, &vmio_space, gpa(0x10f0), 0x100, &loader), 0);
	logged[0] = '\0';
	for (unsigned i = 0; i < 4096 && logged[0] == '\0'; i++)
		CU_ASSERT_EQUAL(vm_io_activate(&w.io), -EBUSY);
	snprintf(want, sizeof(want),
		 "writer %llu (image loader) of [0x10f0, 0x11f0) meets reader %llu (test) of "
		 "[0x1000, 0x1100)",
		 (unsigned long long)w.io.id, (unsigned long long)r.io.id);
	CU_ASSERT_STRING_EQUAL(owner_conflict(), want);
	CU_ASSERT_PTR_NOT_NULL(strstr(logged, want));
	log_set_output(NULL);
	vmio_gone(&r.io);
	vmio_end();
}

static unsigned lines;

static void count_line(enum log_level level, const char *text)
{
	(void)level;
	(void)text;
	lines++;
}

/* Who provokes conflicts does not fill the log: the first, the second, the fourth, ... */
static void test_conflicts_logged(void)
{
	static const struct vm_range range = { { 0x1010 }, 8 };
	struct vm_reader r;
	struct vm_writer w;

	vmio_begin();
	log_set_output(count_line);
	lines = 0;
	r = vmio_reader(0x1000, 0x100);
	w = writer(0x10f0, 0x100);
	for (unsigned i = 0; i < 4096; i++)
		CU_ASSERT_EQUAL(vm_io_activate(&w.io), -EBUSY);
	CU_ASSERT(lines >= 1 && lines <= 13);
	/* Those of lists are counted with them. */
	CU_ASSERT_EQUAL(vm_writer_list(&w, &vmio_space, &range, 1, &vmio_use), 0);
	lines = 0;
	for (unsigned i = 0; i < 1u << 16 && lines == 0; i++)
		CU_ASSERT_EQUAL(vm_io_activate(&w.io), -EBUSY);
	CU_ASSERT_EQUAL(lines, 1);
	log_set_output(NULL);
	vmio_gone(&r.io);
	vmio_end();
}

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Each CPU has its own. */
static void test_ids(void)
{
	static uint64_t ids[8 * 300];
	unsigned n = 0;

	for (unsigned i = 0; i < 300; i++)
		for (unsigned cpu = 0; cpu < 8; cpu++) {
			host_cpu = cpu * (MAX_CPUS - 1) / 7;
			ids[n++] = owner_new_id();
		}
	host_cpu = 0;
	qsort(ids, n, sizeof(ids[0]), compare_ids);
	CU_ASSERT_NOT_EQUAL(ids[0], 0);
	for (unsigned i = 1; i < n; i++)
		CU_ASSERT_NOT_EQUAL(ids[i], ids[i - 1]);
}

/* Activated again where it stands in the middle, it claims all of its range again. */
static void test_claims_all_again(void)
{
	uint64_t value;
	struct vm_reader r;
	struct vm_writer w;

	vmio_begin();
	r = vmio_reader(0x1000, 16);
	CU_ASSERT_EQUAL(vm_read_val(&r, &value), 0);
	vm_io_dispose(&r.io);
	CU_ASSERT_EQUAL(vm_io_activate(&r.io), 0);
	w = writer(0x1000, 8);
	CU_ASSERT_EQUAL(vm_io_activate(&w.io), -EBUSY);
	w = writer(0x100f, 8);
	CU_ASSERT_EQUAL(vm_io_activate(&w.io), -EBUSY);
	vmio_gone(&r.io);
	vmio_end();
}

/* There is room for some of a list only: none of it is claimed. */
static void test_list_without_room(void)
{
	static const struct vm_range ranges[] = { { { 0x8000 }, 8 },
						  { { 0x9000 }, 8 },
						  { { 0xa000 }, 8 } };
	static struct vm_writer w[OWNER_SLOTS - 2];
	struct vm_reader r;

	vmio_begin();
	for (unsigned i = 0; i < OWNER_SLOTS - 2; i++)
		w[i] = vmio_writer(i, 1);
	CU_ASSERT_EQUAL(vm_reader_list(&r, &vmio_space, ranges, 3, &vmio_use), 0);
	CU_ASSERT_EQUAL(vm_io_activate(&r.io), -ENOSPC);
	vmio_gone(&w[0].io);
	CU_ASSERT_EQUAL(vm_io_activate(&r.io), 0);
	vmio_gone(&r.io);
	for (unsigned i = 1; i < OWNER_SLOTS - 2; i++)
		vmio_gone(&w[i].io);
	vmio_end();
}

/* Activated again after disposal, at the place where it stood; ids are never the same. */
static void test_life(void)
{
	struct vm_reader r, s;
	char c;

	vmio_begin();
	r = vmio_reader(0x1000, 16);
	s = vmio_reader(0x1000, 16);
	CU_ASSERT_NOT_EQUAL(r.io.id, s.io.id);
	CU_ASSERT_EQUAL(vm_read_val(&r, &c), 0);
	vm_io_dispose(&r.io);
	CU_ASSERT_EQUAL(vm_remain(&r), 15);
	CU_ASSERT_EQUAL(vm_io_activate(&r.io), 0);
	CU_ASSERT_EQUAL(vm_read_val(&r, &c), 0);
	CU_ASSERT_EQUAL(vm_remain(&r), 14);
	vmio_gone(&r.io);
	vmio_gone(&s.io);
	vmio_end();
}

static void use_before(void *context)
{
	struct vm_reader r = reader(0x1000, 16, context);
	char c;

	vm_read_val(&r, &c);
}

static void use_after(void *context)
{
	struct vm_reader r = vmio_reader(0x1000, 16);
	char c;

	(void)context;
	epoch_enter();
	vm_read_val(&r, &c);
	vm_io_dispose(&r.io);
	vm_read_val(&r, &c);
}

static void activate_twice(void *context)
{
	struct vm_reader r = vmio_reader(0x1000, 16);

	(void)context;
	vm_io_activate(&r.io);
}

static void dispose_twice(void *context)
{
	struct vm_reader r = vmio_reader(0x1000, 16);

	(void)context;
	vm_io_dispose(&r.io);
	vm_io_dispose(&r.io);
}

static void remove_active(void *context)
{
	struct vm_reader r = vmio_reader(0x1000, 16);

	(void)context;
	vm_io_remove(&r.io);
}

static void activate_removed(void *context)
{
	struct vm_reader r = vmio_reader(0x1000, 16);

	(void)context;
	vmio_gone(&r.io);
	vm_io_activate(&r.io);
}

static void claim_wrapped(void *context)
{
	static const struct vm_range ranges[] = { { { 0x1000 }, 1 }, { { UINT64_MAX }, 2 } };
	struct owner_party party = { owner_new_id(), "test", OWNER_READS };

	(void)context;
	owner_claim_list(&vmio_space, ranges, 2, &party);
}

/* Our own mistakes. */
static void test_misuse(void)
{
	vmio_begin();
	CU_ASSERT_TRUE(panics(use_before, (void *)(uintptr_t)&vmio_use, "VM_IO_ACTIVE"));
	CU_ASSERT_TRUE(panics(use_after, NULL, "VM_IO_ACTIVE"));
	CU_ASSERT_TRUE(panics(activate_twice, NULL, "VM_IO_CREATED"));
	CU_ASSERT_TRUE(panics(claim_wrapped, NULL, "precondition failed: ranges[i]"));
	CU_ASSERT_TRUE(panics(dispose_twice, NULL, "VM_IO_ACTIVE"));
	CU_ASSERT_TRUE(panics(remove_active, NULL, "VM_IO_CREATED"));
	CU_ASSERT_TRUE(panics(activate_removed, NULL, "VM_IO_CREATED"));
	vmio_end();
}

static void count_party(void *context, const struct owner_slot *slot)
{
	CU_ASSERT_EQUAL(slot->party.kind, OWNER_READS);
	++*(unsigned *)context;
}

/* A space may say that its readers do not share. */
static void test_readers_alone(void)
{
	unsigned parties = 0;
	struct vm_reader r, s;

	vmio_begin();
	owner_set_shared_readers(&vmio_space, false);
	owner_set_shared_readers(&vmio_space, false);
	r = vmio_reader(0x1000, 0x1000);
	s = reader(0x1fff, 1, &vmio_use);
	CU_ASSERT_EQUAL(vm_io_activate(&s.io), -EBUSY);
	owner_each(&vmio_space, count_party, &parties);
	CU_ASSERT_EQUAL(parties, 1);
	/* Said twice, taken back once. */
	owner_set_shared_readers(&vmio_space, true);
	CU_ASSERT_EQUAL(vm_io_activate(&s.io), 0);
	owner_set_shared_readers(&vmio_space, true);
	vmio_gone(&r.io);
	vmio_gone(&s.io);
	vmio_end();
}

static void test_too_many(void)
{
	static struct vm_writer w[OWNER_SLOTS + 1];

	vmio_begin();
	for (unsigned i = 0; i < OWNER_SLOTS; i++)
		w[i] = vmio_writer(i, 1);
	w[OWNER_SLOTS] = writer(OWNER_SLOTS, 1);
	CU_ASSERT_EQUAL(vm_io_activate(&w[OWNER_SLOTS].io), -ENOSPC);
	/* A place in the middle is found again. */
	vmio_gone(&w[50].io);
	CU_ASSERT_EQUAL(vm_io_activate(&w[OWNER_SLOTS].io), 0);
	for (unsigned i = 0; i <= OWNER_SLOTS; i++)
		if (i != 50)
			vmio_gone(&w[i].io);
	vmio_end();
}

/* --- views ------------------------------------------------------------------------------------ */

#define BYTES 96

/* A view against the same as an array of bytes: splits and joins at random, exact to the byte. */
static void test_view_random(void)
{
	uint64_t rng = random_seed(7);
	bool bytes[BYTES];
	struct vm_view v;

	memset(bytes, 1, sizeof(bytes));
	view_init(&v, 0, BYTES);
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t first = random_below(&rng, BYTES + 1);
		uint64_t end = first + random_below(&rng, BYTES + 1 - first);
		bool all = true, none = true, split = random_below(&rng, 2) == 0;

		if (random_below(&rng, 2) == 0 && end > first + 4)
			end = first + 1 + random_below(&rng, 4);
		for (uint64_t at = first; at < end; at++) {
			all = all && bytes[at];
			none = none && !bytes[at];
		}
		CU_ASSERT_EQUAL(view_has(&v, first, end), all);
		CU_ASSERT_EQUAL(split ? view_split(&v, first, end) : view_join(&v, first, end),
				split ? all : none);
		if (split ? all : none)
			memset(bytes + first, !split, end - first);
		for (unsigned k = 0; k < v.n; k++) {
			CU_ASSERT(v.at[k].first < v.at[k].end);
			CU_ASSERT(k == 0 || v.at[k - 1].end < v.at[k].first);
		}
	}
	for (uint64_t at = 0; at < BYTES; at++)
		CU_ASSERT_EQUAL(view_has(&v, at, at + 1), bytes[at]);
}

/* What does not fit any more changes nothing. */
static void test_view_full(void)
{
	struct vm_view v, before;

	view_init(&v, 0, 10000);
	for (uint64_t i = 1; i < VIEW_RANGES; i++)
		CU_ASSERT_TRUE(view_split(&v, i * 10, i * 10 + 1));
	before = v;
	CU_ASSERT_FALSE(view_split(&v, 9000, 9001));
	CU_ASSERT_TRUE(view_equal(&v, &before));
	CU_ASSERT_TRUE(view_split(&v, 0, 10));
	CU_ASSERT_FALSE(view_equal(&v, &before));
	CU_ASSERT_TRUE(view_split(&v, 9000, 9001));
	CU_ASSERT_FALSE(view_join(&v, 5, 9));
	CU_ASSERT_TRUE(view_join(&v, 9000, 9001));
	/* The same starts, another end. */
	view_init(&v, 0, 10);
	view_init(&before, 0, 11);
	CU_ASSERT_FALSE(view_equal(&v, &before));
}

static unsigned reports;

static void report(const char *text)
{
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "a byte has"));
	reports++;
}

/* The audit sees what the claims would never let happen. */
static void test_audit(void)
{
	struct owner_slot *slot, *other;
	struct owner_party party = { owner_new_id(), "test", OWNER_WRITES };
	struct vm_reader r;

	vmio_begin();
	r = vmio_reader(0x1000, 0x1000);
	CU_ASSERT_EQUAL(owner_claim(&vmio_space, 0x3000, 0x3010, &party, &slot), 0);
	other = slot;
	CU_ASSERT_EQUAL(owner_claim(&vmio_space, 0x3000, 0x3000, &party, &other), 0);
	CU_ASSERT_PTR_NULL(other);
	reports = 0;
	CU_ASSERT_EQUAL(owner_audit(&vmio_space, report), 0);
	slot->first = 0x1fff;
	CU_ASSERT_EQUAL(owner_audit(&vmio_space, report), 1);
	CU_ASSERT_EQUAL(reports, 1);
	slot->first = 0x2000;
	CU_ASSERT_EQUAL(owner_audit(&vmio_space, report), 0);
	owner_release(slot, party.id);
	vmio_gone(&r.io);
	vmio_end();
}

void suite_vmio_owner(void);
void suite_vmio_owner(void)
{
	CU_pSuite s = CU_add_suite("vmio owner", NULL, NULL);

	CU_add_test(s, "exclusion", test_exclusion);
	CU_add_test(s, "other spaces", test_other_spaces);
	CU_add_test(s, "conflict names", test_conflict_names);
	CU_add_test(s, "conflicts in the log", test_conflicts_logged);
	CU_add_test(s, "ids", test_ids);
	CU_add_test(s, "claims all again", test_claims_all_again);
	CU_add_test(s, "list without room", test_list_without_room);
	CU_add_test(s, "life", test_life);
	CU_add_test(s, "misuse", test_misuse);
	CU_add_test(s, "readers alone", test_readers_alone);
	CU_add_test(s, "too many", test_too_many);
	CU_add_test(s, "view, random", test_view_random);
	CU_add_test(s, "view, full", test_view_full);
	CU_add_test(s, "audit", test_audit);
}
