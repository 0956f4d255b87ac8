/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The access itself faults, at each byte of each length: reads and writes of all kinds tell exactly
 * what they did, and do nothing behind the fault.
 */
#include <CUnit/CUnit.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "mm/frame_alloc.h"
#include "tests/host/fault.h"
#include "tests/unit/vmio_sizes.h"
#include "tests/unit/vmio_world.h"

#define LONGEST 300
#define MARK	0xee

static uint8_t *guest; /* a page that can be used, and one that cannot */
static struct sigaction old_segv, old_bus;

static void begin_faults(int rights)
{
	vmio_begin();
	guest = vmio_map(SIZE_2M, FRAME_ORDER_2M, PT_RW);
	for (unsigned i = 0; i < 2 * PAGE_SIZE; i++)
		guest[i] = (uint8_t)(i % 251 + 1);
	sigaction(SIGSEGV, NULL, &old_segv);
	sigaction(SIGBUS, NULL, &old_bus);
	host_fault_catch();
	mprotect(guest + PAGE_SIZE, PAGE_SIZE, rights);
}

static void end_faults(void)
{
	mprotect(guest + PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE);
	for (unsigned i = PAGE_SIZE; i < 2 * PAGE_SIZE; i++)
		CU_ASSERT_EQUAL(guest[i], i % 251 + 1);
	sigaction(SIGSEGV, &old_segv, NULL);
	sigaction(SIGBUS, &old_bus, NULL);
	vmio_end();
}

static bool all_are(const uint8_t *bytes, size_t n, uint8_t value)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i] != value)
			return false;
	return true;
}

/* n bytes of which `good` can be read: all or nothing for the cursor. */
static bool refuses_read(struct vm_reader *r, reading read, size_t n, size_t good)
{
	uint64_t offset = PAGE_SIZE - good;
	uint8_t got[LONGEST + 1];
	bool ok;

	memset(got, MARK, sizeof(got));
	ok = vm_io_seek(&r->io, offset) == 0;
	ok = ok && read(r, got, n) == (good == n ? 0 : -EFAULT);
	ok = ok && vm_io_at(&r->io) == SIZE_2M + offset + (good == n ? n : 0);
	return ok && memcmp(got, guest + offset, good) == 0 &&
	       all_are(got + good, sizeof(got) - good, MARK);
}

static bool copies_out(struct vm_reader *r, size_t n, size_t good)
{
	uint64_t offset = PAGE_SIZE - good, done = 0;
	uint8_t got[LONGEST + 1];
	struct vm_writer to = vm_writer_host(got, n);
	bool ok;

	memset(got, MARK, sizeof(got));
	ok = vm_io_seek(&r->io, offset) == 0;
	ok = ok && vm_copy(r, &to, UINT64_MAX, &done) == (good == n ? 0 : -EFAULT);
	ok = ok && done == good && vm_avail(&to) == n - good;
	ok = ok && vm_io_at(&r->io) == SIZE_2M + PAGE_SIZE;
	return ok && memcmp(got, guest + offset, good) == 0 &&
	       all_are(got + good, sizeof(got) - good, MARK);
}

