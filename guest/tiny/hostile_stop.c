/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Probes that end the guest, or would: each is a run of its own, cmdline probe=NAME. What must come
 * of it stands next to it: the guest stopped with a report, halted, or running on without harm.
 */
#include "guest/tiny/hostile.h"

#define WINDOW	  0xffe00000ul /* the last 2 MiB page of the first 4 GiB: mapped to anywhere */
#define APIC	  0xfee00000ul
#define FLOOD	  200000
#define OUTS_PORT 0x80
#define SEL_DATA  0x10

struct pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

/* The window onto guest-physical `at`, which may be no memory. Returns its linear address. */
static uint64_t window(uint64_t at)
{
	pd[4 * 512 - 1] = (at & ~0x1ffffful) | PTE_P | PTE_W | PTE_U | PTE_LARGE;
	invlpg((void *)WINDOW);
	return WINDOW + (at & 0x1fffff);
}

static void read_outside(void)
{
	say("hostile: read 0x%lx\n", *qword(window(mem_bytes())));
}

static void write_outside(void)
{
	*qword(window(mem_bytes())) = 1;
}

static void exec_outside(void)
{
	((void (*)(void))window(mem_bytes()))();
}

static void write_apic(void)
{
	*(volatile uint32_t *)qword(window(APIC + 0x300)) = 0x000c0500;
}

static void read_top(void)
{
	unsigned bits = cpuid(0x80000008, 0).eax & 0xff;

	say("hostile: read 0x%lx\n", *qword(window((1ul << bits) - 8)));
}

static void table_outside(void)
{
	write_cr3(mem_bytes());
}

static void table_high(void)
{
	write_cr3(read_cr3() | 1ul << 51);
}

/* A pushed frame goes out of memory. */
static void stack_outside(void)
{
	uint64_t at = window(mem_bytes());

	__asm__ volatile("movq %0, %%rsp; ud2" ::"r"(at + 0x1000));
}

static void idt_outside(void)
{
	struct pointer p = { 0xfff, window(mem_bytes()) };

	__asm__ volatile("lidt %0; ud2" ::"m"(p));
}

static void gdt_outside(void)
{
	struct pointer p = { 0xfff, window(mem_bytes()) };

	__asm__ volatile("lgdt %0; movw %w1, %%ds" ::"m"(p), "r"(SEL_DATA));
}

static void gdt_hole(void)
{
	struct pointer p = { 0xfff, 1ul << 62 };

	__asm__ volatile("lgdt %0; movw %w1, %%ds" ::"m"(p), "r"(SEL_DATA));
}

/* Control registers that long mode cannot be with. A CPU answers with #GP; where an emulator does
 * not, the next entry into the guest is refused. */
static void cr0_without_pe(void)
{
	write_cr0(read_cr0() & ~1ul);
	cpuid(0, 0);
}

static void cr0_without_pg(void)
{
	write_cr0(read_cr0() & ~(1ul << 31));
	cpuid(0, 0);
}

static void cr0_nw(void)
{
	write_cr0(read_cr0() | 1ul << 29);
	cpuid(0, 0);
}

static void cr0_high(void)
{
	write_cr0(read_cr0() | 1ul << 40);
	cpuid(0, 0);
}

static void cr4_without_pae(void)
{
	write_cr4(read_cr4() & ~(1ul << 5));
	cpuid(0, 0);
}

static void cr4_reserved(void)
{
	write_cr4(read_cr4() | 1ul << 31);
	cpuid(0, 0);
}

static void triple_fault(void)
{
	struct pointer p = { 0, 0 };

	__asm__ volatile("lidt %0; ud2" ::"m"(p));
}

static void halt(void)
{
	__asm__ volatile("cli; hlt");
}

static void halt_open(void)
{
	__asm__ volatile("sti; hlt");
}

static void spin(void)
{
	for (;;)
		__asm__ volatile("cli");
}

static void exits(void)
{
	for (;;)
		hypercall(HC_VERSION, 0, 0, 0);
}

static void outs(void)
{
	const char *text = "outs";

	__asm__ volatile("outsb" : "+S"(text) : "d"(OUTS_PORT));
}

