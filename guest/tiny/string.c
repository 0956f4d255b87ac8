/* SPDX-License-Identifier: MPL-2.0 */
/*
 * INS and OUTS to memory that a CPU would refuse, or only just allow: what is raised, what is done
 * before it, and which marks are left in the tables. The hypervisor does these instructions; the
 * guest must not be able to tell.
 *
 *   WINDOW, at 512 GiB: three pages of our own      32-bit code: string_compat.S
 */
#include "guest/tiny/tiny.h"

#define WINDOW	  (1ul << 39)
#define PORT	  0x3ff /* a register of the UART that keeps what is written to it */
#define CR0_WP	  (1ul << 16)
#define CR0_AM	  (1ul << 18)
#define CR4_SMAP  (1ul << 21)
#define FLAG_DF	  (1ul << 10)
#define FLAG_IOPL (3ul << 12)
#define FLAG_AC	  (1ul << 18)
#define MSR_FS	  0xc0000100
#define PF_P	  1ul
#define PF_W	  2ul
#define PF_U	  4ul
#define PF_RSVD	  8ul
#define HOLE	  0x8000000000000000ul /* not canonical */
#define LAST_LOW  0x00007ffffffffffful /* the last address below the hole */
#define FRESH	  0x900000ul	       /* RAM that nobody has touched */
#define VECTOR_AC 17
#define SELECTOR  0x40

static uint64_t window_pdpt[512] __attribute__((aligned(4096)));
static uint64_t window_pd[512] __attribute__((aligned(4096)));
static uint64_t window_pt[512] __attribute__((aligned(4096)));
static uint8_t memory[3 * 4096] __attribute__((aligned(4096)));
static unsigned passed, failed;

static void check(bool ok, const char *text)
{
	if (ok) {
		passed++;
	} else {
		failed++;
		say("string: FAIL: %s (vector error 0x%lx, cr2 0x%lx, rcx 0x%lx)\n", text,
		    trap.error, trap.cr2, trap.rcx);
	}
}

/* --- the instructions -------------------------------------------------------------------- */

struct op {
	uint64_t index, count; /* RSI or RDI; after a fault they are in `trap` */
};

#define DEFINE_OP(name, reg, text)                                                                 \
	static void name(void *arg)                                                                \
	{                                                                                          \
		struct op *o = arg;                                                                \
		uint64_t index = o->index, count = o->count;                                       \
                                                                                                   \
		__asm__ volatile(text : "+" reg(index), "+c"(count) : "d"(PORT) : "memory", "cc"); \
		*o = (struct op){ index, count };                                                  \
	}

DEFINE_OP(insb, "D", "insb")
DEFINE_OP(insw, "D", "insw")
DEFINE_OP(insl, "D", "insl")
DEFINE_OP(rep_insb, "D", "rep insb")
DEFINE_OP(rep_insb_down, "D", "std; rep insb; cld")
DEFINE_OP(outsb, "S", "outsb")
DEFINE_OP(outsw, "S", "outsw")
DEFINE_OP(rep_outsb, "S", "rep outsb")
DEFINE_OP(outsb_fs, "S", "outsb %%fs:(%%rsi), (%%dx)")
DEFINE_OP(outsb_32, "S", "outsb (%%esi), (%%dx)")
DEFINE_OP(rep_insb_32, "D", "rep insb (%%dx), (%%edi)")

/* The register of 8 bits: what OUTS wrote, what INS will read. */
static uint8_t kept(void)
{
	return inb(PORT);
}

static struct op op;

static int run(void (*f)(void *), uint64_t index, uint64_t count)
{
	op = (struct op){ index, count };
	return try_call(f, &op);
}

static bool works(void (*f)(void *), uint64_t index)
{
	return run(f, index, 0) == TRY_DONE;
}

static bool faults(void (*f)(void *), uint64_t index, uint64_t cr2, uint64_t error)
{
	return run(f, index, 7) == VECTOR_PF && trap.cr2 == cr2 && trap.error == error &&
	       trap.rcx == 7;
}

static bool protects(void (*f)(void *), uint64_t index)
{
	return run(f, index, 7) == VECTOR_GP && trap.error == 0 && trap.rcx == 7;
}

/* --- the window -------------------------------------------------------------------------- */

