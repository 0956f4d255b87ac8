/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Goes from real mode through protected mode to long mode and checks facts in each. The first two
 * are modes_start.S; this is long mode.
 */
#include "guest/tiny/tiny.h"

#define MSR_EFER  0xc0000080
#define MSR_STAR  0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_MASK  0xc0000084
#define MSR_FS	  0xc0000100
#define EFER_SCE  1
#define CR0_WP	  (1ul << 16)
#define CR4_SSE	  (3ul << 9)
#define WINDOW	  (1ul << 39) /* linear address of pml4[1]: 4 KiB pages of our own */
#define PF_P	  1ul
#define PF_W	  2ul
#define PF_U	  4ul
#define PF_I	  16ul
#define HOLE	  0x8000000000000000ul /* not canonical */

extern uint32_t modes_passed, modes_failed;

static uint64_t window_pdpt[512] __attribute__((aligned(4096)));
static uint64_t window_pd[512] __attribute__((aligned(4096)));
static uint64_t window_pt[512] __attribute__((aligned(4096)));
static uint8_t page_a[4096] __attribute__((aligned(4096)));
static uint8_t page_b[4096] __attribute__((aligned(4096)));

static void check(bool ok, const char *text)
{
	if (ok) {
		modes_passed++;
	} else {
		modes_failed++;
		say("modes: FAIL: %s\n", text);
	}
}

/* --- what is tried ----------------------------------------------------------------------- */

static void do_read(void *at)
{
	*(volatile uint8_t *)at;
}

static void do_write(void *at)
{
	*(volatile uint8_t *)at = 0xc3; /* RET */
}

static void do_call(void *at)
{
	((void (*)(void))at)();
}

static void do_undefined(void *arg)
{
	(void)arg;
	__asm__ volatile("ud2");
}

static void do_divide(void *arg)
{
	__asm__ volatile("xorl %%edx, %%edx; divl %0" ::"r"((uint32_t)(uint64_t)arg)
			 : "eax", "edx", "cc");
}

static void user_nothing(void)
{
}

static void user_halt(void)
{
	__asm__ volatile("hlt");
}

static void user_read(void)
{
	*(volatile uint8_t *)WINDOW;
}

static bool faults(void (*f)(void *), uint64_t at, uint64_t error)
{
	return try_call(f, ARG(at)) == VECTOR_PF && trap.cr2 == at && trap.error == error;
}

static bool works(void (*f)(void *), uint64_t at)
{
	return try_call(f, ARG(at)) == TRY_DONE;
}

/* --- long mode itself -------------------------------------------------------------------- */

static void check_mode(void)
{
	uint64_t wide = 0x123456789abcdef0;
	uint16_t cs;

	__asm__ volatile("movw %%cs, %0" : "=r"(cs));
	check(cs == 0x18, "CS is not the 64-bit segment");
	check((rdmsr(MSR_EFER) & 0x500) == 0x500, "EFER does not show LME and LMA");
	check((rdmsr(MSR_EFER) & 0x800) != 0, "EFER does not show NXE");
	check((read_cr0() & 0x80000001) == 0x80000001, "CR0 does not show PG and PE");
	check((read_cr4() & 0x20) != 0, "CR4 does not show PAE");
	check(read_cr3() == (uint64_t)pml4, "CR3 is not our table");
	__asm__ volatile("rolq $32, %0" : "+r"(wide)::"cc");
	check(wide == 0x9abcdef012345678, "64-bit arithmetic went wrong");
	check(hypercall(HC_VERSION, 0, 0, 0) == HC_MAGIC, "a hypercall does not answer");
	check(hypercall(0x7777, 0, 0, 0) == HC_UNKNOWN, "an unknown hypercall is not refused");
	check(hypercall(HC_CPU_ID, 0, 0, 0) == 0, "the first vCPU is not number 0");
	check(mem_bytes() == (uint64_t)((volatile struct guest_boot_page *)qword(GUEST_BOOT_PAGE))
					     ->mem_pages *
				     PAGE,
	      "boot page and hypercall name different amounts of memory");
}

static void check_cpuid(void)
{
	struct cpuid_result one = cpuid(1, 0), hv = cpuid(0x40000000, 0);
	struct cpuid_result ext = cpuid(0x80000001, 0);

	check((one.ecx >> 31 & 1) != 0, "CPUID shows no hypervisor");
	check(hv.eax >= 0x40000000 && hv.eax < 0x40010000, "the hypervisor's leaves are missing");
	check((one.ecx >> 5 & 1) == 0, "CPUID shows VT-x");
	check((ext.ecx >> 2 & 1) == 0, "CPUID shows AMD-V");
	check((one.edx >> 25 & 3) == 3, "CPUID shows no SSE");
}

static void check_exceptions(void)
{
	check(try_call(do_undefined, NULL) == VECTOR_UD, "UD2 is not exception 6");
	check(try_call(do_divide, NULL) == VECTOR_DE, "a division by 0 is not exception 0");
	check(try_call(do_divide, ARG(1)) == TRY_DONE, "a division by 1 is an exception");
	check(try_call(do_read, ARG(HOLE)) == VECTOR_GP,
	      "an address that is not canonical is not exception 13");
	check(try_user(user_nothing) == TRY_DONE, "code at CPL 3 does not run");
	check(try_user(user_halt) == VECTOR_GP && trap.cs == 0x2b,
	      "HLT at CPL 3 is not exception 13");
}

/* --- paging ------------------------------------------------------------------------------ */

