/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Prints from memory whose translation the second vCPU changes all the time: 2 MiB of addresses lie
 * now at one place, now at another, now at the first again by way of an entry that may only be
 * read. Nobody flushes anything: what walks the tables for OUTS has no business with what the CPU
 * remembers.
 *
 *      entry:  A writable ──▶ B ──▶ A read-only ──▶ ...        A is full of 'a', B of 'b'
 *
 * Every byte that is printed is an 'a' or a 'b'. And a third of the lines is read by INS to there,
 * from a port that is not: nothing but 0xff appears in B.
 */
#include "guest/tiny/tiny.h"

#define PLACE_A 0x400000ul
#define PLACE_B 0x600000ul
#define LINEAR	0x40000000ul /* at 1 GiB: nothing of ours */
#define LINES	40
#define LINE	60
#define NO_PORT 0x80

static volatile bool flipping;

static volatile uint64_t *entry(void)
{
	return &pd[LINEAR >> 21];
}

/* For a while that is never the same: CPUs that take turns must not do it in step. */
static void put(uint64_t value)
{
	static uint32_t random = 1;

	*entry() = value | PTE_LARGE | PTE_P;
	random = random * 1103515245 + 12345;
	for (volatile uint32_t i = random >> 16 & 63; i > 0; i--)
		;
}

void ap_main(uint32_t vcpu)
{
	(void)vcpu;
	for (;;) {
		put(PLACE_B | PTE_W);
		put(PLACE_A);
		flipping = true;
		put(PLACE_A | PTE_W);
	}
}

static void fill(uint64_t at, uint8_t byte)
{
	for (uint64_t i = 0; i < PAGE; i += 8)
		*qword(at + i) = 0x0101010101010101ul * byte;
}

static void print(uint64_t at, uint64_t count)
{
	__asm__ volatile("rep outsb" : "+S"(at), "+c"(count) : "d"(DEBUG_PORT) : "memory");
}

static void take(uint64_t at, uint64_t count)
{
	__asm__ volatile("rep insb" : "+D"(at), "+c"(count) : "d"(NO_PORT) : "memory");
}

/* So that the other vCPU has been at work since the last line, however slow it is. */
static void await(uint64_t place)
{
	while (vcpu_count() > 1 && (*entry() & ~(PAGE - 1)) != place)
		hypercall(HC_YIELD, 0, 0, 0);
}

int main(void)
{
	uint64_t taken = 0;

	fill(PLACE_A, 'a');
	fill(PLACE_B, 'b');
	*entry() = PLACE_A | PTE_LARGE | PTE_P | PTE_W;
	if (vcpu_count() > 1 && tiny_start_vcpu(1))
		while (!flipping)
			hypercall(HC_YIELD, 0, 0, 0);
	for (unsigned i = 0; i < LINES; i++) {
		await(i % 2 ? PLACE_B : PLACE_A);
		print(LINEAR + 8 * i, LINE);
		outb(DEBUG_PORT, '\n');
	}
	/* Supervisor's writes with CR0.WP clear may go to the read-only entry too. */
	write_cr0(read_cr0() & ~0x10000ul);
	take(LINEAR + PAGE / 2, PAGE / 2);
	for (uint64_t at = PAGE / 2; at < PAGE; at += 8)
		for (unsigned bit = 0; bit < 64; bit += 8) {
			uint8_t a = (uint8_t)(*qword(PLACE_A + at) >> bit);
			uint8_t b = (uint8_t)(*qword(PLACE_B + at) >> bit);

			/* Each byte went to one of the two places. */
			if ((a == 0xff) + (b == 0xff) == 1 && (a == 'a' || b == 'b'))
				taken++;
		}
	say("walk: %lu of %lu bytes taken\n", taken, PAGE / 2);
	return taken == PAGE / 2 ? 0 : 1;
}
