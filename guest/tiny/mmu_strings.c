/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One access twice from the same start: by MOV, LODS or STOS, which the CPU does, and by INS or
 * OUTS, which the hypervisor does. What is raised, the data and the marks must be the same.
 *
 * A mark may differ in one way: where an access is refused, the CPU may have set A in entries
 * above the one that refused it. (SDM vol. 3, 4.8)
 */
#include "guest/tiny/mmu.h"

#define WORDS 3 /* two at the address, one at the start of the next page */

struct outcome {
	uint64_t vector, error, cr2, value, rcx, rsi, rdi;
	uint64_t entry[PATH_MAX], data[WORDS];
};

static struct {
	unsigned allowed, refused, crossing, repeated, broken;
} seen;

static uint64_t word_at(const struct path *p, unsigned i)
{
	uint64_t next = p->entry[p->n - 1].value & 0xfffff000;

	return i < 2 ? (p->gpa & ~7ul) + 8 * i : p->shift == 12 ? next : DATA;
}

static bool raised(const struct outcome *o)
{
	return o->vector != DONE;
}

/* The entry as the CPU leaves it. */
static uint64_t entry_now(const struct path *p, unsigned i)
{
	bool pdpte = p->entry[0].level == 3 && i == 0;

	return path_entry_now(p, i) & ~(mmu_tcg && pdpte ? PTE_A : 0);
}

static void observe(struct job *j, const struct path *p, unsigned op, struct outcome *o)
{
	uint64_t value = j->value;

	for (unsigned i = 0; i < WORDS; i++)
		*qword(word_at(p, i)) = 0x0123456789abcdef * (p->gpa | 1);
	path_restore(p);
	j->op = op;
	j->inside = 0;
	mmu_enter(j);
	*o = (struct outcome){
		.vector = j->vector, .value = j->value, .rcx = j->rcx, .rsi = j->rsi, .rdi = j->rdi
	};
	if (j->vector != DONE)
		o->error = mmu_error(j);
	if (j->vector == VECTOR_PF)
		o->cr2 = j->cr2;
	for (unsigned i = 0; i < p->n; i++)
		o->entry[i] = entry_now(p, i);
	for (unsigned i = 0; i < WORDS; i++)
		o->data[i] = *qword(word_at(p, i));
	j->value = value;
}

static bool same_marks(const struct outcome *cpu, const struct outcome *hv, const struct path *p)
{
	for (unsigned i = 0; i < p->n; i++) {
		uint64_t differ = cpu->entry[i] ^ hv->entry[i];

		if (differ != 0 && !(raised(cpu) && differ == PTE_A))
			return false;
	}
	return true;
}

static bool same(const struct outcome *cpu, const struct outcome *hv, const struct path *p)
{
	for (unsigned i = 0; i < WORDS; i++)
		if (cpu->data[i] != hv->data[i])
			return false;
	return cpu->vector == hv->vector && cpu->error == hv->error && cpu->cr2 == hv->cr2 &&
	       cpu->value == hv->value && cpu->rcx == hv->rcx && cpu->rsi == hv->rsi &&
	       cpu->rdi == hv->rdi && same_marks(cpu, hv, p);
}

static void say_outcome(const char *who, const struct outcome *o, const struct path *p)
{
	say("mmu:   %s: vector %lu error 0x%lx cr2 0x%lx value 0x%lx data 0x%lx 0x%lx 0x%lx\n", who,
	    o->vector, o->error, o->cr2, o->value, o->data[0], o->data[1], o->data[2]);
	say("mmu:     rcx 0x%lx rsi 0x%lx rdi 0x%lx\n", o->rcx, o->rsi, o->rdi);
	for (unsigned i = 0; i < p->n; i++)
		say("mmu:     entry %u 0x%lx\n", i, o->entry[i]);
}

static void say_case(const struct job *j, const struct path *p, const char *what)
{
	say("mmu: DIFFERENT: %s at 0x%lx, %s, cr0 0x%lx cr4 0x%lx efer 0x%lx pkru 0x%x flags "
	    "0x%lx value 0x%lx\n",
	    what, j->va, j->user ? "user" : "supervisor", j->cr0, j->cr4, j->efer, j->pkru,
	    j->flags, j->value);
	path_say(p);
}

static bool judge(const struct job *j, const struct path *p, const struct outcome *cpu,
		  const struct outcome *hv, const char *what)
{
	seen.allowed += !raised(cpu);
	seen.refused += raised(cpu);
	if (same(cpu, hv, p))
		return true;
	say_case(j, p, what);
	say_outcome("CPU", cpu, p);
	say_outcome("Nestling", hv, p);
	return false;
}

/* What can be compared of the data: OUTS shows what it read of one byte, INS has a value of its own
 * for one byte, and for others all ones. */