static void test_read_faults(void)
{
	unsigned wrong = 0;

	begin_faults(PROT_NONE);
	for (unsigned inside = 0; inside < 2; inside++) {
		struct vm_reader r = vmio_reader(SIZE_2M, SIZE_2M);

		if (inside)
			epoch_enter();
		for (size_t n = 1; n <= LONGEST; n++)
			for (size_t good = 0; good <= n; good++) {
				wrong += !refuses_read(&r, any_read, n, good);
				wrong += !copies_out(&r, n, good);
				if (n < KNOWN)
					wrong += !refuses_read(&r, known_reads[n], n, good);
			}
		if (inside)
			epoch_exit();
		vmio_gone(&r.io);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	end_faults();
}

/* The same for writes; those that cannot be undone are the ones before the fault. */
static bool refuses_write(struct vm_writer *w, writing write, size_t n, size_t good)
{
	uint64_t offset = PAGE_SIZE - good;
	uint8_t bytes[LONGEST + 1];
	bool ok;

	memset(guest + offset - 1, MARK, good + 1);
	memset(bytes, (int)n, sizeof(bytes));
	ok = vm_io_seek(&w->io, offset) == 0;
	ok = ok && write(w, bytes, n) == (good == n ? 0 : -EFAULT);
	ok = ok && vm_io_at(&w->io) == SIZE_2M + offset + (good == n ? n : 0);
	return ok && memcmp(bytes, guest + offset, good) == 0 && guest[offset - 1] == MARK;
}

static bool copies_in(struct vm_writer *w, bool fill, size_t n, size_t good)
{
	uint64_t offset = PAGE_SIZE - good, done = 0;
	uint8_t bytes[LONGEST + 1];
	struct vm_reader from = vm_reader_host(bytes, n);
	bool ok;
	int err;

	memset(guest + offset - 1, MARK, good + 1);
	memset(bytes, (int)n, sizeof(bytes));
	ok = vm_io_seek(&w->io, offset) == 0;
	err = fill ? vm_fill(w, (uint8_t)n, n, &done) : vm_copy(&from, w, UINT64_MAX, &done);
	ok = ok && err == (good == n ? 0 : -EFAULT) && done == good;
	ok = ok && vm_remain(&from) == (fill ? n : n - good);
	ok = ok && vm_io_at(&w->io) == SIZE_2M + PAGE_SIZE;
	return ok && memcmp(bytes, guest + offset, good) == 0 && guest[offset - 1] == MARK;
}

static void test_write_faults(void)
{
	unsigned wrong = 0;

	begin_faults(PROT_READ);
	for (unsigned inside = 0; inside < 2; inside++) {
		struct vm_writer w = vmio_writer(SIZE_2M, SIZE_2M);

		if (inside)
			epoch_enter();
		for (size_t n = 1; n <= LONGEST; n++)
			for (size_t good = 0; good <= n; good++) {
				wrong += !refuses_write(&w, any_write, n, good);
				wrong += !copies_in(&w, good & 1, n, good);
				if (n < KNOWN)
					wrong += !refuses_write(&w, known_writes[n], n, good);
			}
		if (inside)
			epoch_exit();
		vmio_gone(&w.io);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	end_faults();
}

/* A word that faults is not moved past, and what was found of it is told to nobody. */
static void test_word_faults(void)
{
	begin_faults(PROT_NONE);
	for (size_t size = 1; size <= 8; size *= 2) {
		struct vm_reader r = vmio_reader(SIZE_2M + PAGE_SIZE, 64);
		uint64_t value = 5;
		struct vm_writer w;

		CU_ASSERT_EQUAL(vm_read_once(&r, size, &value), -EFAULT);
		CU_ASSERT_EQUAL(vm_atomic_load(&r.io, size, &value), -EFAULT);
		CU_ASSERT_EQUAL(vm_remain(&r), 64);
		vmio_gone(&r.io);
		w = vmio_writer(SIZE_2M + PAGE_SIZE, 64);
		CU_ASSERT_EQUAL(vm_write_once(&w, size, 1), -EFAULT);
		CU_ASSERT_EQUAL(vm_compare_exchange(&w, size, &value, 1), -EFAULT);
		CU_ASSERT_EQUAL(vm_fetch_or(&w, size, 1, &value), -EFAULT);
		CU_ASSERT_EQUAL(vm_avail(&w), 64);
		CU_ASSERT_EQUAL(value, 5);
		vmio_gone(&w.io);
	}
	end_faults();
}

/* It can be read, and not written: what was read meanwhile is told to nobody. */
static void test_exchange_faults(void)
{
	begin_faults(PROT_READ);
	for (size_t size = 1; size <= 8; size *= 2) {
		struct vm_writer w = vmio_writer(SIZE_2M + PAGE_SIZE, 64);
		uint64_t value = 5;

		CU_ASSERT_EQUAL(vm_fetch_or(&w, size, 1, &value), -EFAULT);
		CU_ASSERT_EQUAL(vm_compare_exchange(&w, size, &value, 1), -EFAULT);
		CU_ASSERT_EQUAL(value, 5);
		CU_ASSERT_EQUAL(vm_atomic_load(&w.io, size, &value), 0);
		CU_ASSERT_NOT_EQUAL(value, 5);
		vmio_gone(&w.io);
	}
	end_faults();
}

void suite_vmio_fault(void);
void suite_vmio_fault(void)
{
	CU_pSuite s = CU_add_suite("vmio faults", NULL, NULL);

	CU_add_test(s, "reads", test_read_faults);
	CU_add_test(s, "writes", test_write_faults);
	CU_add_test(s, "words", test_word_faults);
	CU_add_test(s, "exchanges", test_exchange_faults);
}