static void map(unsigned page, uint64_t bits)
{
	window_pt[page] = bits == 0 ? 0 : (uint64_t)(memory + page * PAGE) | bits;
	invlpg((void *)(WINDOW + page * PAGE));
}

static void make_window(void)
{
	pml4[1] = (uint64_t)window_pdpt | PTE_P | PTE_W | PTE_U;
	window_pdpt[0] = (uint64_t)window_pd | PTE_P | PTE_W | PTE_U;
	window_pd[0] = (uint64_t)window_pt | PTE_P | PTE_W | PTE_U;
}

static uint64_t marks(unsigned page)
{
	return window_pt[page] & (PTE_A | PTE_D);
}

/* --- one page ---------------------------------------------------------------------------- */

static void check_absent(void)
{
	map(0, 0);
	check(faults(outsb, WINDOW + 5, WINDOW + 5, 0), "OUTS from an absent page");
	check(faults(insb, WINDOW + 5, WINDOW + 5, PF_W), "INS to an absent page");
	check(trap.rdi == WINDOW + 5, "a fault moved RDI");
	check(faults(insl, WINDOW + 8, WINDOW + 8, PF_W), "INSD to an absent page");
	window_pd[0] &= ~PTE_P;
	invlpg((void *)WINDOW);
	check(faults(outsb, WINDOW, WINDOW, 0), "OUTS where there is no table");
	window_pd[0] |= PTE_P;
}

static void check_rights(void)
{
	map(0, PTE_P);
	write_cr0(read_cr0() | CR0_WP);
	check(faults(insb, WINDOW + 9, WINDOW + 9, PF_P | PF_W), "INS to a read-only page");
	check(marks(0) == 0, "a fault for want of a right left marks");
	check(works(outsb, WINDOW + 9), "OUTS from a read-only page");
	check(marks(0) == PTE_A, "OUTS sets accessed alone");
	write_cr0(read_cr0() & ~CR0_WP);
	check(works(insb, WINDOW + 9), "INS to a read-only page without CR0.WP");
	check(marks(0) == (PTE_A | PTE_D), "INS sets accessed and dirty");
	check((window_pd[0] & window_pdpt[0] & pml4[1] & PTE_A) != 0, "upper entries accessed");
	check(((window_pd[0] | window_pdpt[0] | pml4[1]) & PTE_D) == 0, "upper entries not dirty");
	if ((cpuid(0x80000008, 0).eax & 0xff) < 52) {
		map(0, PTE_P | PTE_W | 1ul << 51);
		check(faults(outsb, WINDOW, WINDOW, PF_P | PF_RSVD), "OUTS by a reserved bit");
		check(faults(insb, WINDOW, WINDOW, PF_P | PF_W | PF_RSVD), "INS by a reserved bit");
		check(marks(0) == 0, "a reserved bit left marks");
	}
}

static void set_flags(uint64_t set, uint64_t clear)
{
	__asm__ volatile("pushfq; orq %0, (%%rsp); andq %1, (%%rsp); popfq" ::"r"(set), "r"(~clear)
			 : "memory", "cc");
}

static void check_smap(void)
{
	if ((cpuid(7, 0).ebx >> 20 & 1) == 0)
		return;
	map(0, PTE_P | PTE_W | PTE_U);
	/* All that the rest of us runs on is the user's too. */
	for (unsigned i = 0; i < 8; i++)
		pd[i] &= ~PTE_U;
	write_cr3(read_cr3());
	write_cr4(read_cr4() | CR4_SMAP);
	check(faults(outsb, WINDOW, WINDOW, PF_P), "OUTS from a user's page with SMAP");
	check(faults(insb, WINDOW, WINDOW, PF_P | PF_W), "INS to a user's page with SMAP");
	set_flags(FLAG_AC, 0);
	check(works(insb, WINDOW), "INS to a user's page with SMAP and AC");
	set_flags(0, FLAG_AC);
	write_cr4(read_cr4() & ~CR4_SMAP);
	for (unsigned i = 0; i < 8; i++)
		pd[i] |= PTE_U;
	write_cr3(read_cr3());
}

static void user_outsb(void)
{
	__asm__ volatile("outsb" ::"S"(WINDOW + 1), "d"(PORT));
}

static void user_insl(void)
{
	__asm__ volatile("insl" ::"D"(WINDOW + 1), "d"(PORT) : "memory");
}

