/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Dropping kernel virtual areas. What no CPU may ever remember is memory that has a new owner, or
 * an address that means something else now.
 */
#include "tests/host/random.h"
#include "tests/unit/kvirt_world.h"

/* --- dropping: nothing is reused while somebody remembers it --- */

/*
 * OSTD #2849: an area is dropped, its addresses are given to another one; a CPU that has not
 * flushed still reads the first one's memory there. Here: it may read it as long as it has not
 * flushed, but the addresses are not given to anybody before.
 */
static void test_addresses_wait(void)
{
	struct kvirt_area *a, *b;
	struct frame *fa, *fb;
	uint64_t va, other;

	begin();
	a = new_area(1, &fa);
	va = kvirt_start(a).hva;
	CU_ASSERT_EQUAL(read_on(1, va), 1);
	CU_ASSERT_EQUAL(read_on(0, va), 1);
	kvirt_drop(a);
	CU_ASSERT_EQUAL(read_on(0, va), 0); /* here at once */
	CU_ASSERT_EQUAL(read_on(1, va), 1);
	CU_ASSERT_EQUAL(read_on(2, va), 0); /* has never been there */
	CU_ASSERT_EQUAL(kvirt_reap(10), 0);
	b = new_area(2, &fb);
	other = kvirt_start(b).hva;
	CU_ASSERT_NOT_EQUAL(other, va);
	flush_on(1);
	CU_ASSERT_EQUAL(read_on(1, va), 0);
	CU_ASSERT_EQUAL(kvirt_reap(10), 0); /* CPU 2 is missing: who knows what it remembers */
	flush_on(2);
	CU_ASSERT_EQUAL(kvirt_reap(10), 1);
	CU_ASSERT_EQUAL(kicked, 0);
	kvirt_drop(b);
	b = new_area(3, &fb);
	CU_ASSERT_EQUAL(kvirt_start(b).hva, va);
	for (unsigned cpu = 0; cpu < CPUS; cpu++)
		CU_ASSERT_EQUAL(read_on(cpu, va), 3);
	kvirt_drop(b);
	end();
}

/*
 * OSTD #3630: not only the addresses, the frames, too: a stale translation would write into memory
 * that has a new owner.
 */
static void test_frames_wait(void)
{
	struct kvirt_area *a;
	struct frame *f;
	uint64_t va;

	begin();
	a = new_area(1, &f);
	va = kvirt_start(a).hva;
	CU_ASSERT_EQUAL(read_on(1, va), 1);
	kvirt_drop(a);
	flush_on(2);
	kvirt_reap(10);
	epoch_drain();
	CU_ASSERT_EQUAL(frame_refs(f), 1);
	CU_ASSERT_EQUAL(read_on(1, va), 1);
	flush_on(1);
	CU_ASSERT_EQUAL(frame_refs(f), 1);
	CU_ASSERT_EQUAL(kvirt_reap(10), 1);
	epoch_drain();
	CU_ASSERT_EQUAL(frame_refs(f), 0);
	end();
}

/*
 * OSTD #1952: a stack is freed, its addresses become another task's stack, and the task moves to a
 * CPU that has run the first one: it goes on with the first one's contents.
 */
static void test_stack_moves(void)
{
	struct kvirt_area *stack;
	struct frame *frames[4];
	uint64_t top;

	begin();
	for (unsigned task = 1; task <= 6; task++) {
		for (unsigned i = 0; i < 4; i++)
			frames[i] = new_frame(FRAME_ORDER_4K, task);
		CU_ASSERT_EQUAL_FATAL(kvirt_map_frames(4 * PAGE_SIZE, 0, frames, 4, RW, &stack), 0);
		top = kvirt_end(stack).hva;
		for (unsigned move = 0; move < CPUS; move++)
			CU_ASSERT_EQUAL(read_on((task + move) % CPUS, top - PAGE_SIZE), task);
		on(task % CPUS);
		kvirt_drop(stack);
		if (task % 3 == 0)
			settle();
		else
			kvirt_reap(10);
	}
	end();
}

/*
 * OSTD #1938, what is seen of it: under load, with few addresses, tasks that come and go crash.
 * Here addresses run out again and again: each time the CPUs that are behind are interrupted,
 * and never one that is not.
 */
static void test_addresses_run_out(void)
{
	struct kvirt_area *area;
	struct frame *f;

	begin_at(START + 7 * PAGE_SIZE); /* three areas of one page */
	for (uint64_t i = 1; i <= 30; i++) {
		uint64_t va;

		on((unsigned)(i / 4) % CPUS);
		kicked = 0;
		area = new_area(i, &f);
		va = kvirt_start(area).hva;
		CU_ASSERT_EQUAL(kicked != 0, i > 3 && i % 3 == 1);
		CU_ASSERT_EQUAL(kicked >> host_cpu & 1, 0);
		for (unsigned cpu = 0; cpu < CPUS; cpu++)
			CU_ASSERT_EQUAL(read_on(cpu, va), i);
		kvirt_drop(area);
	}
	on(0);
	end();
}

