/* SPDX-License-Identifier: MPL-2.0 */
/* Frames and their allocator: no page has two owners, and the last put happens once. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "mm/frame_alloc.h"
#include "mm/frame_block.h"
#include "mm/frame_list.h"
#include "mm/frame_unique.h"
#include "mm/segment.h"
#include "tests/host/arena.h"
#include "tests/host/random.h"
#include "tests/tsan/threads.h"

#define ARENA  (UINT64_C(8) << 20)
#define ROUNDS 20000
#define HANDED 64

static _Atomic(struct frame *) handed[HANDED]; /* frames on their way from one CPU to another */
static _Atomic uint8_t owned[ARENA / PAGE_SIZE];

static void tell(const char *text)
{
	printf("  audit: %s\n", text);
}

static void audit(void)
{
	CHECK(frame_audit(tell) == 0);
}

static void claim(const struct frame *f)
{
	for (uint64_t i = 0; i < frame_size(f) / PAGE_SIZE; i++)
		CHECK(atomic_exchange_explicit(&owned[frame_pfn(f) + i], 1, memory_order_relaxed) ==
		      0);
}

static void give_back(struct frame *f)
{
	for (uint64_t i = 0; i < frame_size(f) / PAGE_SIZE; i++)
		atomic_store_explicit(&owned[frame_pfn(f) + i], 0, memory_order_relaxed);
	frame_put(f);
}

static void alloc_worker(unsigned cpu)
{
	static const unsigned orders[] = { 0, 0, 0, 0, 0, 0, 1, 2, 4, FRAME_ORDER_2M };
	uint64_t rng = thread_seed(cpu);
	struct frame_account a;

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned order = orders[random_below(&rng, 10)];
		struct frame *f = frame_alloc(order, FRAME_GUEST, (unsigned)random_below(&rng, 2));

		if (f != NULL) {
			claim(f);
			/* Plain writes: the hand-over orders them after the last owner's. */
			*(volatile uint64_t *)hpa_ptr(frame_hpa(f)) = i;
		}
		f = atomic_exchange(&handed[random_below(&rng, HANDED)], f);
		if (f != NULL)
			give_back(f);
		if (i % 500 == 0)
			frame_alloc_drain();
		if (i % 300 == 0)
			frame_alloc_prezero(8);
		if (i % 1000 == 0)
			frame_account(&a);
	}
}

void test_frame_alloc(void)
{
	struct frame_account a;

	arena_init(ARENA);
	threads_run(THREADS, alloc_worker);
	host_cpu = 0;
	audit();
	for (unsigned i = 0; i < HANDED; i++)
		if (atomic_load(&handed[i]) != NULL)
			give_back(atomic_exchange(&handed[i], NULL));
	threads_settle(THREADS);
	audit();
	frame_account(&a);
	CHECK(a.by_kind[FRAME_GUEST] == 0);
	CHECK(a.largest_free == ARENA / 2);
	arena_fini();
}

/* --- the last two references go at the same time (#671) -------------------------------------- */

#define SHARED_FRAMES 512

static struct frame *shared[SHARED_FRAMES];
static _Atomic unsigned destroyed[ARENA / PAGE_SIZE];

static void note_end(struct frame *f)
{
	/* Plain: whoever ends the frame comes after all that its other holders did to it. */
	uint64_t *words = hpa_ptr(frame_hpa(f));

	for (unsigned cpu = 0; cpu < THREADS; cpu++)
		CHECK(words[cpu] == cpu + 1);
	atomic_fetch_add(&destroyed[frame_pfn(f)], 1);
}

static void put_worker(unsigned cpu)
{
	for (unsigned i = 0; i < SHARED_FRAMES; i++) {
		((uint64_t *)hpa_ptr(frame_hpa(shared[i])))[cpu] = cpu + 1;
		frame_get(shared[i]);
		frame_put(shared[i]);
		if (i % 2)
			frame_put(shared[i]);
		else
			frame_put_deferred(shared[i]);
	}
}

