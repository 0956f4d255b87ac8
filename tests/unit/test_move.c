/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Moving bytes: every length, every place where it faults, on either side, and every distance at
 * which the two sides overlap. What can be moved is moved, and not a byte more.
 *
 *      | what must arrive | len - left bytes that must stay |
 *                         ^ here ends what can be read, or written
 */
#include <CUnit/CUnit.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "base/addr.h"
#include "tests/host/fault.h"
#include "tests/unit/sizes.h"
#include "vmio/move.h"

#define LONGEST 300
#define MARK	0xee

typedef size_t (*mover)(void *to, const void *from, size_t n);

/* The sizes that the compiler knows: a function for each of 0 to 129, the last one too many. */
#define ONE(n)                                                           \
	static size_t known_##n(void *to, const void *from, size_t same) \
	{                                                                \
		(void)same;                                              \
		return move_bytes(to, from, n);                          \
	}
#define NAME(n) known_##n,

SIZES_ALL(ONE)

static const mover known[] = { SIZES_ALL(NAME) };

#define KNOWN (sizeof(known) / sizeof(known[0]))

static size_t unknown(void *to, const void *from, size_t n)
{
	return move_bytes(to, from, n);
}

/* A page, and behind its end one that can be read only, or not at all. */
static uint8_t *source, *target; /* where the first page ends */
static struct sigaction old_segv, old_bus;

static uint8_t *area_new(int rights)
{
	uint8_t *p = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);

	CU_ASSERT_FATAL(p != MAP_FAILED);
	for (unsigned i = 0; i < 2 * PAGE_SIZE; i++)
		p[i] = (uint8_t)(i % 251 + 1);
	mprotect(p + PAGE_SIZE, PAGE_SIZE, rights);
	return p + PAGE_SIZE;
}

static void begin(void)
{
	sigaction(SIGSEGV, NULL, &old_segv);
	sigaction(SIGBUS, NULL, &old_bus);
	host_fault_catch();
	source = area_new(PROT_NONE);
	target = area_new(PROT_READ);
}

static void end(void)
{
	munmap(source - PAGE_SIZE, 2 * PAGE_SIZE);
	munmap(target - PAGE_SIZE, 2 * PAGE_SIZE);
	sigaction(SIGSEGV, &old_segv, NULL);
	sigaction(SIGBUS, &old_bus, NULL);
}

static bool all_are(const uint8_t *bytes, size_t n, uint8_t value)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i] != value)
			return false;
	return true;
}

/* Of n bytes `good` can be moved. */
static bool moves(mover move, uint8_t *to, const uint8_t *from, size_t n, size_t good)
{
	size_t room = (size_t)(target - to) < n + 8 ? (size_t)(target - to) : n + 8;

	memset(to - 8, MARK, room + 8);
	return move(to, from, n) == n - good && memcmp(to, from, good) == 0 &&
	       all_are(to + good, room - good, MARK) && all_are(to - 8, 8, MARK);
}

static unsigned each_place(mover move, size_t n)
{
	unsigned wrong = 0;

	for (size_t good = 0; good <= n; good++) {
		wrong += !moves(move, target - 512 - n % 7, source - good, n, good);
		wrong += !moves(move, target - good, source - 512 - n % 7, n, good);
		/* Both, at the same byte. */
		wrong += !moves(move, target - good, source - good, n, good);
	}
	return wrong;
}

static void test_faults(void)
{
	unsigned wrong = 0;

	begin();
	for (size_t n = 0; n <= LONGEST; n++)
		wrong += each_place(unknown, n);
	CU_ASSERT_EQUAL(wrong, 0);
	/* Nothing came behind the end. */
	for (unsigned i = 0; i < PAGE_SIZE; i++)
		wrong += target[i] != (PAGE_SIZE + i) % 251 + 1;
	CU_ASSERT_EQUAL(wrong, 0);
	end();
}