/* OSTD 64ab2a55c, 81e9bfa2e: device registers, which nobody counts: another device must not be
 * seen through the first one's translation, nor a new one through none. */
static void test_device(void)
{
	const hpa_t first = hpa(0xfee00000), second = hpa(0xfec00000);
	struct kvirt_area *a;
	uint64_t va, at;

	begin();
	CU_ASSERT_EQUAL_FATAL(
		kvirt_map_untracked(PAGE_SIZE, 0, first, PAGE_SIZE, PT_RW | PT_MEM_UC, 0, &a), 0);
	va = kvirt_start(a).hva;
	on(1);
	CU_ASSERT_TRUE(host_tlb_access(va, TLB_WRITE, &at));
	CU_ASSERT_EQUAL(at, first.hpa);
	on(0);
	kvirt_drop(a);
	settle();
	CU_ASSERT_EQUAL_FATAL(
		kvirt_map_untracked(PAGE_SIZE, 0, second, PAGE_SIZE, PT_RW | PT_MEM_UC, 0, &a), 0);
	CU_ASSERT_EQUAL(kvirt_start(a).hva, va);
	on(1);
	CU_ASSERT_TRUE(host_tlb_access(va, TLB_WRITE, &at));
	CU_ASSERT_EQUAL(at, second.hpa);
	on(0);
	kvirt_drop(a);
	end();
}

/* Memory has run out, and is in quarantine: it is asked for at once. */
static void test_memory_runs_out(void)
{
	struct frame *f, *fill = NULL;
	struct kvirt_area *a;
	uint64_t va;

	begin();
	a = new_area(1, &f);
	va = kvirt_start(a).hva;
	CU_ASSERT_EQUAL(read_on(1, va), 1);
	kvirt_drop(a);
	while ((f = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL, 0)) != NULL) {
		f->defer.next = fill == NULL ? NULL : &fill->defer;
		fill = f;
	}
	f = fill; /* one that is kept, mapped far away: it takes a table */
	fill = container_of(f->defer.next, struct frame, defer);
	CU_ASSERT_EQUAL_FATAL(kvirt_map_frames(4 * SIZE_2M, 3 * SIZE_2M, &f, 1, RW, &a), 0);
	CU_ASSERT_EQUAL(kicked, 6);
	CU_ASSERT_EQUAL(read_on(1, va), 0);
	while (fill != NULL) {
		struct epoch_item *next = fill->defer.next;

		f = fill;
		fill = next == NULL ? NULL : container_of(next, struct frame, defer);
		frame_put(f);
	}
	kvirt_drop(a);
	end();
}

/*
 * An area that fills whole tables takes them along. A CPU may remember where they are, so they,
 * and the addresses, wait for one more flush.
 */
static void test_tables_wait(void)
{
	const unsigned n = 1024;
	struct frame *frames[1024];
	struct kvirt_area *a;
	uint64_t va, tables;

	begin();
	tables = in_use(FRAME_HOST_TABLE);
	for (unsigned i = 0; i < n; i++)
		frames[i] = new_frame(FRAME_ORDER_4K, 1 + i);
	CU_ASSERT_EQUAL_FATAL(kvirt_map_frames(n * PAGE_SIZE, 0, frames, n, RW, &a), 0);
	va = kvirt_start(a).hva;
	CU_ASSERT_EQUAL(in_use(FRAME_HOST_TABLE), tables + 5 * PAGE_SIZE);
	CU_ASSERT_EQUAL(read_on(1, va + SIZE_2M), 513);
	kvirt_drop(a);
	for (unsigned cpu = 0; cpu < CPUS; cpu++)
		flush_on(cpu);
	CU_ASSERT_EQUAL(read_on(1, va + SIZE_2M), 0); /* looks, and remembers the table */
	CU_ASSERT_EQUAL(kvirt_reap(10), 1);
	epoch_drain();
	CU_ASSERT_EQUAL(kvirt_quarantined(), 1);
	CU_ASSERT_EQUAL(in_use(FRAME_HOST_TABLE), tables + 5 * PAGE_SIZE);
	for (unsigned cpu = 0; cpu < CPUS; cpu++)
		flush_on(cpu);
	CU_ASSERT_EQUAL(kvirt_reap(10), 1);
	epoch_drain();
	CU_ASSERT_EQUAL(kvirt_quarantined(), 0);
	CU_ASSERT_EQUAL(in_use(FRAME_HOST_TABLE), tables + 4 * PAGE_SIZE);
	end();
}

