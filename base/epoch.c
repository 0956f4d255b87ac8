/* SPDX-License-Identifier: MPL-2.0 */
#include "base/epoch.h"

#include <stddef.h>

/*
 * Three buckets per CPU: what was deferred in epoch e may go when the epoch is e + 2, for then
 * every section that was open in e has ended. An item deferred in e + 3 meets an empty bucket.
 */
#define BUCKETS 3

struct cpu_epoch {
	struct {
		struct epoch_item *first;
		uint64_t epoch, count;
	} bucket[BUCKETS];
} __attribute__((aligned(64)));

_Atomic uint64_t epoch_global = 2;
struct epoch_cpu epoch_cpus[MAX_CPUS];
static struct cpu_epoch cpus[MAX_CPUS];

/* Moves the epoch on if every open section was opened in it. */
static uint64_t epoch_advance(void)
{
	uint64_t now = atomic_load(&epoch_global);

	for (unsigned i = 0; i < MAX_CPUS; i++) {
		uint64_t local = atomic_load(&epoch_cpus[i].local);

		if (local != 0 && local >> 1 != now)
			return now;
	}
	if (atomic_compare_exchange_strong(&epoch_global, &now, now + 1))
		now++;
	return now;
}

static unsigned bucket_free(struct cpu_epoch *c, unsigned b)
{
	struct epoch_item *item = c->bucket[b].first;
	unsigned freed = 0;

	/* The list is taken before anything is freed: a destructor may defer again. */
	c->bucket[b].first = NULL;
	c->bucket[b].count = 0;
	while (item != NULL) {
		struct epoch_item *next = item->next;

		item->free(item);
		item = next;
		freed++;
	}
	return freed;
}

unsigned epoch_poll(void)
{
	struct cpu_epoch *c = &cpus[cpu_id()];
	uint64_t now;
	unsigned freed = 0;

	if (epoch_pending() == 0)
		return 0;
	now = epoch_advance();
	for (unsigned b = 0; b < BUCKETS; b++)
		if (c->bucket[b].first != NULL && c->bucket[b].epoch + 2 <= now)
			freed += bucket_free(c, b);
	return freed;
}

void epoch_defer(struct epoch_item *item, void (*free)(struct epoch_item *item))
{
	struct cpu_epoch *c = &cpus[cpu_id()];
	/* A locked read: the unlinking is visible to all before the epoch is looked at, so that no
	 * section that began in a later epoch can have met the item. */
	uint64_t now = atomic_fetch_add(&epoch_global, 0);
	unsigned b = now % BUCKETS;

	/* An older epoch's items in this bucket are ripe: their epoch is now - 3 or less. */
	while (c->bucket[b].first != NULL && c->bucket[b].epoch != now) {
		bucket_free(c, b);
		/* A destructor may have deferred, and the epoch may have moved on meanwhile. */
		now = atomic_fetch_add(&epoch_global, 0);
		b = now % BUCKETS;
	}
	item->free = free;
	item->next = c->bucket[b].first;
	c->bucket[b].first = item;
	c->bucket[b].epoch = now;
	c->bucket[b].count++;
	if (c->bucket[b].count % 64 == 0)
		epoch_advance();
}

void epoch_drain(void)
{
	REQUIRES(!epoch_inside());
	while (epoch_pending() != 0)
		if (epoch_poll() == 0)
			cpu_relax();
}

void epoch_wait(void)
{
	/* A locked read, as in epoch_defer: what this CPU has done comes before. */
	uint64_t end = atomic_fetch_add(&epoch_global, 0) + 2;

	REQUIRES(!epoch_inside());
	while (epoch_advance() < end)
		cpu_relax();
}

uint64_t epoch_pending(void)
{
	const struct cpu_epoch *c = &cpus[cpu_id()];

	return c->bucket[0].count + c->bucket[1].count + c->bucket[2].count;
}
