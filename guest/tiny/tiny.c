/* SPDX-License-Identifier: MPL-2.0 */
#include "guest/tiny/tiny.h"

#include <stdarg.h>

extern char trap_stubs[];
int tiny_try(void (*f)(uint64_t), uint64_t arg);
void tiny_trap_fatal(void);

static bool amd;
static bool vendor_known;

static void put(char c)
{
	out8(0x3f8, (uint8_t)c);
}

static void put_number(uint64_t v, unsigned base)
{
	char text[24];
	unsigned n = 0;

	do
		text[n++] = "0123456789abcdef"[v % base];
	while ((v /= base) != 0);
	while (n-- != 0)
		put(text[n]);
}

void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	for (; *fmt != '\0'; fmt++) {
		if (*fmt != '%') {
			put(*fmt);
			continue;
		}
		switch (*++fmt) {
		case 'u':
			put_number(va_arg(args, uint64_t), 10);
			break;
		case 'x':
			put_number(va_arg(args, uint64_t), 16);
			break;
		case 's':
			for (const char *s = va_arg(args, const char *); *s != '\0'; s++)
				put(*s);
			break;
		}
	}
	va_end(args);
}

uint32_t hypercall(uint32_t number, uint32_t b, uint32_t c)
{
	uint32_t r[4], result;

	if (!vendor_known) {
		cpuid(0, r);
		amd = r[1] == 0x68747541 || r[1] == 0x6f677948;
		vendor_known = true;
	}
	if (amd)
		__asm__ volatile("vmmcall" : "=a"(result) : "a"(number), "b"(b), "c"(c) : "memory");
	else
		__asm__ volatile("vmcall" : "=a"(result) : "a"(number), "b"(b), "c"(c) : "memory");
	return result;
}

void tiny_exit(uint32_t status)
{
	hypercall(HC_EXIT, status, 0);
	for (;;)
		__asm__ volatile("hlt");
}

void tiny_trap_fatal(void)
{
	say("unexpected exception %u, error 0x%x, rip 0x%x, cr2 0x%x\n", trap_vector, trap_error,
	    trap_rip, trap_cr2);
	tiny_exit(99);
}

void traps_setup(void)
{
	static uint64_t idt[32][2];
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} idtr = { sizeof(idt) - 1, (uint64_t)(uintptr_t)idt };

	for (unsigned i = 0; i < 32; i++) {
		uint64_t at = (uint64_t)(uintptr_t)trap_stubs + i * 16;

		idt[i][0] = (at & 0xffff) | 24 << 16 | UINT64_C(0x8e00) << 32 |
			    (at >> 16 & 0xffff) << 48;
		idt[i][1] = at >> 32;
	}
	__asm__ volatile("lidt %0" ::"m"(idtr));
}

unsigned try(void (*f)(uint64_t), uint64_t arg)
{
	trap_vector = TINY_NO_TRAP;
	tiny_try(f, arg);
	return (unsigned)trap_vector;
}

uint64_t option(const char *name, uint64_t otherwise)
{
	for (const char *p = boot_page()->cmdline; *p != '\0'; p++) {
		const char *n = name;
		uint64_t v = 0;

		while (*n != '\0' && *p == *n)
			p++, n++;
		if (*n != '\0' || *p != '=') {
			while (*p != ' ' && p[1] != '\0')
				p++;
			continue;
		}
		for (p++; *p >= '0' && *p <= '9'; p++)
			v = v * 10 + (unsigned)(*p - '0');
		return v;
	}
	return otherwise;
}

__attribute__((weak)) void second_main(void)
{
	for (;;)
		__asm__ volatile("pause");
}

void *memset(void *p, int c, unsigned long n);
void *memset(void *p, int c, unsigned long n)
{
	void *d = p;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return p;
}

void *memcpy(void *restrict p, const void *restrict q, unsigned long n);
void *memcpy(void *restrict p, const void *restrict q, unsigned long n)
{
	void *d = p;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(q), "+c"(n)::"memory");
	return p;
}