/*
 * A large page in the place of a table that is empty now, but not forgotten: who remembers the
 * table would find nothing.
 */
static void test_large_after_small(void)
{
	struct kvirt_area *a;
	struct frame *f;
	uint64_t va;

	begin();
	a = new_area(1, &f);
	va = kvirt_start(a).hva;
	CU_ASSERT_EQUAL(read_on(1, va), 1);
	kvirt_drop(a);
	settle();
	CU_ASSERT_EQUAL(read_on(1, va), 0); /* remembers the table of the first 2 MiB */
	for (unsigned i = 0; i < 2; i++) {
		f = new_frame(FRAME_ORDER_2M, 7);
		CU_ASSERT_EQUAL_FATAL(kvirt_map_frames(SIZE_2M, 0, &f, 1, RW, &a), 0);
		va = kvirt_start(a).hva;
		CU_ASSERT_EQUAL(read_on(1, va), 7);
		kvirt_drop(a);
		settle();
		/* Next: small pages leave a table just there. */
		CU_ASSERT_EQUAL_FATAL(kvirt_map_untracked(SIZE_2M + PAGE_SIZE, SIZE_2M, hpa(0),
							  PAGE_SIZE, RW, KVIRT_RAM, &a),
				      0);
		CU_ASSERT_EQUAL(kvirt_end(a).hva, START + SIZE_2M + 2 * PAGE_SIZE);
		kvirt_drop(a);
		settle();
		CU_ASSERT_EQUAL(read_on(1, va), 0);
	}
	end();
}

/* --- at random --- */

#define AREAS 24

/* Frames of the areas that live; the word in each frame is the area's serial number. */
static struct {
	struct kvirt_area *area;
	uint64_t serial, va, pages;
} model[AREAS];
static uint64_t next_serial;

/* A page that some CPU remembers: its memory is still that of the area whose address it is. */
static void check_remembered(uint64_t va, uint64_t size, uint64_t at, bool table)
{
	uint64_t word = *(uint64_t *)hpa_ptr(hpa(at));

	CU_ASSERT_NOT_EQUAL(frame_refs(frame_at(hpa(at))), 0);
	if (table) {
		CU_ASSERT_EQUAL(frame_at(hpa(at))->kind, FRAME_HOST_TABLE);
		return;
	}
	for (unsigned i = 0; i < AREAS; i++) {
		uint64_t start = model[i].va, pages = model[i].pages;

		if (model[i].area != NULL && va < start + pages * PAGE_SIZE && va + size > start)
			CU_ASSERT_EQUAL(word, model[i].serial);
	}
}

static void random_map(uint64_t *random, unsigned i)
{
	static struct frame *frames[1100];
	unsigned order = random_below(random, 10) == 0 ? FRAME_ORDER_2M : FRAME_ORDER_4K;
	unsigned n = random_below(random, 10) == 0 && order == FRAME_ORDER_4K
			     ? 1100
			     : 1 + (unsigned)random_below(random, 3);
	uint64_t serial = ++next_serial;
	int err;

	for (unsigned k = 0; k < n; k++) {
		frames[k] = frame_alloc(order, FRAME_KERNEL, 0);
		if (frames[k] == NULL)
			n = k;
		else
			*(uint64_t *)hpa_ptr(frame_hpa(frames[k])) = serial;
	}
	if (n == 0)
		return;
	err = kvirt_map_frames(n * (PAGE_SIZE << order), 0, frames, n, RW, &model[i].area);
	if (err != 0) {
		CU_ASSERT_TRUE(err == -ENOMEM || err == -ENOSPC);
		model[i].area = NULL;
		while (n-- != 0)
			frame_put(frames[n]);
		return;
	}
	model[i].serial = serial;
	model[i].va = kvirt_start(model[i].area).hva;
	model[i].pages = (uint64_t)n << order;
}

static void random_step(uint64_t *random)
{
	unsigned i = (unsigned)random_below(random, AREAS);
	unsigned cpu = (unsigned)random_below(random, CPUS);

	on(cpu);
	switch (random_below(random, 8)) {
	case 0:
	case 1:
		if (model[i].area == NULL) {
			random_map(random, i);
			break;
		}
		kvirt_drop(model[i].area);
		model[i].area = NULL;
		break;
	case 2:
		kspace_tlb_flush();
		break;
	case 3:
		kvirt_reap(2);
		epoch_poll();
		break;
	default:
		if (model[i].area != NULL) {
			/* A page of it, or one of a block that it is in: its first word. */
			uint64_t page = random_below(random, model[i].pages);
			uint64_t va = model[i].va + page * PAGE_SIZE;
			struct pt_leaf leaf;

			CU_ASSERT_EQUAL(kvirt_query(model[i].area, hva(va), &leaf), 0);
			CU_ASSERT_EQUAL(read_on(cpu, leaf.va), model[i].serial);
		}
	}
}