void test_frame_last_put(void)
{
	arena_init(ARENA);
	frame_set_destructor(FRAME_GUEST, note_end);
	for (unsigned round = 0; round < 10; round++) {
		for (unsigned i = 0; i < SHARED_FRAMES; i++) {
			shared[i] = frame_alloc(0, FRAME_GUEST, 0);
			frame_get_n(shared[i], THREADS - 1);
			atomic_store(&destroyed[frame_pfn(shared[i])], 0);
		}
		threads_run(THREADS, put_worker);
		threads_settle(THREADS);
		for (unsigned i = 0; i < SHARED_FRAMES; i++)
			CHECK(atomic_load(&destroyed[frame_pfn(shared[i])]) == 1);
	}
	frame_set_destructor(FRAME_GUEST, NULL);
	audit();
	arena_fini();
}

/* --- references by address, while the last one goes ------------------------------------------ */

#define MEETINGS 20000

static _Atomic uint64_t meeting; /* address of the frame to meet at */
static _Atomic unsigned begun, over;

static void count_end(struct frame *f)
{
	/* Plain: each holder's write is there. */
	uint64_t *words = hpa_ptr(frame_hpa(f));

	CHECK(words[0] == words[1]);
	atomic_fetch_add(&over, 1);
}

static void meet(void)
{
	struct frame *f;
	int err = frame_from_in_use(hpa(atomic_load_explicit(&meeting, memory_order_relaxed)), &f);

	CHECK(err == 0 || err == -EBUSY || err == -EPERM || err == -EACCES);
	if (err != 0)
		return;
	CHECK(f->kind == FRAME_GUEST);
	CHECK(frame_refs(f) != 0);
	frame_put(f);
}

static void meeting_worker(unsigned cpu)
{
	for (unsigned i = 0; i < MEETINGS && !threads_stopped(); i++) {
		struct frame *f;
		uint64_t *words;

		if (cpu != 0) {
			meet();
			continue;
		}
		f = frame_alloc(0, FRAME_GUEST, 0);
		words = hpa_ptr(frame_hpa(f));
		words[0] = words[1] = i;
		atomic_fetch_add(&begun, 1);
		atomic_store_explicit(&meeting, frame_hpa(f).hpa, memory_order_relaxed);
		frame_put(f);
	}
}

/* A frame that another CPU finds by its address either is in use, or gives no reference. */
void test_frame_from_in_use(void)
{
	arena_init(ARENA);
	frame_set_destructor(FRAME_GUEST, count_end);
	atomic_store(&meeting, frame_hpa(frame_alloc(0, FRAME_GUEST, 0)).hpa);
	atomic_store(&begun, 0);
	atomic_store(&over, 0);
	threads_run(THREADS, meeting_worker);
	threads_settle(THREADS);
	CHECK(atomic_load(&begun) == atomic_load(&over));
	frame_set_destructor(FRAME_GUEST, NULL);
	audit();
	arena_fini();
}

/* --- unique for a while ---------------------------------------------------------------------- */

static struct frame *changing;
static _Atomic unsigned conversions, readings;

static void convert(uint64_t value)
{
	if (frame_to_unique(changing) != 0) {
		cpu_relax();
		return;
	}
	/* Plain, both: nobody else is near it. This one first: setting the word looks at the count
	 * once more, and so would make good for a conversion that orders nothing. */
	*(uint64_t *)hpa_ptr(frame_hpa(changing)) = value;
	frame_set_word(changing, value);
	atomic_fetch_add_explicit(&conversions, 1, memory_order_relaxed);
	frame_from_unique(changing);
}

static void read_shared(void)
{
	struct frame *f;

	if (frame_from_in_use(frame_hpa(changing), &f) != 0) {
		cpu_relax();
		return;
	}
	CHECK(frame_word(f) == *(uint64_t *)hpa_ptr(frame_hpa(f)));
	CHECK(!frame_is_unique(f));
	atomic_fetch_add_explicit(&readings, 1, memory_order_relaxed);
	frame_put(f);
}

static void unique_worker(unsigned cpu)
{
	for (uint64_t i = 1; !threads_stopped(); i++) {
		if (cpu == 0)
			convert(i);
		else
			read_shared();
		/* Relaxed: the counters must not order what the frame has to. */
		if (atomic_load_explicit(&conversions, memory_order_relaxed) >= MEETINGS / 10 &&
		    atomic_load_explicit(&readings, memory_order_relaxed) >= MEETINGS / 10)
			threads_stop();
	}
}