static void window(const void *page, uint64_t bits)
{
	window_pt[0] = bits == 0 ? 0 : (uint64_t)page | bits;
	invlpg((void *)WINDOW);
}

static void check_mapping(void)
{
	pml4[1] = (uint64_t)window_pdpt | PTE_P | PTE_W | PTE_U;
	window_pdpt[0] = (uint64_t)window_pd | PTE_P | PTE_W | PTE_U;
	window_pd[0] = (uint64_t)window_pt | PTE_P | PTE_W | PTE_U;
	window(page_a, PTE_P | PTE_W);
	*qword(WINDOW + 8) = 0xaaaa;
	check(*(volatile uint64_t *)(page_a + 8) == 0xaaaa, "a 4 KiB page maps elsewhere");
	check((window_pt[0] & (PTE_A | PTE_D)) == (PTE_A | PTE_D),
	      "a write did not set accessed and dirty");
	window(page_b, PTE_P | PTE_W);
	check(*qword(WINDOW + 8) == 0, "INVLPG did not take a changed mapping in");
	check((window_pt[0] & (PTE_A | PTE_D)) == PTE_A, "a read did not set accessed alone");
	window_pd[1] = 0x200000 | PTE_P | PTE_W | PTE_LARGE;
	*qword(0x200010) = 0x2222;
	check(*qword(WINDOW + 0x200010) == 0x2222, "a 2 MiB page maps elsewhere");
	if ((cpuid(0x80000001, 0).edx >> 26 & 1) == 0)
		return;
	window_pdpt[1] = 0 | PTE_P | PTE_W | PTE_LARGE;
	check(*qword(WINDOW + (1ul << 30) + 0x200010) == 0x2222, "a 1 GiB page maps elsewhere");
}

static void check_faults(void)
{
	window(NULL, 0);
	check(faults(do_read, WINDOW, 0), "a read of an absent page is not error code 0");
	check(faults(do_write, WINDOW, PF_W), "a write to an absent page is not error code 2");
	window(page_a, PTE_P);
	write_cr0(read_cr0() | CR0_WP);
	check(works(do_read, WINDOW), "a read-only page cannot be read");
	check(faults(do_write, WINDOW, PF_P | PF_W), "a read-only page can be written");
	write_cr0(read_cr0() & ~CR0_WP);
	check(works(do_write, WINDOW), "without CR0.WP a read-only page cannot be written");
	window(page_a, PTE_P | PTE_W | PTE_NX);
	check(works(do_write, WINDOW), "a page without execution cannot be written");
	check(faults(do_call, WINDOW, PF_P | PF_I), "a page without execution can be executed");
	window(page_a, PTE_P | PTE_W);
	check(works(do_call, WINDOW), "a page with execution cannot be executed");
	check(try_user(user_read) == VECTOR_PF && trap.error == (PF_P | PF_U),
	      "a supervisor's page can be read at CPL 3");
	window(page_a, PTE_P | PTE_U);
	check(try_user(user_read) == TRY_DONE, "a user's page cannot be read at CPL 3");
}

/* --- registers that exits must keep ------------------------------------------------------ */

static void check_registers(void)
{
	uint64_t in = 0x1122334455667788, out = 0, kept = 0, r15 = 0x1515;
	uint32_t leaf = 0;

	wrmsr(MSR_FS, (uint64_t)page_b);
	*(volatile uint64_t *)page_b = 0xf5;
	__asm__ volatile("movq %%fs:0, %0" : "=r"(kept));
	check(kept == 0xf5, "the base of FS is not what was written");
	write_cr4(read_cr4() | CR4_SSE);
	__asm__ volatile("movq %3, %%xmm7\n\t"
			 "movq %2, %%r15\n\t"
			 "cpuid\n\t"
			 "movq %%r15, %2\n\t"
			 "movq %%xmm7, %1"
			 : "+a"(leaf), "=&r"(out), "+&r"(r15)
			 : "r"(in)
			 : "rbx", "rcx", "rdx", "r15");
	check(out == in, "an exit changed XMM7");
	check(r15 == 0x1515, "an exit changed R15");
}

/* SYSCALL, from CPL 0: comes to LSTAR with the return address in RCX. */
static void check_syscall(void)
{
	uint64_t came = 0;

	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
	wrmsr(MSR_STAR, 0x18ul << 32);
	wrmsr(MSR_MASK, 0);
	__asm__ volatile("leaq 1f(%%rip), %%rax\n\t"
			 "movq %%rax, %%rdx\n\t"
			 "shrq $32, %%rdx\n\t"
			 "movl %1, %%ecx\n\t"
			 "wrmsr\n\t"
			 "syscall\n\t"
			 "jmp 2f\n"
			 "1:\tmovl $0x5ca11, %%eax\n\t"
			 "movq %%rax, %0\n\t"
			 "jmp *%%rcx\n"
			 "2:\tmovw $0x10, %%ax\n\t"
			 "movw %%ax, %%ss"
			 : "+m"(came)
			 : "i"(MSR_LSTAR)
			 : "rax", "rcx", "rdx", "r11", "memory");
	check(came == 0x5ca11, "SYSCALL did not come to LSTAR");
}

int main(void)
{
	check_mode();
	check_cpuid();
	check_exceptions();
	check_mapping();
	check_faults();
	check_registers();
	check_syscall();
	say("modes: long mode done\n");
	if (modes_failed == 0)
		say("modes: pass %u checks\n", modes_passed);
	else
		say("modes: FAIL %u of %u checks\n", modes_failed, modes_passed + modes_failed);
	return modes_failed != 0;
}