static void test_random(void)
{
	uint64_t random = random_seed(1);

	begin();
	memset(model, 0, sizeof(model));
	for (unsigned step = 0; step < 6000; step++) {
		random_step(&random);
		for (unsigned cpu = 0; cpu < CPUS; cpu++)
			host_tlb_each(cpu, check_remembered);
		if (step % 100 == 0)
			audit();
	}
	CU_ASSERT_TRUE(next_serial > 300);
	for (unsigned i = 0; i < AREAS; i++)
		if (model[i].area != NULL)
			kvirt_drop(model[i].area);
	for (unsigned cpu = 0; cpu < CPUS; cpu++) {
		on(cpu);
		settle();
		frame_alloc_drain();
	}
	on(0);
	end();
}

/* --- every schedule of three CPUs --- */

/*
 * CPU 0 drops, reaps and maps; the others learn of the area there is, use what they know, and
 * flush. What they know is right until they flush: its memory, or, once it is dropped, a fault.
 */
static const char *const programs[CPUS] = { "drmdrm", "luflu", "luf" };

#define STEPS (6 + 5 + 3)

static struct {
	struct kvirt_area *area;
	uint64_t va, word;
	struct {
		uint64_t va, word; /* word 0: knows of none */
	} known[CPUS];
	bool bad;
} world;

static void world_map(void)
{
	struct frame *f;

	world.word = ++next_serial;
	world.area = new_area(world.word, &f);
	world.va = kvirt_start(world.area).hva;
}

static void world_use(unsigned cpu)
{
	uint64_t word = world.known[cpu].word, got;

	if (word == 0)
		return;
	got = read_on(cpu, world.known[cpu].va);
	world.bad |= got != word && (got != 0 || (world.area != NULL && world.word == word));
}

static void world_step(unsigned cpu, char step)
{
	on(cpu);
	switch (step) {
	case 'd':
		kvirt_drop(world.area);
		world.area = NULL;
		break;
	case 'r':
		kvirt_reap(UINT32_MAX);
		epoch_drain();
		break;
	case 'm':
		world_map();
		break;
	case 'l':
		world.known[cpu].va = world.va;
		world.known[cpu].word = world.area != NULL ? world.word : 0;
		break;
	case 'u':
		world_use(cpu);
		break;
	default:
		kspace_tlb_flush();
	}
}

static uint64_t try_schedules(uint8_t *order, unsigned len, const char *const *left)
{
	uint64_t tried = 0;

	if (len == STEPS) {
		const char *at[CPUS] = { programs[0], programs[1], programs[2] };

		memset(world.known, 0, sizeof(world.known));
		for (unsigned i = 0; i < STEPS; i++)
			world_step(order[i], *at[order[i]]++);
		on(0);
		settle();
		return 1;
	}
	for (uint8_t cpu = 0; cpu < CPUS; cpu++) {
		const char *rest[CPUS] = { left[0], left[1], left[2] };

		if (*rest[cpu] == '\0')
			continue;
		rest[cpu]++;
		order[len] = cpu;
		tried += try_schedules(order, len + 1, rest);
	}
	return tried;
}

static void test_every_schedule(void)
{
	uint8_t order[STEPS];

	begin();
	memset(&world, 0, sizeof(world));
	world_map();
	CU_ASSERT_EQUAL(try_schedules(order, 0, programs), 168168); /* 14! / (6! 5! 3!) */
	CU_ASSERT_FALSE(world.bad);
	CU_ASSERT_EQUAL(kicked, 0);
	kvirt_drop(world.area);
	end();
}

void suite_kvirt_drop(void);
void suite_kvirt_drop(void)
{
	CU_pSuite s = CU_add_suite("kvirt_drop", NULL, NULL);

	CU_add_test(s, "addresses wait", test_addresses_wait);
	CU_add_test(s, "frames wait", test_frames_wait);
	CU_add_test(s, "stack moves", test_stack_moves);
	CU_add_test(s, "addresses run out", test_addresses_run_out);
	CU_add_test(s, "device", test_device);
	CU_add_test(s, "memory runs out", test_memory_runs_out);
	CU_add_test(s, "tables wait", test_tables_wait);
	CU_add_test(s, "large after small", test_large_after_small);
	CU_add_test(s, "random", test_random);
	CU_add_test(s, "every schedule", test_every_schedule);
}
