/* SPDX-License-Identifier: MPL-2.0 */
#include "guest/tiny/tiny.h"

#include <stdarg.h>

#define UART	     0x3f8
#define UART_LSR     (UART + 5)
#define LSR_TX_EMPTY 0x20
#define SEL_CODE64   0x18
#define SEL_TSS	     0x30
#define GATE_PRESENT 0x8e00ul
#define IST_DF	     1ul

void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(n)::"memory");
	return dst;
}

void *memset(void *dst, int c, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return dst;
}

/* --- speaking ---------------------------------------------------------------------------- */

static void put(char c)
{
	while ((inb(UART_LSR) & LSR_TX_EMPTY) == 0)
		;
	outb(UART, (uint8_t)c);
}

static void put_text(const char *s)
{
	for (; *s != '\0'; s++)
		put(*s);
}

static void put_number(uint64_t v, unsigned base)
{
	char text[24];
	unsigned at = sizeof(text);

	text[--at] = '\0';
	do {
		text[--at] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v != 0);
	put_text(text + at);
}

void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	for (; *fmt != '\0'; fmt++) {
		bool wide;

		if (*fmt != '%') {
			put(*fmt);
			continue;
		}
		wide = *++fmt == 'l';
		fmt += wide;
		if (*fmt == 's')
			put_text(va_arg(args, const char *));
		else if (*fmt == 'c')
			put((char)va_arg(args, int));
		else
			put_number(wide ? va_arg(args, uint64_t) : va_arg(args, uint32_t),
				   *fmt == 'x' ? 16 : 10);
	}
	va_end(args);
}

/* --- what the guest was told ------------------------------------------------------------- */

static const volatile struct guest_boot_page *boot_page(void)
{
	return (const volatile struct guest_boot_page *)qword(GUEST_BOOT_PAGE);
}

/* A copy: guests may write over the boot page. */
static char cmdline[sizeof(((struct guest_boot_page *)0)->cmdline)];

static void read_boot_page(void)
{
	if (boot_page()->magic != GUEST_BOOT_MAGIC)
		return;
	for (unsigned i = 0; i < sizeof(cmdline) - 1; i++)
		cmdline[i] = boot_page()->cmdline[i];
}

/* The value of `name` in the command line, or NULL. */
static const char *option_find(const char *name)
{
	const char *p = cmdline;

	while (*p != '\0') {
		const char *n = name;

		while (*n != '\0' && *p == *n)
			p++, n++;
		if (*n == '\0' && *p == '=')
			return p + 1;
		while (*p != '\0' && *p != ' ')
			p++;
		while (*p == ' ')
			p++;
	}
	return NULL;
}

bool option_text(const char *name, char *value, size_t size)
{
	const char *p = option_find(name);
	size_t n = 0;

	if (p == NULL)
		return false;
	for (; *p != '\0' && *p != ' ' && n < size - 1; p++)
		value[n++] = *p;
	value[n] = '\0';
	return true;
}

static unsigned digit(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 99;
}

uint64_t take_number(const char **text)
{
	unsigned base = 10;
	uint64_t v = 0;

	if ((*text)[0] == '0' && (*text)[1] == 'x') {
		base = 16;
		*text += 2;
	}
	for (; digit(**text) < base; (*text)++)
		v = v * base + digit(**text);
	for (const char *unit = "KMG"; *unit != '\0'; unit++) {
		if (**text == *unit) {
			(*text)++;
			return v << (10 * (unit - "KMG" + 1));
		}
	}
	return v;
}

uint64_t option_number(const char *name, uint64_t otherwise)
{
	const char *p = option_find(name);

	return p == NULL || digit(*p) > 9 ? otherwise : take_number(&p);
}

/* --- hypercalls -------------------------------------------------------------------------- */

static bool amd;

bool cpu_is_amd(void)
{
	return amd;
}

uint32_t hypercall(uint32_t number, uint32_t b, uint32_t c, uint32_t d)
{
	uint32_t result;

	if (amd)
		__asm__ volatile("vmmcall"
				 : "=a"(result)
				 : "a"(number), "b"(b), "c"(c), "d"(d)
				 : "memory");
	else
		__asm__ volatile("vmcall"
				 : "=a"(result)
				 : "a"(number), "b"(b), "c"(c), "d"(d)
				 : "memory");
	return result;
}

