/* SPDX-License-Identifier: MPL-2.0 */
/* The CPUs in a guest of the scenarios; they export no suite of their own. */
#include "tests/unit/test_scenarios.h"

#include <arch/this_cpu.h>
#include <string.h>

#include "ept/stage2.h"
#include "tests/unit/fake_pt.h"

#define PAGES  600
#define TABLES 128

static struct vcpu {
	struct vm_space *in; /* NULL: outside */
	unsigned pages, tables;
	struct mmu_page page[PAGES];
	uint64_t table[TABLES];
} vcpus[VCPUS];

uint64_t guests_kicked, guests_betrayed;
void (*guest_kicked)(unsigned cpu);

static struct mmu mmu_of(const struct vm_space *s)
{
	const struct pt_ops *of = s->pt.ops;

	return (struct mmu){
		.format = of == &ept_ops   ? MMU_EPT
			  : of == &npt_ops ? MMU_NPT
					   : MMU_FAKE,
		.root = frame_hpa(s->pt.root).hpa,
	};
}

enum mmu_result fresh_look(uint64_t at, struct mmu_page *out)
{
	struct mmu m = mmu_of(&space);

	return mmu_walk(&m, at, 0, out);
}

static void kick(unsigned cpu)
{
	guests_kicked |= UINT64_C(1) << cpu;
	if (guest_kicked != NULL)
		guest_kicked(cpu);
	guest_leave(cpu);
}

static void frame_ends(struct frame *f)
{
	uint64_t first = frame_hpa(f).hpa, end = first + frame_size(f);

	for (struct vcpu *v = vcpus; v < vcpus + VCPUS; v++)
		for (unsigned i = 0; v->in != NULL && i < v->pages; i++)
			if (v->page[i].hpa < end && first < v->page[i].hpa + v->page[i].size)
				guests_betrayed++;
}

static void table_ends(struct frame *f)
{
	for (struct vcpu *v = vcpus; v < vcpus + VCPUS; v++)
		for (unsigned i = 0; v->in != NULL && i < v->tables; i++)
			if (v->table[i] == frame_hpa(f).hpa)
				guests_betrayed++;
}

void guests_begin(void)
{
	memset(vcpus, 0, sizeof(vcpus));
	guests_kicked = guests_betrayed = 0;
	guest_kicked = NULL;
	tlb_set_kick(kick);
	frame_set_destructor(FRAME_GUEST, frame_ends);
	frame_set_destructor(FRAME_STAGE2_TABLE, table_ends);
}

void guests_end(void)
{
	for (unsigned cpu = 1; cpu < VCPUS; cpu++)
		if (vcpus[cpu].in != NULL)
			guest_leave(cpu);
	epoch_drain();
	CU_ASSERT_EQUAL(guests_betrayed, 0);
	tlb_set_kick(NULL);
	frame_set_destructor(FRAME_GUEST, NULL);
	frame_set_destructor(FRAME_STAGE2_TABLE, NULL);
}

/* A CPU has one TLB; what it remembers is told apart by the space, as by a tag. */
void guest_enter_space(unsigned cpu, struct vm_space *other)
{
	struct vcpu *v = &vcpus[cpu];
	unsigned me = host_cpu;

	CU_ASSERT_PTR_NULL_FATAL(v->in);
	host_cpu = cpu;
	if (tlb_enter(&other->pt.tlb))
		v->pages = v->tables = 0; /* more than it must: the other space's, too */
	host_cpu = me;
	v->in = other;
}

void guest_enter(unsigned cpu)
{
	guest_enter_space(cpu, &space);
}

void guest_leave(unsigned cpu)
{
	unsigned me = host_cpu;

	CU_ASSERT_PTR_NOT_NULL_FATAL(vcpus[cpu].in);
	host_cpu = cpu;
	tlb_leave(&vcpus[cpu].in->pt.tlb);
	host_cpu = me;
	vcpus[cpu].in = NULL;
}

static void remember_table(struct vcpu *v, uint64_t table)
{
	for (unsigned i = 0; i < v->tables; i++)
		if (v->table[i] == table)
			return;
	CU_ASSERT_FATAL(v->tables < TABLES);
	v->table[v->tables++] = table;
}

static const struct mmu_page *remembered(const struct vcpu *v, uint64_t at, unsigned access)
{
	for (unsigned i = 0; i < v->pages; i++) {
		const struct mmu_page *t = &v->page[i];

		if (at - t->gpa < t->size && (t->rights & access) != 0 &&
		    (access != MMU_WRITE || t->dirty))
			return t;
	}
	return NULL;
}

uint64_t guest_access(unsigned cpu, uint64_t at, unsigned access)
{
	struct vcpu *v = &vcpus[cpu];
	const struct mmu_page *t = remembered(v, at, access);
	enum mmu_result result;
	struct mmu m;

	CU_ASSERT_PTR_NOT_NULL_FATAL(v->in);
	if (t != NULL)
		return t->hpa + (at - t->gpa);
	m = mmu_of(v->in);
	CU_ASSERT_FATAL(v->pages < PAGES);
	result = mmu_walk(&m, at, access, &v->page[v->pages]);
	CU_ASSERT_NOT_EQUAL(result, MMU_MALFORMED);
	for (unsigned level = 1; level <= MMU_MAX_LEVELS; level++)
		if (v->page[v->pages].table[level] != 0)
			remember_table(v, v->page[v->pages].table[level]);
	if (result != MMU_DONE)
		return UINT64_MAX;
	t = &v->page[v->pages++];
	return t->hpa + (at - t->gpa);
}