static void rep_ins(void)
{
	uint64_t to = window(mem_bytes()), count = -1ul;

	__asm__ volatile("rep insb" : "+D"(to), "+c"(count) : "d"(OUTS_PORT) : "memory");
}

/* Through a table that lies in no memory. */
static void outs_table(void)
{
	uint64_t from = window(0);

	pd[4 * 512 - 1] = mem_bytes() | PTE_P | PTE_W | PTE_U;
	invlpg((void *)WINDOW);
	__asm__ volatile("outsb" : "+S"(from) : "d"(OUTS_PORT));
}

/* A data breakpoint on the stack that the exception is pushed to: its delivery raises it again. */
static void endless_debug(void)
{
	uint64_t frame = 0x6ff0, on = 0x000d0402;

	__asm__ volatile("movq %0, %%dr0; movq %1, %%dr7; movq %2, %%rsp\n\t"
			 "pushfq; orq $0x100, (%%rsp); popfq; nop; nop" ::"r"(frame - 16),
			 "r"(on), "r"(frame)
			 : "memory");
}

/* One line that never ends. */
static void flood(void)
{
	for (unsigned i = 0; i < FLOOD; i++)
		outb(DEBUG_PORT, (uint8_t)('a' + i % 26));
}

/* All that a terminal could obey. */
static void escapes(void)
{
	say("hostile: \033[2J\033]0;owned\007\033[8m %c%c %c\n", 0x9b, 0x90, 0x7f);
}

static const struct {
	const char *name, *comes;
	void (*f)(void);
} stops[] = {
	{ "read-outside", "stopped: read", read_outside },
	{ "write-outside", "stopped: write", write_outside },
	{ "exec-outside", "stopped: execution", exec_outside },
	{ "write-apic", "stopped: write", write_apic },
	{ "read-top", "stopped: read", read_top },
	{ "table-outside", "stopped: its page tables", table_outside },
	{ "table-high", "stopped, or an exception", table_high },
	{ "stack-outside", "stopped: write", stack_outside },
	{ "idt-outside", "stopped: read", idt_outside },
	{ "gdt-outside", "stopped: read", gdt_outside },
	{ "gdt-hole", "stopped: triple fault, or an exception", gdt_hole },
	{ "cr0-without-pe", "#GP, or stopped: state refused", cr0_without_pe },
	{ "cr0-without-pg", "#GP, or stopped", cr0_without_pg },
	{ "cr0-nw", "#GP, or stopped: state refused", cr0_nw },
	{ "cr0-high", "#GP, or stopped: state refused", cr0_high },
	{ "cr4-without-pae", "#GP, or stopped", cr4_without_pae },
	{ "cr4-reserved", "#GP, or stopped: state refused", cr4_reserved },
	{ "triple-fault", "stopped: triple fault", triple_fault },
	{ "halt", "done", halt },
	{ "halt-open", "done", halt_open },
	{ "spin", "runs for ever", spin },
	{ "exits", "runs for ever", exits },
	{ "outs", "exit status 1", outs },
	{ "rep-ins", "stopped: no memory", rep_ins },
	{ "outs-table", "stopped: a page table without memory", outs_table },
	{ "endless-debug", "any end, or runs for ever; QEMU without KVM crashes itself",
	  endless_debug },
	{ "flood", "exit status 1, lines in pieces", flood },
	{ "escapes", "exit status 1, a line of plain text", escapes },
};

#define STOPS (sizeof(stops) / sizeof(stops[0]))

static bool same(const char *a, const char *b)
{
	for (; *a != '\0' && *a == *b; a++, b++)
		;
	return *a == *b;
}

void hostile_stop(const char *name)
{
	for (unsigned i = 0; i < STOPS; i++) {
		if (!same(name, stops[i].name))
			continue;
		say("hostile: %s\n", name);
		stops[i].f();
		say("hostile: %s: came back\n", name);
		return;
	}
	for (unsigned i = 0; i < STOPS; i++)
		say("hostile: probe=%s: %s\n", stops[i].name, stops[i].comes);
}