static void check_user(void)
{
	map(0, PTE_P | PTE_W);
	check(try_user(user_outsb) == VECTOR_GP, "OUTS at CPL 3 without I/O privilege");
	set_flags(FLAG_IOPL, 0);
	check(try_user(user_outsb) == VECTOR_PF && trap.error == (PF_P | PF_U),
	      "OUTS at CPL 3 from a supervisor's page");
	check(try_user(user_insl) == VECTOR_PF && trap.error == (PF_P | PF_W | PF_U),
	      "INS at CPL 3 to a supervisor's page");
	map(0, PTE_P | PTE_U);
	check(try_user(user_outsb) == TRY_DONE, "OUTS at CPL 3 from a user's page");
	check(try_user(user_insl) == VECTOR_PF && trap.error == (PF_P | PF_W | PF_U),
	      "INS at CPL 3 to a read-only page, without CR0.WP");
	map(0, PTE_P | PTE_W | PTE_U);
	write_cr0(read_cr0() | CR0_AM);
	set_flags(FLAG_AC, 0);
	check(try_user(user_insl) == VECTOR_AC && trap.error == 0, "INS at CPL 3, not aligned");
	check(works(insl, WINDOW + 1), "INS at CPL 0, not aligned");
	set_flags(0, FLAG_AC | FLAG_IOPL);
	write_cr0(read_cr0() & ~CR0_AM);
}

/* --- two pages --------------------------------------------------------------------------- */

static void check_crossing(void)
{
	uint64_t last = WINDOW + PAGE - 1;

	map(0, PTE_P | PTE_W);
	map(1, 0);
	memory[PAGE - 1] = 0x11;
	check(faults(insw, last, WINDOW + PAGE, PF_W), "INSW, the second page absent");
	check(memory[PAGE - 1] == 0x11, "INSW wrote to the first page before it faulted");
	check(faults(outsw, last, WINDOW + PAGE, 0), "OUTSW, the second page absent");
	map(0, 0);
	map(1, PTE_P | PTE_W);
	check(faults(insw, last, last, PF_W), "INSW, the first page absent");
	check(marks(1) == 0, "INSW marked the second page before the first faulted");
	map(0, PTE_P | PTE_W);
	memory[PAGE - 2] = memory[PAGE + 1] = 0x22;
	check(works(insw, last) && op.index == WINDOW + PAGE + 1, "INSW to two pages");
	check(memory[PAGE - 1] == 0xff && memory[PAGE] == 0xff, "INSW to two pages: the bytes");
	check(memory[PAGE - 2] == 0x22 && memory[PAGE + 1] == 0x22, "INSW wrote around it");
	check(marks(0) == (PTE_A | PTE_D) && marks(1) == (PTE_A | PTE_D), "INSW marks both pages");
}

/* --- many elements ----------------------------------------------------------------------- */

static void check_repeat(void)
{
	map(0, PTE_P | PTE_W);
	map(1, 0);
	outb(PORT, 0x77);
	check(run(rep_insb, WINDOW + PAGE - 3, 10) == VECTOR_PF && trap.cr2 == WINDOW + PAGE &&
		      trap.rdi == WINDOW + PAGE && trap.rcx == 7 && memory[PAGE - 1] == 0x77,
	      "REP INSB stops behind its third element");
	map(1, PTE_P | PTE_W);
	check(run(rep_insb, trap.rdi, trap.rcx) == TRY_DONE && op.count == 0 &&
		      op.index == WINDOW + PAGE + 7 && memory[PAGE + 6] == 0x77 &&
		      memory[PAGE + 7] != 0x77,
	      "REP INSB goes on");
	map(0, 0);
	check(run(rep_insb_down, WINDOW + PAGE + 1, 5) == VECTOR_PF &&
		      trap.cr2 == WINDOW + PAGE - 1 && trap.rdi == WINDOW + PAGE - 1 &&
		      trap.rcx == 3,
	      "REP INSB downwards");
	set_flags(0, FLAG_DF);
	memory[PAGE + 100] = 0x5c;
	check(run(rep_outsb, WINDOW + PAGE + 98, 3) == TRY_DONE && kept() == 0x5c, "REP OUTSB");
	map(1, 0);
	check(run(rep_outsb, WINDOW + PAGE, 0) == TRY_DONE && op.index == WINDOW + PAGE,
	      "REP OUTSB of nothing");
	/* More than the host does at a time, over three pages that come in one by one. */
	map(0, PTE_P | PTE_W);
	map(1, PTE_P | PTE_W);
	check(run(rep_insb, WINDOW + 1, 3 * PAGE) == VECTOR_PF && trap.cr2 == WINDOW + 2 * PAGE &&
		      trap.rcx == PAGE + 1 && trap.rdi == trap.cr2,
	      "REP INSB over three pages");
}

