/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Two walkers of one and the same tables: the CPU's, by plain accesses, and the hypervisor's, by
 * INS and OUTS, or asked at the console. What they raise, read, write and mark must be the same.
 *
 *   cmdline: seed=1 cases=1000   comparisons by INS and OUTS, for each kind of paging
 *            sets=0              sets of accesses for the console (mmu_sets.c)
 *            tcg=1               QEMU without KVM does not give P with RSVD in an error code, and
 *                                sets A in a PDPTE
 */
#include "guest/tiny/mmu.h"

#define IDT_VECTORS 0x31
#define PF_P	    1ul
#define PF_RSVD	    8ul

extern uint32_t idt32[2 * IDT_VECTORS];
extern uint64_t idt64[2 * IDT_VECTORS], test_tss64[2], test_tss32[1];
extern char stubs32[], stubs64[], trap_stack_top[];

static uint32_t tss32[26], tss64[26]; /* 104 bytes each */

uint64_t cr4_can;

_Static_assert(offsetof(struct job, pkru) == 32, "mmu_switch.S");
_Static_assert(offsetof(struct job, va) == 40, "mmu_switch.S");
_Static_assert(offsetof(struct job, value) == 64, "mmu_switch.S");
_Static_assert(offsetof(struct job, cr4_seen) == 96, "mmu_switch.S");
_Static_assert(offsetof(struct job, rdi) == 120, "mmu_switch.S");

/* --- what the other modes need ------------------------------------------------------------ */

static void set_gates(unsigned vector)
{
	uint64_t from32 = (uint64_t)stubs32 + 16 * vector, from64 = (uint64_t)stubs64 + 16 * vector;
	uint32_t type = vector == DONE ? 0xee00 : 0x8e00;

	idt32[2 * vector] = (uint32_t)((from32 & 0xffff) | 0x08 << 16);
	idt32[2 * vector + 1] = (uint32_t)((from32 & 0xffff0000) | type);
	idt64[2 * vector] = (from64 & 0xffff) | 0x18 << 16 | (uint64_t)type << 32 |
			    (from64 >> 16 & 0xffff) << 48;
}

static uint64_t tss_descriptor(const uint32_t *tss)
{
	uint64_t base = (uint64_t)tss;

	return 103 | (base & 0xffffff) << 16 | 0x89ul << 40 | (base >> 24 & 0xff) << 56;
}

static void prepare(void)
{
	for (unsigned v = 0; v < 32; v++)
		set_gates(v);
	set_gates(DONE);
	tss32[1] = tss64[1] = (uint32_t)(uint64_t)trap_stack_top;
	tss32[2] = 0x10;
	tss32[25] = tss64[25] = sizeof(tss32) << 16;
	test_tss32[0] = tss_descriptor(tss32);
	test_tss64[0] = tss_descriptor(tss64);
}

/* --- registers ---------------------------------------------------------------------------- */

static bool takes(const struct paging *g, uint64_t cr4)
{
	struct job j = {
		.cr0 = CR0_BASE,
		.cr3 = tables_root(),
		.cr4 = g->cr4 | cr4,
		.efer = g->efer,
		.op = OP_NOTHING,
	};

	tables_begin(g);
	mmu_enter(&j);
	return j.inside && j.vector == DONE && (j.cr4_seen & cr4) == cr4;
}

bool paging_possible(const struct paging *g)
{
	return takes(g, g->cr4);
}

static void find_features(void)
{
	const uint64_t bits[] = { CR4_SMEP, CR4_SMAP, CR4_PKE };

	for (unsigned i = 0; i < 3; i++)
		if (takes(&pagings[3], bits[i]))
			cr4_can |= bits[i];
}

void job_random(struct job *j, const struct paging *g)
{
	uint64_t bits = random();

	*j = (struct job){
		.cr0 = CR0_BASE | (bits & CR0_WP),
		.cr3 = tables_root(),
		.cr4 = g->cr4 | (bits & cr4_can),
		.efer = g->efer | (bits & EFER_NXE),
		/* Key 0 is that of our own pages. */
		.pkru = (uint32_t)random() & ~3u,
		.flags = 3ul << 12 | (bits & FLAG_AC),
		.user = bits >> 40 & 1,
	};
	/* More often than not, so that not everything fails. */
	if (once(2))
		j->efer |= EFER_NXE;
}

bool mmu_tcg;

uint64_t mmu_error(const struct job *j)
{
	bool rsvd = j->vector == VECTOR_PF && (j->error & PF_RSVD) != 0;

	return mmu_tcg && rsvd ? j->error | PF_P : j->error;
}

/* --- all of it ---------------------------------------------------------------------------- */

int main(void)
{
	unsigned cases = (unsigned)option_number("cases", 1000), different = 0;
	unsigned sets = (unsigned)option_number("sets", 0);
	uint64_t seed = option_number("seed", 1);

	mmu_tcg = option_number("tcg", 0) != 0;
	prepare();
	find_features();
	say("mmu: seed %lu, cr4 takes 0x%lx\n", seed, cr4_can);
	for (unsigned i = 0; i < PAGINGS; i++) {
		const struct paging *g = &pagings[i];

		if (!paging_possible(g)) {
			say("mmu: %s: not on this CPU\n", g->name);
			continue;
		}
		random_start(seed + i);
		tables_begin(g);
		different += mmu_strings(g, cases);
		random_start(seed + i);
		mmu_sets(g, sets);
	}
	different += mmu_pdptes();
	if (different == 0)
		say("mmu: pass\n");
	else
		say("mmu: FAIL: %u differ\n", different);
	return different != 0;
}
