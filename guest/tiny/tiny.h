/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What the tiny guests share: a start in long mode, a voice, exceptions that can be caught, and the
 * command line. One address space, linear = physical up to 4 GiB.
 */
#ifndef GUEST_TINY_TINY_H
#define GUEST_TINY_TINY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/boot_page.h"
#include "guest/hypercall.h"

#define PAGE 4096ul

/* A guest's own: what it does; the result is its exit status. */
int main(void);
/* What its other vCPUs do, each after tiny_start_vcpu. */
void ap_main(uint32_t vcpu);

/* printf of %s %c %u %x %lu %lx, to the UART at 0x3f8. */
__attribute__((format(printf, 1, 2))) void say(const char *fmt, ...);

/* The command line: the value of "name=value", copied; false if there is none. */
bool option_text(const char *name, char *value, size_t size);
/* Its value as a number (decimal, 0x, suffix K, M, G); `otherwise` when it is missing or none. */
uint64_t option_number(const char *name, uint64_t otherwise);
/* A number at *text, which moves past it. Stays at 0 when there is none. */
uint64_t take_number(const char **text);

uint32_t hypercall(uint32_t number, uint32_t b, uint32_t c, uint32_t d);
bool cpu_is_amd(void);
uint64_t mem_bytes(void);
unsigned vcpu_count(void);
bool tiny_start_vcpu(unsigned vcpu);

/*
 * Calls f(arg). Returns the vector of the exception that ended it, with its details in `trap`, or
 * TRY_DONE. Other registers, flags and the stack are as before. Not on two vCPUs at once.
 */
#define TRY_DONE (-1)
int try_call(void (*f)(void *arg), void *arg);
/* The same at CPL 3, with I/O privilege 0. */
int try_user(void (*f)(void));
/* A number as the argument of a function for try_call. */
#define ARG(number) ((void *)(uint64_t)(number))

struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

struct trap_info {
	uint64_t error, rip, cr2, cs, rcx, rsi, rdi;
};
extern struct trap_info trap;

extern char image_start[], image_end[];
extern uint64_t pml4[512], pdpt[512], pd[4 * 512], gdt[];

enum { VECTOR_DE = 0, VECTOR_DB = 1, VECTOR_BP = 3, VECTOR_UD = 6, VECTOR_NM = 7 };
enum { VECTOR_DF = 8, VECTOR_TS = 10, VECTOR_NP = 11, VECTOR_SS = 12, VECTOR_GP = 13 };
enum { VECTOR_PF = 14 };

#define PTE_P	  1ul
#define PTE_W	  2ul
#define PTE_U	  4ul
#define PTE_A	  0x20ul
#define PTE_D	  0x40ul
#define PTE_LARGE 0x80ul
#define PTE_NX	  (1ul << 63)

struct cpuid_result {
	uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid_result cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_result r;

	__asm__ volatile("cpuid"
			 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
			 : "a"(leaf), "c"(subleaf));
	return r;
}

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return lo | (uint64_t)hi << 32;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
			 : "memory");
}

static inline uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi)::"memory");
	return lo | (uint64_t)hi << 32;
}

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port) : "memory");
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

#define DEFINE_CR(n)                                                        \
	static inline uint64_t read_cr##n(void)                             \
	{                                                                   \
		uint64_t v;                                                 \
		__asm__ volatile("mov %%cr" #n ", %0" : "=r"(v)::"memory"); \
		return v;                                                   \
	}                                                                   \
	static inline void write_cr##n(uint64_t v)                          \
	{                                                                   \
		__asm__ volatile("mov %0, %%cr" #n ::"r"(v) : "memory");    \
	}

DEFINE_CR(0)
DEFINE_CR(2)
DEFINE_CR(3)
DEFINE_CR(4)

static inline void invlpg(const volatile void *p)
{
	__asm__ volatile("invlpg (%0)" ::"r"(p) : "memory");
}

static inline volatile uint64_t *qword(uint64_t at)
{
	volatile uint64_t *p;

	/* Opaque, so that the compiler does not reason about objects at fixed addresses. */
	__asm__("" : "=r"(p) : "0"(at));
	return p;
}

#endif
