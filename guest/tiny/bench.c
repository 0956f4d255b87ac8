/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What exits cost, as the guest sees it: time-stamp counter around one instruction, the cost of
 * reading it taken off. On a bed whose counter counts instructions, that is instructions.
 *
 *   bench: NAME MEDIAN min MINIMUM max MAXIMUM
 */
#include "guest/tiny/tiny.h"

#define SAMPLES	    1024
#define TOUCH	    256
#define QUIET_PORT  0x80
#define MSR_PAT	    0x277
#define TOUCH_START 0x400000ul

static uint32_t sample[SAMPLES];
static uint64_t touch_at = TOUCH_START;

static void one_nothing(void)
{
}

static void one_cpuid(void)
{
	cpuid(0, 0);
}

static void one_hypercall_amd(void)
{
	uint32_t a = HC_VERSION;

	__asm__ volatile("vmmcall" : "+a"(a)::"memory");
}

static void one_hypercall_intel(void)
{
	uint32_t a = HC_VERSION;

	__asm__ volatile("vmcall" : "+a"(a)::"memory");
}

static void one_out(void)
{
	outb(QUIET_PORT, 0);
}

static void one_in(void)
{
	inb(QUIET_PORT);
}

static void one_rdmsr(void)
{
	rdmsr(MSR_PAT);
}

static void one_touch(void)
{
	*qword(touch_at) = touch_at;
	touch_at += PAGE;
}

static void sort(uint32_t *v, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		uint32_t x = v[i];
		unsigned j = i;

		for (; j > 0 && v[j - 1] > x; j--)
			v[j] = v[j - 1];
		v[j] = x;
	}
}

/* Inlined into each measurement, with `one` in it: no call between the two readings. */
static inline __attribute__((always_inline)) uint32_t median(const char *name, unsigned n,
							     uint32_t off, void (*one)(void))
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t start = rdtsc();

		one();
		sample[i] = (uint32_t)(rdtsc() - start) - off;
	}
	sort(sample, n);
	if (name != NULL)
		say("bench: %s %u min %u max %u\n", name, sample[n / 2], sample[0], sample[n - 1]);
	return sample[n / 2];
}

int main(void)
{
	uint32_t off;

	/* The pages that are written below, so that no first touch disturbs. */
	for (unsigned i = 0; i < SAMPLES; i++)
		sample[i] = 0;
	off = median(NULL, SAMPLES, 0, one_nothing);
	median("cpuid", SAMPLES, off, one_cpuid);
	if (cpu_is_amd())
		median("hypercall", SAMPLES, off, one_hypercall_amd);
	else
		median("hypercall", SAMPLES, off, one_hypercall_intel);
	median("out", SAMPLES, off, one_out);
	median("in", SAMPLES, off, one_in);
	median("rdmsr", SAMPLES, off, one_rdmsr);
	if (mem_bytes() >= TOUCH_START + TOUCH * PAGE)
		median("touch", TOUCH, off, one_touch);
	else
		say("bench: touch needs mem=8M\n");
	say("bench: done\n");
	return 0;
}
