/* SPDX-License-Identifier: MPL-2.0 */
#include "base/lock.h"

static struct {
	uint32_t held[LOCK_CLASSES]; /* one cursor may hold more nodes than 16 bits count */
} ledger[MAX_CPUS];

void lock_order_enter(enum lock_class class)
{
	uint32_t *held = ledger[cpu_id()].held;

	for (unsigned c = class + (class == LOCK_NODE); c < LOCK_CLASSES; c++)
		MUST(held[c] == 0, "lock of class %d taken while one of class %u is held",
		     (int)class, c);
	held[class]++;
}

void lock_order_exit(enum lock_class class)
{
	uint32_t *held = ledger[cpu_id()].held;

	MUST(held[class] != 0, "lock of class %d released but not held", (int)class);
	held[class]--;
}

unsigned lock_held(void)
{
	unsigned sum = 0;

	for (unsigned c = 0; c < LOCK_CLASSES; c++)
		sum += ledger[cpu_id()].held[c];
	return sum;
}
