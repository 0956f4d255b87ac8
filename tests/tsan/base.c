/* SPDX-License-Identifier: MPL-2.0 */
/* Locks, epochs and flush domains. */
#include "base/epoch.h"
#include "base/list.h"
#include "base/lock.h"
#include "mm/tlb.h"
#include "tests/host/random.h"
#include "tests/tsan/threads.h"

#define ROUNDS 20000

/* --- locks: plain counters that only the lock protects --------------------------------------- */

static struct spinlock spin = SPINLOCK_INIT(LOCK_LEAF);
static union rwlock rw;
static uint64_t counter, mirror;

static void spin_worker(unsigned cpu)
{
	(void)cpu;
	for (unsigned i = 0; i < ROUNDS; i++) {
		spin_lock(&spin);
		CHECK(counter == mirror);
		counter++;
		mirror = counter;
		spin_unlock(&spin);
	}
	CHECK(lock_held() == 0);
}

void test_spinlock(void)
{
	counter = mirror = 0;
	threads_run(THREADS, spin_worker);
	CHECK(counter == (uint64_t)ROUNDS * THREADS);
}

static void rw_worker(unsigned cpu)
{
	uint64_t rng = thread_seed(cpu);

	for (unsigned i = 0; i < ROUNDS; i++) {
		if (random_below(&rng, 3) == 0) {
			rw_write_lock(&rw);
			CHECK(counter == mirror);
			counter++;
			mirror = counter;
			rw_write_unlock(&rw);
		} else {
			rw_read_lock(&rw);
			CHECK(counter == mirror);
			CHECK(rw_is_held(&rw));
			rw_read_unlock(&rw);
		}
	}
}

/* More turns than a ticket has values, so that the tickets wrap. */
void test_rwlock(void)
{
	rw_init(&rw);
	counter = mirror = 0;
	for (unsigned i = 0; i < 4; i++)
		threads_run(THREADS, rw_worker);
	CHECK(!rw_is_held(&rw));
	CHECK(counter == mirror && counter > ROUNDS);
}

/* --- epochs: a reader in a section never sees what was freed ---------------------------------- */

#define THINGS 64

struct thing {
	struct epoch_item item;
	uint64_t alive; /* plain: the grace period is what orders its readers and its end */
	_Atomic bool busy;
};

static struct thing things[THINGS];
static _Atomic(struct thing *) shared;
static _Atomic uint64_t frees;

static void thing_free(struct epoch_item *item)
{
	struct thing *t = container_of(item, struct thing, item);

	t->alive = 0;
	atomic_fetch_add(&frees, 1);
	atomic_store(&t->busy, false);
}

static struct thing *thing_new(void)
{
	for (unsigned i = 0; i < THINGS; i++) {
		bool free = false;

		if (atomic_compare_exchange_strong(&things[i].busy, &free, true)) {
			things[i].alive = 1;
			return &things[i];
		}
	}
	return NULL;
}

static void epoch_writer(void)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct thing *fresh = thing_new(), *old;

		if (fresh == NULL) {
			epoch_poll();
			cpu_relax();
			continue;
		}
		old = atomic_exchange(&shared, fresh);
		if (old != NULL && i % 16 != 0) {
			epoch_defer(&old->item, thing_free);
		} else if (old != NULL) {
			epoch_wait();
			thing_free(&old->item);
		}
		if (i % 8 == 0)
			epoch_poll();
	}
	threads_stop();
}

static void epoch_worker(unsigned cpu)
{
	if (cpu == 0) {
		epoch_writer();
		return;
	}
	while (!threads_stopped()) {
		struct thing *t;

		epoch_enter();
		t = atomic_load_explicit(&shared, memory_order_acquire);
		for (unsigned i = 0; t != NULL && i < 20; i++)
			CHECK(t->alive == 1);
		epoch_exit();
	}
}

void test_epoch_readers(void)
{
	atomic_store(&frees, 0);
	threads_run(THREADS, epoch_worker);
	host_cpu = 0;
	epoch_drain();
	CHECK(atomic_load(&frees) > 100);
}

/* --- flush domains: what a CPU inside may use is not given away ------------------------------- */

#define SLOTS 8
#define KICKS 300 /* each waits for a thread that may not be running */

static struct tlb_domain domain;
static _Atomic unsigned entry; /* the only translation */
static uint64_t slots[SLOTS];  /* 1: in use; plain, as memory is for the guest */
static _Atomic bool kicks[MAX_CPUS];
static _Atomic uint64_t uses;

static void kick(unsigned cpu)
{
	atomic_store(&kicks[cpu], true);
}

static void guest(unsigned cpu)
{
	int cached = -1;

	while (!threads_stopped()) {
		atomic_store(&kicks[cpu], false);
		if (tlb_enter(&domain))
			cached = -1;
		for (unsigned i = 0;
		     i < 1000 && !atomic_load_explicit(&kicks[cpu], memory_order_acquire); i++) {
			if (cached < 0)
				cached = (int)atomic_load_explicit(&entry, memory_order_acquire);
			CHECK(slots[cached] == 1);
			atomic_fetch_add_explicit(&uses, 1, memory_order_relaxed);
		}
		tlb_leave(&domain);
	}
}

static void tlb_worker(unsigned cpu)
{
	if (cpu != 0) {
		guest(cpu);
		return;
	}
	for (unsigned i = 1; atomic_load(&domain.kicks) < KICKS; i++) {
		unsigned old = atomic_load_explicit(&entry, memory_order_relaxed);
		uint64_t generation;

		slots[i % SLOTS] = 1;
		atomic_store_explicit(&entry, i % SLOTS, memory_order_release);
		generation = tlb_bump(&domain);
		tlb_kick_stale(&domain, generation);
		tlb_wait(&domain, generation);
		slots[old] = 0;
		if (atomic_load(&domain.inside) == 0)
			cpu_relax();
	}
	threads_stop();
}

void test_tlb_litmus(void)
{
	tlb_domain_init(&domain);
	tlb_set_kick(kick);
	slots[0] = 1;
	threads_run(THREADS, tlb_worker);
	CHECK(atomic_load(&uses) > 0);
	CHECK(atomic_load(&domain.inside) == 0);
	tlb_set_kick(NULL);
}