static bool compare_one(struct job *j, struct path *p)
{
	unsigned size = random() % 3;
	bool write = once(2), crossing = once(4);
	struct outcome cpu, hv;

	if (crossing)
		j->va |= PAGE - 1;
	p->gpa |= j->va & (PAGE - 1);
	j->value = size == 0 ? random() & 0xff : 0xffffffff;
	if (size == 0)
		outb(PORT, (uint8_t)j->value);
	observe(j, p, (write ? OP_WRITE : OP_READ) + size, &cpu);
	observe(j, p, (write ? OP_INS : OP_OUTS) + size, &hv);
	/* INS and OUTS move on, MOV does not. */
	hv.rsi = cpu.rsi;
	hv.rdi = cpu.rdi;
	if (!write && size == 0 && hv.vector == DONE)
		hv.value = inb(PORT);
	else if (!write && size != 0)
		hv.value = cpu.value;
	seen.crossing += crossing && size != 0 && p->shift == 12;
	return judge(j, p, &cpu, &hv, write ? "write" : "read");
}

/* Many bytes, up or down, often into the next page: REP LODS and REP STOS show where they stop. */
static bool compare_many(struct job *j, struct path *p)
{
	uint64_t count = random() % 24, offset = random() % PAGE;
	bool write = once(2);
	struct outcome cpu, hv;

	if (once(2))
		offset = PAGE - 1 - random() % 16;
	if (once(4)) {
		j->flags |= FLAG_DF;
		offset = random() % 16;
	}
	j->va = (j->va & ~(PAGE - 1)) | offset;
	p->gpa = (p->gpa & ~(PAGE - 1)) | offset;
	j->value = count << 32 | (random() & 0xff);
	outb(PORT, (uint8_t)j->value);
	observe(j, p, write ? OP_REP_STOS : OP_REP_LODS, &cpu);
	observe(j, p, write ? OP_REP_INS : OP_REP_OUTS, &hv);
	if (!write) {
		cpu.value &= 0xff;
		hv.value = inb(PORT);
	}
	seen.repeated++;
	seen.broken += raised(&cpu) && cpu.rcx != count;
	return judge(j, p, &cpu, &hv, write ? "REP write" : "REP read");
}

static bool compare(const struct paging *g)
{
	struct path p;
	struct job j;

	path_make(&p, 0);
	job_random(&j, g);
	j.va = p.va;
	return once(4) ? compare_many(&j, &p) : compare_one(&j, &p);
}

unsigned mmu_strings(const struct paging *g, unsigned cases)
{
	unsigned different = 0;

	seen.allowed = seen.refused = seen.crossing = seen.repeated = seen.broken = 0;
	for (unsigned i = 0; i < cases && different < 5; i++) {
		if (i % 64 == 0)
			tables_begin(g);
		different += !compare(g);
	}
	say("mmu: %s: %u allowed, %u refused, %u over two pages, %u REP, of which %u broke off\n",
	    g->name, seen.allowed, seen.refused, seen.crossing, seen.repeated, seen.broken);
	return different;
}

/* --- the topmost entries of PAE paging ---------------------------------------------------- */

/* Loaded by the CPU, for MOV CR3, and by the hypervisor, for MOV CR0 that changes CD. */
static struct job load(unsigned op, uint64_t value)
{
	struct job j = {
		.cr0 = CR0_BASE,
		.cr3 = tables_root(),
		.cr4 = CR4_PAE,
		.op = op,
		.va = tables_root() + 8,
		.value = value,
	};

	mmu_enter(&j);
	*qword(j.va) = 0;
	return j;
}

static unsigned differ(uint64_t value, const struct job *cpu, const struct job *hv)
{
	if (cpu->vector == hv->vector)
		return 0;
	say("mmu: DIFFERENT: PDPTE 0x%lx: CPU %lu, Nestling %lu\n", value, cpu->vector, hv->vector);
	return 1;
}

/* What was loaded is what counts: a table whose first page of 2 MiB is our data. */
static unsigned check_loaded(void)
{
	static uint64_t table[512] __attribute__((aligned(4096)));
	uint64_t value = (uint64_t)table | PTE_P;
	struct job cpu, hv;

	table[0] = DATA | PTE_P | PTE_W | PTE_LARGE;
	*(volatile uint8_t *)qword(DATA) = 0x6d;
	cpu = load(OP_CR3_READ, value);
	hv = load(OP_CR0_CD_READ, value);
	if (cpu.vector == DONE && hv.vector == DONE && cpu.value == 0x6d && hv.value == 0x6d)
		return 0;
	say("mmu: DIFFERENT: a loaded PDPTE: CPU %lu 0x%lx, Nestling %lu 0x%lx\n", cpu.vector,
	    cpu.value, hv.vector, hv.value);
	return 1;
}

unsigned mmu_pdptes(void)
{
	unsigned different, refused = 0;

	tables_begin(&pagings[2]);
	different = check_loaded();
	for (unsigned i = 0; i < 128; i++) {
		uint64_t value = 1ul << i % 64 | i / 64;
		struct job cpu = load(OP_CR3, value), hv = load(OP_CR0_CD, value);

		refused += cpu.vector != DONE;
		different += differ(value, &cpu, &hv);
	}
	say("mmu: PDPTEs: %u of 128 refused\n", refused);
	return different;
}
