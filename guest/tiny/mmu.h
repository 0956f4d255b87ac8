/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The parts of the guest mmu: it makes one access at a time under page tables and registers of all
 * kinds, and sees what the CPU makes of it.
 *
 *   mmu_switch.S   leaves long mode, goes into the mode that a job wants, does one thing there, and
 *                  comes back with what happened
 *   mmu_tables.c   random tables: paths to a page, each entry almost good
 *   mmu_strings.c  the same access by MOV and by INS or OUTS
 *   mmu_sets.c     accesses whose outcome somebody at the console compares with what it says
 */
#ifndef GUEST_TINY_MMU_H
#define GUEST_TINY_MMU_H

#include "guest/tiny/tiny.h"

#define CR0_BASE 0x80000033ul /* PG, NE, ET, MP, PE */
#define CR0_WP	 (1ul << 16)
#define CR4_PSE	 (1ul << 4)
#define CR4_PAE	 (1ul << 5)
#define CR4_LA57 (1ul << 12)
#define CR4_SMEP (1ul << 20)
#define CR4_SMAP (1ul << 21)
#define CR4_PKE	 (1ul << 22)
#define EFER_LME (1ul << 8)
#define EFER_NXE (1ul << 11)
#define FLAG_DF	 (1ul << 10)
#define FLAG_AC	 (1ul << 18)
#define MAILBOX	 0x7000ul
#define PORT	 0x3ff /* a register of the UART that keeps what is written to it */

/* --- one access --------------------------------------------------------------------------- */

/* What to do: the number of a stub in mmu_switch.S. The first of three is of one byte, the next of
 * two, then four. */
enum op {
	OP_READ = 0,
	OP_WRITE = 3,
	OP_OUTS = 6,
	OP_INS = 9,
	OP_EXEC = 12,
	OP_NOTHING,
	OP_WAIT_AMD, /* until there is something at `va` */
	OP_WAIT_INTEL,
	OP_CR3,	     /* writes `value` to `va`, and loads CR3 with what it has; 32 bits only */
	OP_CR0_CD,   /* the same, and changes CD */
	OP_CR3_READ, /* as those two, and then reads a byte at 1 GiB */
	OP_CR0_CD_READ,
	OP_REP_LODS, /* of bytes, the upper half of `value` is their number */
	OP_REP_STOS,
	OP_REP_OUTS,
	OP_REP_INS,
};

#define DONE 0x30 /* the vector when nothing was raised */

/* Laid out for mmu_switch.S. All that it needs lies below 4 MiB, where linear is physical. */
struct job {
	uint64_t cr0, cr3, cr4, efer;
	uint32_t pkru; /* with CR4.PKE */
	uint32_t op;
	uint64_t va;
	uint64_t flags;	 /* RFLAGS beyond bit 1 */
	uint32_t user;	 /* at CPL 3 */
	uint32_t inside; /* the mode was reached */
	uint64_t value;	 /* EAX before it, and above it ECX; RAX after it */
	uint64_t vector, error, cr2, cr4_seen;
	uint64_t rcx, rsi, rdi; /* after it */
};

void mmu_enter(struct job *job);

/* --- tables ------------------------------------------------------------------------------- */

struct paging {
	const char *name;
	uint64_t cr4, efer;
	unsigned top, bits, size; /* level of the topmost table; of an index; bytes of an entry */
};

#define PAGINGS 5
extern const struct paging pagings[PAGINGS];

#define SLOTS	   16
#define PATH_MAX   6
#define DATA	   0x800000ul /* 8 MiB: pages lie here */
#define DATA_BYTES 0x800000ul

struct path {
	uint64_t va, gpa; /* where it would lead to if all were well */
	uint64_t shift;	  /* log2 of the page's size */
	unsigned n;	  /* entries on the way, and then that of the next page */
	struct {
		uint64_t at, value;
		unsigned size, level;
	} entry[PATH_MAX];
};

/* The kind of tables that the paths to come are for, with what the guest itself needs. */
void tables_begin(const struct paging *g);
uint64_t tables_root(void);

/* A random path in slot 0 .. SLOTS - 1, written to memory. With PAE paging every third shares its
 * topmost entry. */
void path_make(struct path *p, unsigned slot);
/* Writes its entries as they were made; reads the one of that number as it is now. */
void path_restore(const struct path *p);
uint64_t path_entry_now(const struct path *p, unsigned i);
void path_say(const struct path *p);

/* --- chance ------------------------------------------------------------------------------- */

void random_start(uint64_t seed);
uint64_t random(void);
static inline bool once(unsigned n) /* in n times */
{
	return random() % n == 0;
}

/* --- what is tried ------------------------------------------------------------------------ */

/* CR4 bits that the CPU takes, whether CPUID shows them or not. */
extern uint64_t cr4_can;
bool paging_possible(const struct paging *g);
/* Registers at random. */
void job_random(struct job *j, const struct paging *g);

/* The command line says that the CPU is QEMU's. */
extern bool mmu_tcg;
/* The error code of a job that ended with an exception, as a CPU would have it. */
uint64_t mmu_error(const struct job *j);

/* They return how many differ. */
unsigned mmu_strings(const struct paging *g, unsigned cases);
void mmu_sets(const struct paging *g, unsigned sets);
unsigned mmu_pdptes(void);

#endif