static void test_known_faults(void)
{
	unsigned wrong = 0;

	begin();
	for (size_t n = 0; n < KNOWN; n++)
		wrong += each_place(known[n], n);
	CU_ASSERT_EQUAL(wrong, 0);
	end();
}

static void test_fill_faults(void)
{
	unsigned wrong = 0;

	begin();
	for (size_t n = 0; n <= LONGEST; n++)
		for (size_t good = 0; good <= n; good++) {
			uint8_t *to = target - good;

			memset(to - 8, MARK, good + 8);
			wrong += move_fill(to, 0x5a, n) != n - good || !all_are(to, good, 0x5a) ||
				 !all_are(to - 8, 8, MARK);
		}
	CU_ASSERT_EQUAL(wrong, 0);
	end();
}

/* --- overlaps --------------------------------------------------------------------------------- */

#define MIDDLE 512

/* From MIDDLE to MIDDLE + distance, as byte after byte does it. */
static bool overlaps_well(mover move, size_t n, int distance)
{
	static uint8_t a[3 * MIDDLE], b[sizeof(a)];
	uint8_t *to = a + MIDDLE + distance;

	for (size_t i = 0; i < sizeof(a); i++)
		a[i] = b[i] = (uint8_t)(i * 7 + i / 251);
	for (size_t i = 0; i < n; i++)
		b[(size_t)(MIDDLE + distance) + i] = b[MIDDLE + i];
	return move(to, a + MIDDLE, n) == 0 && memcmp(a, b, sizeof(a)) == 0;
}

static void test_overlaps(void)
{
	unsigned wrong = 0;

	for (size_t n = 1; n <= LONGEST; n++)
		for (int d = -(int)n - 1; d <= (int)n + 1; d++)
			wrong += !overlaps_well(unknown, n, d);
	CU_ASSERT_EQUAL(wrong, 0);
}

static void test_known_overlaps(void)
{
	unsigned wrong = 0;

	for (size_t n = 1; n < KNOWN; n++)
		for (int d = -(int)n - 1; d <= (int)n + 1; d++)
			wrong += !overlaps_well(known[n], n, d);
	CU_ASSERT_EQUAL(wrong, 0);
}

/* Down over its own source, to where no more can be written: what was stored before is right. */
static void test_overlap_faults(void)
{
	uint8_t *m = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	unsigned wrong = 0;

	CU_ASSERT_FATAL(m != MAP_FAILED);
	host_fault_catch();
	for (unsigned d = 1; d < 40; d++)
		for (unsigned n = 17; n < 200; n++) {
			CU_ASSERT_EQUAL(mprotect(m, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE), 0);
			for (unsigned i = 0; i < 2 * PAGE_SIZE; i++)
				m[i] = (uint8_t)(i * 7 + i / 256);
			CU_ASSERT_EQUAL(mprotect(m + PAGE_SIZE, PAGE_SIZE, PROT_READ), 0);
			wrong += move_any(m + PAGE_SIZE - 16, m + PAGE_SIZE - 16 + d, n) != n - 16;
			for (unsigned i = PAGE_SIZE - 16; i < PAGE_SIZE; i++)
				wrong += m[i] != (uint8_t)((i + d) * 7 + (i + d) / 256);
		}
	CU_ASSERT_EQUAL(wrong, 0);
	munmap(m, 2 * PAGE_SIZE);
}

void suite_move(void);
void suite_move(void)
{
	CU_pSuite s = CU_add_suite("moving bytes", NULL, NULL);

	CU_add_test(s, "faults", test_faults);
	CU_add_test(s, "faults, sizes known", test_known_faults);
	CU_add_test(s, "faults of fill", test_fill_faults);
	CU_add_test(s, "overlaps", test_overlaps);
	CU_add_test(s, "overlap and fault", test_overlap_faults);
	CU_add_test(s, "overlaps, sizes known", test_known_overlaps);
}
