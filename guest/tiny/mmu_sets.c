/* SPDX-License-Identifier: MPL-2.0 */
/*
 * For the console: a set of paths in one set of tables, one line for each address with what the CPU
 * makes of it, and then the guest waits with those registers and tables until there is something in
 * the mailbox.
 *
 *   mmu: at ADDRESS OUTCOME x 6        read, write, execute as supervisor; as user
 *   mmu: ask when cr3 is ADDRESS       it is on its way there
 *
 * OUTCOME: ok; or vector:error in hexadecimal, and :CR2 where a page fault has another address.
 */
#include "guest/tiny/mmu.h"

#define RET 0xc3

static void access(struct job *j, const struct path *p, unsigned op)
{
	*(volatile uint8_t *)qword(p->gpa) = RET;
	path_restore(p);
	j->op = op;
	j->va = p->va;
	j->value = RET;
	mmu_enter(j);
	if (j->vector == DONE)
		say(" ok");
	else if (j->vector == VECTOR_PF && j->cr2 != p->va)
		say(" %lx:%lx:%lx", j->vector, mmu_error(j), j->cr2);
	else
		say(" %lx:%lx", j->vector, mmu_error(j));
}

static void one_set(const struct paging *g)
{
	static struct path paths[SLOTS];
	struct job j;

	tables_begin(g);
	job_random(&j, g);
	for (unsigned i = 0; i < SLOTS; i++)
		path_make(&paths[i], i);
	for (unsigned i = 0; i < SLOTS; i++) {
		const unsigned ops[3] = { OP_READ, OP_WRITE, OP_EXEC };

		say("mmu: at 0x%lx", paths[i].va);
		for (unsigned k = 0; k < 6; k++) {
			j.user = k / 3;
			access(&j, &paths[i], ops[k % 3]);
		}
		say("\n");
		path_restore(&paths[i]);
	}
	*qword(MAILBOX) = 0;
	say("mmu: ask when cr3 is 0x%lx\n", tables_root());
	j.user = 0;
	j.op = cpu_is_amd() ? OP_WAIT_AMD : OP_WAIT_INTEL;
	j.va = MAILBOX;
	mmu_enter(&j);
}

void mmu_sets(const struct paging *g, unsigned sets)
{
	for (unsigned i = 0; i < sets; i++) {
		say("mmu: set %u of %s\n", i, g->name);
		one_set(g);
	}
}