/* --- addresses --------------------------------------------------------------------------- */

static void check_addresses(void)
{
	uint64_t low = (uint64_t)memory;

	check(protects(outsb, HOLE), "OUTS from the hole");
	check(protects(insb, HOLE), "INS to the hole");
	check(protects(insw, LAST_LOW), "INSW into the hole");
	check(*qword(FRESH) == 0 && works(insb, FRESH + PAGE + 4) &&
		      *qword(FRESH + PAGE) == (uint64_t)kept() << 32,
	      "INS to memory that nobody has touched");
	memory[40] = 0x41;
	wrmsr(MSR_FS, low);
	check(works(outsb_fs, 40) && kept() == 0x41, "OUTS by FS");
	wrmsr(MSR_FS, LAST_LOW);
	check(protects(outsb_fs, 1), "OUTS by FS into the hole");
	wrmsr(MSR_FS, 0);
	memory[41] = 0x42;
	check(works(outsb_32, 0xabcdef0000000000 | (low + 41)) && kept() == 0x42 &&
		      op.index == low + 42,
	      "OUTS with an address of 32 bits");
	check(run(rep_insb_32, 0x1200000000 | low, 0xff00000002) == TRY_DONE &&
		      op.index == low + 2 && op.count == 0,
	      "REP INS with registers of 32 bits");
}

/* --- segments, in 32-bit code ------------------------------------------------------------ */

struct compat {
	uint32_t index, count, port, selector;
};

void compat_insb(void *arg);
void compat_insw(void *arg);
void compat_insl(void *arg);
void compat_rep_insb(void *arg);
void compat_outsb(void *arg);
void compat_outsl(void *arg);
void compat_outsb_es(void *arg);
void compat_outsb_16(void *arg);

static struct compat compat;

static int run_compat(void (*f)(void *), uint32_t index, uint32_t selector)
{
	compat = (struct compat){ index, 5, PORT, selector };
	return try_call(f, &compat);
}

static bool compat_protects(void (*f)(void *), uint32_t index, uint32_t selector)
{
	return run_compat(f, index, selector) == VECTOR_GP && trap.error == 0 && trap.rcx == 5;
}

/* type: of a descriptor, with S, DPL and P; limit: in bytes, below 1 MiB, or in pages */
static void set_segment(uint64_t base, uint64_t limit, uint64_t type, bool pages)
{
	gdt[SELECTOR / 8] = (limit & 0xffff) | (base & 0xffffff) << 16 | type << 40 |
			    (limit >> 16 & 15) << 48 | (pages ? 0xcul : 0x4ul) << 52 |
			    (base >> 24 & 0xff) << 56;
}

static void check_limits(void)
{
	uint64_t base = (uint64_t)memory;

	set_segment(base, 99, 0x93, false);
	outb(PORT, 0x33);
	check(run_compat(compat_insl, 96, SELECTOR) == TRY_DONE && memory[96] == 0xff &&
		      compat.index == 100,
	      "INSD up to the limit");
	check(compat_protects(compat_insl, 97, SELECTOR), "INSD over the limit");
	check(compat_protects(compat_insb, 0xffffffff, SELECTOR), "INS far behind the limit");
	check(compat_protects(compat_outsl, 97, SELECTOR), "OUTSD over the limit");
	check(run_compat(compat_rep_insb, 97, SELECTOR) == VECTOR_GP && trap.rcx == 2 &&
		      (uint32_t)trap.rdi == 100 && memory[99] == 0x33,
	      "REP INS up to the limit");
	memory[50] = 0x50;
	check(run_compat(compat_outsb_es, 50, SELECTOR) == TRY_DONE && kept() == 0x50,
	      "OUTS by ES");
	check(run_compat(compat_outsb_16, 0x70000 + 50, SELECTOR) == TRY_DONE && kept() == 0x50 &&
		      compat.index == 0x70000 + 51,
	      "OUTS with an address of 16 bits");
	set_segment(base, 99, 0x97, false);
	check(compat_protects(compat_insb, 99, SELECTOR), "INS below a limit that goes down");
	check(run_compat(compat_insb, 100, SELECTOR) == TRY_DONE, "INS above it");
	check(compat_protects(compat_insw, 0xffffffff, SELECTOR), "INSW beyond 4 GiB of it");
}

