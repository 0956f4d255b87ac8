/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/host/host_tlb.h"

#include <arch/layout.h>
#include <arch/this_cpu.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/host_tlb.h"

#define REMEMBERED 512

struct translation {
	uint64_t va, size, hpa; /* size 0: forgotten */
	unsigned rights;
};

/* Under `cpu`'s own thread; a leaf table is remembered as a translation of its 2 MiB. */
static struct host_tlb {
	struct translation page[REMEMBERED], table[REMEMBERED];
	struct host_tlb_count count;
} tlbs[MAX_CPUS];
static uint64_t cr3;
static void (*on_kick)(unsigned cpu);

void host_tlb_begin(uint64_t root, void (*kick)(unsigned cpu))
{
	memset(tlbs, 0, sizeof(tlbs));
	cr3 = root;
	on_kick = kick;
}

static struct translation *find(struct translation *all, uint64_t va)
{
	for (unsigned i = 0; i < REMEMBERED; i++)
		if (va - all[i].va < all[i].size)
			return &all[i];
	return NULL;
}

static void remember(struct translation *all, struct translation t)
{
	for (unsigned i = 0; i < REMEMBERED; i++) {
		if (all[i].size == 0) {
			all[i] = t;
			return;
		}
	}
	fprintf(stderr, "host TLB: full\n");
	abort();
}

static unsigned rights_of(uint64_t raw)
{
	return TLB_READ | (raw >> 1 & 1 ? TLB_WRITE : 0) | (raw >> 63 ? 0 : TLB_EXEC);
}

static bool walk(struct host_tlb *tlb, uint64_t va, struct translation *out)
{
	const struct translation *known = find(tlb->table, va);
	uint64_t table = known != NULL ? known->hpa : cr3;
	unsigned rights = known != NULL ? known->rights : TLB_READ | TLB_WRITE | TLB_EXEC;

	for (unsigned level = known != NULL ? 1 : 4;; level--) {
		unsigned shift = 12 + 9 * (level - 1);
		uint64_t size = UINT64_C(1) << shift;
		const _Atomic uint64_t *entry = (const _Atomic uint64_t *)(LINEAR_BASE + table) +
						(va >> shift & 511);
		uint64_t raw = atomic_load_explicit(entry, memory_order_acquire);

		if ((raw & 1) == 0)
			return false;
		rights &= rights_of(raw);
		table = raw & UINT64_C(0x000ffffffffff000);
		*out = (struct translation){ va & -size, size, table, rights };
		if (level == 1 || (raw >> 7 & 1) != 0)
			return true;
		if (level == 2)
			remember(tlb->table, *out);
	}
}

bool host_tlb_access(uint64_t va, unsigned access, uint64_t *hpa)
{
	struct host_tlb *tlb = &tlbs[cpu_id()];
	struct translation *known = find(tlb->page, va), walked;

	if (known == NULL) {
		if (!walk(tlb, va, &walked))
			return false;
		remember(tlb->page, walked);
		known = &walked;
	}
	*hpa = known->hpa + (va - known->va);
	return (access & ~known->rights) == 0;
}

struct host_tlb_count host_tlb_count(void)
{
	return tlbs[cpu_id()].count;
}

void host_tlb_each(unsigned cpu, void (*f)(uint64_t va, uint64_t size, uint64_t hpa, bool table))
{
	for (unsigned i = 0; i < REMEMBERED; i++) {
		const struct translation *p = &tlbs[cpu].page[i], *t = &tlbs[cpu].table[i];

		if (p->size != 0)
			f(p->va, p->size, p->hpa, false);
		if (t->size != 0)
			f(t->va, t->size, t->hpa, true);
	}
}

void host_tlb_flush_page(hva_t at)
{
	struct host_tlb *tlb = &tlbs[cpu_id()];
	struct translation *page = find(tlb->page, at.hva);

	if (page != NULL)
		page->size = 0;
	memset(tlb->table, 0, sizeof(tlb->table));
	tlb->count.pages++;
	tlb->count.last = at.hva;
}

void host_tlb_flush_all(void)
{
	struct host_tlb *tlb = &tlbs[cpu_id()];

	memset(tlb->page, 0, sizeof(tlb->page));
	memset(tlb->table, 0, sizeof(tlb->table));
	tlb->count.all++;
}

void host_tlb_kick(unsigned cpu)
{
	if (on_kick != NULL)
		on_kick(cpu);
}