/*
 * 4.4, the conversion to unique with a relaxed exchange: what the last other holder did to the
 * frame must be over for the one who owns it alone, and the other way.
 */
void test_frame_to_unique(void)
{
	arena_init(ARENA);
	changing = frame_alloc(0, FRAME_GUEST, 0);
	CHECK(frame_to_unique(changing) == 0);
	frame_set_word(changing, 0);
	*(uint64_t *)hpa_ptr(frame_hpa(changing)) = 0;
	frame_from_unique(changing);
	atomic_store(&conversions, 0);
	atomic_store(&readings, 0);
	threads_run(THREADS, unique_worker);
	CHECK(frame_refs(changing) == 1);
	frame_put(changing);
	threads_settle(THREADS);
	audit();
	arena_fini();
}

/* --- blocks that change their shape under the eyes of others ---------------------------------- */

#define SHAPES 60

static struct frame *block;
static _Atomic bool shaped;

/* As many times as it takes: for a moment somebody else may hold a part. */
static void reshape(int (*change)(struct frame *f), struct frame *f)
{
	int err;

	while ((err = change(f)) == -EBUSY)
		cpu_relax();
	CHECK(err == 0);
}

/* The last part to become a head, of either size, is the one to look at most. */
static struct frame *observed(uint64_t *rng)
{
	switch (random_below(rng, 4)) {
	case 0:
		return block + random_below(rng, 1u << FRAME_ORDER_1G);
	case 1:
		return block + FRAME_PARTS + random_below(rng, 2);
	default:
		return block + 7 * FRAME_PARTS + 1 + random_below(rng, 3);
	}
}

static void observe(uint64_t *rng)
{
	struct frame *f = observed(rng), *head, *got;

	head = frame_head(f);
	CHECK(head == f || head == block || (head < f && (head - block) % FRAME_PARTS == 0));
	CHECK(frame_state(f) != FRAME_STATE_UNUSED && frame_state(f) != FRAME_STATE_FREE);
	CHECK(frame_from_unused(frame_hpa(f), FRAME_KERNEL, &got) != 0);
	if (random_below(rng, 2) && frame_from_in_use(frame_hpa(f), &got) == 0) {
		/* Held: it keeps its shape, and reaches the place that was asked for. */
		CHECK(got <= f && f < got + frame_size(got) / PAGE_SIZE);
		CHECK(frame_head(f) == got);
		frame_put(got);
	}
}

static void shape_worker(unsigned cpu)
{
	uint64_t rng = thread_seed(cpu);

	while (cpu != 0 && !atomic_load_explicit(&shaped, memory_order_relaxed))
		observe(&rng);
	for (unsigned i = 0; cpu == 0 && i < SHAPES; i++) {
		struct frame *part = block + 7 * FRAME_PARTS;

		reshape(frame_split, block);
		reshape(frame_split, part);
		for (unsigned again = 0; again < 2 * SHAPES; again++) {
			reshape(frame_join, part);
			reshape(frame_split, part);
		}
		reshape(frame_join, part);
		reshape(frame_join, block);
	}
	if (cpu == 0)
		atomic_store(&shaped, true);
}

/* Memory in use has a head at every moment, and nobody can take it for unused. */
void test_frame_shapes(void)
{
	arena_init(UINT64_C(3) << 30);
	block = frame_alloc(FRAME_ORDER_1G, FRAME_GUEST, 0);
	atomic_store(&shaped, false);
	threads_run(THREADS, shape_worker);
	CHECK(frame_refs(block) == 1 && frame_size(block) == SIZE_1G);
	frame_put(block);
	threads_settle(THREADS);
	audit();
	arena_fini();
}

/* --- lists, one of each CPU and one of all ---------------------------------------------------- */

#define LISTED 64

static struct frame_list common = FRAME_LIST_INIT;
static struct spinlock common_lock = SPINLOCK_INIT(LOCK_LEAF);
static struct frame *listed[LISTED];