static void check_types(void)
{
	set_segment((uint64_t)memory, 99, 0x91, false);
	check(compat_protects(compat_insb, 0, SELECTOR), "INS to a read-only segment");
	check(run_compat(compat_outsb, 0, 0x10) == TRY_DONE, "OUTS from a flat segment");
	check(compat_protects(compat_insb, (uint32_t)(uint64_t)memory, 0), "INS by a null segment");
	set_segment((uint64_t)memory, 99, 0x9b, false);
	check(compat_protects(compat_insb, 0, SELECTOR), "INS to a code segment");
}

/* Linear addresses of 32-bit code wrap around at 4 GiB, in long mode, too. */
static void check_wrap(void)
{
	uint64_t saved = pd[2047];
	volatile uint8_t *top = (volatile uint8_t *)qword(0x7fffff);

	set_segment(0xfffff000, 0xfffff, 0x93, true);
	pd[2047] = 0x600000 | PTE_P | PTE_W | PTE_LARGE;
	write_cr3(read_cr3());
	*top = 0;
	*(volatile uint8_t *)qword(PAGE) = 0;
	outb(PORT, 0x99);
	check(run_compat(compat_insw, 0xfff, SELECTOR) == TRY_DONE && *top == 0xff &&
		      (pd[2047] & PTE_D) != 0,
	      "INSW over 4 GiB");
	check(run_compat(compat_insb, 0x2000, SELECTOR) == TRY_DONE &&
		      *(volatile uint8_t *)qword(PAGE) == 0x99,
	      "INS behind 4 GiB");
	pd[2047] = 0;
	write_cr3(read_cr3());
	check(run_compat(compat_insw, 0xfff, SELECTOR) == VECTOR_PF && trap.cr2 == 0xffffffff &&
		      trap.error == PF_W,
	      "INSW over 4 GiB from an absent page");
	pd[2047] = saved;
	write_cr3(read_cr3());
}

/* --- registers that the hypervisor keeps for each of its guests --------------------------- */

#define CR4_PKE (1ul << 22)
#define TURNS	32

static void set_cr4(void *value)
{
	write_cr4((uint64_t)value);
}

static uint32_t pkru_read(void)
{
	uint32_t value;

	__asm__ volatile("rdpkru" : "=a"(value) : "c"(0) : "rdx");
	return value;
}

/* While another guest, which does the same, has the CPU in between. */
static void check_kept(void)
{
	bool keys = try_call(set_cr4, ARG(read_cr4() | CR4_PKE)) == TRY_DONE &&
		    (read_cr4() & CR4_PKE) != 0;
	bool cr2_kept = true, pkru_kept = true;

	for (unsigned i = 0; i < TURNS; i++) {
		uint64_t value = rdtsc() | 1;
		uint32_t rights = (uint32_t)value & ~3u; /* key 0 is that of all our pages */

		write_cr2(value);
		if (keys)
			__asm__ volatile("wrpkru" ::"a"(rights), "c"(0), "d"(0) : "memory");
		hypercall(HC_YIELD, 0, 0, 0);
		cr2_kept = cr2_kept && read_cr2() == value;
		pkru_kept = pkru_kept && (!keys || pkru_read() == rights);
	}
	check(cr2_kept, "CR2 over the turn of another guest");
	check(pkru_kept, "PKRU over the turn of another guest");
	write_cr4(read_cr4() & ~CR4_PKE);
}

int main(void)
{
	check_kept();
	make_window();
	check_absent();
	check_rights();
	check_smap();
	check_user();
	check_crossing();
	check_repeat();
	check_addresses();
	check_limits();
	check_types();
	check_wrap();
	if (failed == 0)
		say("string: pass %u checks\n", passed);
	else
		say("string: FAIL %u of %u checks\n", failed, passed + failed);
	return failed != 0;
}