uint64_t mem_bytes(void)
{
	return hypercall(HC_MEM_SIZE, 0, 0, 0) * PAGE;
}

unsigned vcpu_count(void)
{
	return boot_page()->vcpus;
}

bool tiny_start_vcpu(unsigned vcpu)
{
	extern char ap_start[];

	return hypercall(HC_CPU_START, vcpu, (uint32_t)(uint64_t)ap_start, 0) == 0;
}

/* --- exceptions -------------------------------------------------------------------------- */

struct trap_info trap;
extern volatile uint32_t catch_armed;
extern char trap_stubs[];

static uint64_t idt[2 * 256];
static uint32_t tss[26]; /* 104 bytes */
static char stack_privileged[4096], stack_df[4096];

int tiny_trap(const struct trap_frame *f, uint64_t cr2);

/* Returns the vector when somebody waits for it; else the guest ends. */
int tiny_trap(const struct trap_frame *f, uint64_t cr2)
{
	if (!catch_armed) {
		say("unexpected exception %lu, error 0x%lx at 0x%lx, cr2 0x%lx\n", f->vector,
		    f->error, f->rip, cr2);
		for (;;)
			hypercall(HC_EXIT, 255, 0, 0);
	}
	catch_armed = 0;
	trap = (struct trap_info){ .error = f->error,
				   .rip = f->rip,
				   .cr2 = cr2,
				   .cs = f->cs,
				   .rcx = f->rcx,
				   .rsi = f->rsi,
				   .rdi = f->rdi };
	return (int)f->vector;
}

void user_call(void (*f)(void));

static void enter_user(void *f)
{
	user_call((void (*)(void))f);
}

int try_user(void (*f)(void))
{
	extern char user_done[];
	int vector = try_call(enter_user, (void *)f);

	return trap.rip == (uint64_t)user_done ? TRY_DONE : vector;
}

static void set_gate(unsigned vector, uint64_t handler, uint64_t ist)
{
	idt[2 * vector] = (handler & 0xffff) | SEL_CODE64 << 16 | ist << 32 | GATE_PRESENT << 32 |
			  (handler >> 16 & 0xffff) << 48;
	idt[2 * vector + 1] = handler >> 32;
}

static void load_idt(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = { sizeof(idt) - 1, (uint64_t)idt };

	__asm__ volatile("lidt %0" ::"m"(pointer));
}

/* Stacks for CPL 3 -> 0 and for the double fault. (SDM vol. 3, 8.7) */
static void load_tss(void)
{
	uint64_t base = (uint64_t)tss, limit = sizeof(tss) - 1;
	uint64_t rsp0 = (uint64_t)(stack_privileged + sizeof(stack_privileged));
	uint64_t ist1 = (uint64_t)(stack_df + sizeof(stack_df));

	tss[1] = (uint32_t)rsp0;
	tss[9] = (uint32_t)ist1;
	tss[25] = sizeof(tss) << 16; /* no I/O bitmap */
	gdt[SEL_TSS / 8] = limit | (base & 0xffffff) << 16 | 0x89ul << 40 |
			   (base >> 24 & 0xff) << 56;
	gdt[SEL_TSS / 8 + 1] = base >> 32;
	__asm__ volatile("ltr %w0" ::"r"(SEL_TSS));
}

/* --- start ------------------------------------------------------------------------------- */

void tiny_main(void);
void tiny_ap_main(void);

void tiny_main(void)
{
	uint32_t vendor = cpuid(0, 0).ebx;
	int status;

	amd = vendor == 0x68747541 || vendor == 0x6f677948; /* "Auth", "Hygo" */
	for (unsigned v = 0; v < 32; v++)
		set_gate(v, (uint64_t)trap_stubs + 16 * v, v == VECTOR_DF ? IST_DF : 0);
	load_idt();
	load_tss();
	read_boot_page();
	status = main();
	for (;;)
		hypercall(HC_EXIT, (uint32_t)status, 0, 0);
}

void tiny_ap_main(void)
{
	load_idt();
	ap_main(hypercall(HC_CPU_ID, 0, 0, 0));
	for (;;)
		hypercall(HC_YIELD, 0, 0, 0);
}

__attribute__((weak)) void ap_main(uint32_t vcpu)
{
	(void)vcpu;
}
