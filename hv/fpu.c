/* SPDX-License-Identifier: MPL-2.0 */
#include "hv/fpu.h"

#include "base/err.h"
#include "base/x86/cpuid.h"
#include "base/x86/percpu.h"
#include "base/x86/regs.h"
#include "hv/cpuid.h"
#include "mm/frame_alloc.h"

#define FCW_OFFSET   0
#define MXCSR_OFFSET 24
#define FCW_RESET    0x40
#define MXCSR_RESET  0x1f80
#define DR6_RESET    0xffff0ff0
#define XCR0_X87     1
#define XCR0_SSE     2
#define XCR0_AVX     4
#define XCR0_AVX512  0xe0

static struct vcpu *owner[MAX_CPUS];
/* No guest is shown protection keys in CPUID, but nothing keeps one from CR4.PKE. */
static bool has_pkru;

int fpu_create(struct vcpu *v)
{
	uint8_t *area;

	has_pkru = (cpuid_leaf(7, 0).ecx >> 3 & 1) != 0;
	v->fpu = frame_alloc(0, FRAME_KERNEL, ALLOC_ZERO);
	if (v->fpu == NULL)
		return -ENOMEM;
	area = frame_own_bytes(v->fpu);
	*(uint16_t *)(area + FCW_OFFSET) = FCW_RESET;
	*(uint32_t *)(area + MXCSR_OFFSET) = MXCSR_RESET;
	v->xcr0 = XCR0_X87;
	v->dr[4] = DR6_RESET;
	return 0;
}

void fpu_destroy(struct vcpu *v)
{
	frame_put(v->fpu);
}

static void save_debug(struct vcpu *v)
{
	__asm__ volatile("mov %%dr0, %0" : "=r"(v->dr[0]));
	__asm__ volatile("mov %%dr1, %0" : "=r"(v->dr[1]));
	__asm__ volatile("mov %%dr2, %0" : "=r"(v->dr[2]));
	__asm__ volatile("mov %%dr3, %0" : "=r"(v->dr[3]));
	__asm__ volatile("mov %%dr6, %0" : "=r"(v->dr[4]));
}

static void restore_debug(const struct vcpu *v)
{
	__asm__ volatile("mov %0, %%dr0" ::"r"(v->dr[0]));
	__asm__ volatile("mov %0, %%dr1" ::"r"(v->dr[1]));
	__asm__ volatile("mov %0, %%dr2" ::"r"(v->dr[2]));
	__asm__ volatile("mov %0, %%dr3" ::"r"(v->dr[3]));
	__asm__ volatile("mov %0, %%dr6" ::"r"(v->dr[4]));
}

/* The instructions are there only with CR4.PKE, which Nestling itself does not use. */
static uint32_t pkru_read(void)
{
	uint64_t cr4 = cr4_read();
	uint32_t value;

	cr4_write(cr4 | CR4_PKE);
	__asm__ volatile("rdpkru" : "=a"(value) : "c"(0) : "rdx");
	cr4_write(cr4);
	return value;
}

static void pkru_write(uint32_t value)
{
	uint64_t cr4 = cr4_read();

	cr4_write(cr4 | CR4_PKE);
	__asm__ volatile("wrpkru" ::"a"(value), "c"(0), "d"(0) : "memory");
	cr4_write(cr4);
}

uint32_t fpu_pkru(const struct vcpu *v)
{
	return owner[v->cpu] == v && v->cpu == cpu_id() && has_pkru ? pkru_read() : v->pkru;
}

/* All of the state, whatever the guest has switched on: it may switch on more later. */
static void save(struct vcpu *v)
{
	void *area = frame_own_bytes(v->fpu);
	uint64_t mask = guest_xcr0_mask();

	save_debug(v);
	if (has_pkru)
		v->pkru = pkru_read();
	if (mask == 0) {
		__asm__ volatile("fxsave64 (%0)" ::"r"(area) : "memory");
		return;
	}
	/* Read back, not remembered: one emulator lets a guest change it without an exit. */
	v->xcr0 = xcr0_read() & mask;
	xcr0_write(mask);
	__asm__ volatile("xsave64 (%0)" ::"r"(area), "a"((uint32_t)mask),
			 "d"((uint32_t)(mask >> 32))
			 : "memory");
}

static void restore(const struct vcpu *v)
{
	const void *area = frame_own_bytes(v->fpu);
	uint64_t mask = guest_xcr0_mask();

	restore_debug(v);
	if (has_pkru)
		pkru_write(v->pkru);
	if (mask == 0) {
		__asm__ volatile("fxrstor64 (%0)" ::"r"(area) : "memory");
		return;
	}
	xcr0_write(mask);
	__asm__ volatile("xrstor64 (%0)" ::"r"(area), "a"((uint32_t)mask),
			 "d"((uint32_t)(mask >> 32))
			 : "memory");
	xcr0_write(v->xcr0);
}

void fpu_load(struct vcpu *v)
{
	struct vcpu *old = owner[cpu_id()];

	if (old == v)
		return;
	if (old != NULL)
		save(old);
	owner[cpu_id()] = v;
	restore(v);
}

void fpu_release(struct vcpu *v)
{
	if (owner[cpu_id()] != v)
		return;
	save(v);
	owner[cpu_id()] = NULL;
}

bool fpu_set_xcr0(struct vcpu *v, uint64_t value)
{
	uint64_t mask = guest_xcr0_mask();

	if (mask == 0 || (value & ~mask) != 0 || (value & XCR0_X87) == 0)
		return false;
	if ((value & XCR0_AVX) != 0 && (value & XCR0_SSE) == 0)
		return false;
	if ((value & XCR0_AVX512) != 0 &&
	    ((value & XCR0_AVX512) != XCR0_AVX512 || (value & XCR0_AVX) == 0))
		return false;
	v->xcr0 = value;
	xcr0_write(value);
	return true;
}