/* From the one end of the common list to the other end of this CPU's, or back. */
static void move(struct frame_list *mine, bool out)
{
	struct frame *f;

	spin_lock(&common_lock);
	f = out ? frame_list_pop_front(&common) : frame_list_pop_back(mine);
	if (f != NULL && !out)
		frame_list_push_back(&common, f);
	spin_unlock(&common_lock);
	if (f == NULL || !out)
		return;
	/* Plain: it is this CPU's alone. */
	frame_set_word(f, frame_word(f) + 1);
	CHECK(!frame_list_contains(mine, frame_hpa(f)));
	frame_list_push_front(mine, f);
}

static void list_worker(unsigned cpu)
{
	struct frame_list mine = FRAME_LIST_INIT;
	uint64_t rng = thread_seed(cpu);
	struct frame_cursor c;

	for (unsigned i = 0; i < ROUNDS; i++) {
		hpa_t at = frame_hpa(listed[random_below(&rng, LISTED)]);

		move(&mine, random_below(&rng, 2));
		/* Whatever others do with their frames: what is ours is, and stays. */
		if (frame_list_at(&mine, at, &c)) {
			CHECK(frame_cursor_frame(&c) == frame_at(at));
			CHECK(frame_list_contains(&mine, at));
		}
	}
	while (mine.size != 0)
		move(&mine, false);
}

void test_frame_lists(void)
{
	uint64_t sum = 0;

	arena_init(ARENA);
	for (unsigned i = 0; i < LISTED; i++) {
		listed[i] = frame_alloc(0, FRAME_GUEST, 0);
		CHECK(frame_to_unique(listed[i]) == 0);
		frame_set_word(listed[i], 0);
		frame_list_push_back(&common, listed[i]);
	}
	threads_run(THREADS, list_worker);
	CHECK(common.size == LISTED);
	CHECK(frame_list_audit(&common, tell) == 0);
	for (unsigned i = 0; i < LISTED; i++)
		sum += frame_word(listed[i]);
	CHECK(sum != 0);
	frame_list_drop(&common);
	threads_settle(THREADS);
	audit();
	arena_fini();
}

/* --- memory without an owner: who comes first has it -------------------------------------------
 */

#define UNCLAIMED 1024 /* the upper half of the arena */

static _Atomic uint64_t claimed; /* frames */

static void claim_some(uint64_t *rng)
{
	uint64_t at = UNCLAIMED + random_below(rng, UNCLAIMED), n = random_below(rng, 8);
	struct frame *f;
	struct segment s;

	if (n == 0 && frame_from_unused(hpa(at << PAGE_SHIFT), FRAME_GUEST, &f) == 0) {
		claim(f);
		atomic_fetch_add(&claimed, 1);
		give_back(f);
	} else if (segment_from_unused(hpa(at << PAGE_SHIFT), hpa((at + n) << PAGE_SHIFT),
				       FRAME_GUEST, &s) == 0) {
		atomic_fetch_add(&claimed, segment_frames(&s));
		while ((f = segment_next(&s)) != NULL) {
			claim(f);
			give_back(f);
		}
	}
}

/* Others allocate and give back meanwhile what was claimed before: blocks grow out of it. */
static void claim_worker(unsigned cpu)
{
	static const unsigned orders[] = { 0, 0, 1, 3, 5 };
	uint64_t rng = thread_seed(cpu);

	for (unsigned i = 0; i < ROUNDS / 4; i++) {
		struct frame *f = frame_alloc(orders[random_below(&rng, 5)], FRAME_GUEST, 0);

		claim_some(&rng);
		if (f != NULL) {
			claim(f);
			give_back(f);
		}
		if (i % 50 == 0)
			frame_alloc_drain();
	}
}

void test_frame_from_unused(void)
{
	struct frame_account a;

	arena_init(ARENA);
	frame_alloc_forget();
	memset(frame_slot(0), 0, ARENA / PAGE_SIZE * sizeof(struct frame));
	frame_alloc_add(hpa(0), UNCLAIMED << PAGE_SHIFT);
	atomic_store(&claimed, 0);
	threads_run(THREADS, claim_worker);
	threads_settle(THREADS);
	frame_account(&a);
	CHECK(atomic_load(&claimed) != 0);
	CHECK(a.by_kind[FRAME_GUEST] == 0);
	CHECK(a.by_kind[FRAME_FREE] == (UNCLAIMED + atomic_load(&claimed)) << PAGE_SHIFT);
	audit();
	arena_fini();
}
