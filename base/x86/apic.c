/* SPDX-License-Identifier: MPL-2.0 */
#include "base/x86/apic.h"

#include <stddef.h>

#include "base/log.h"
#include "base/x86/msr.h"
#include "base/x86/pic.h"
#include "base/x86/port.h"
#include "base/x86/regs.h"
#include "base/x86/trap.h"

enum {
	APIC_ID = 0x20,
	APIC_TPR = 0x80,
	APIC_EOI = 0xb0,
	APIC_SVR = 0xf0,
	APIC_ICR = 0x300,
	APIC_ICR_HIGH = 0x310,
	APIC_LVT_TIMER = 0x320,
	APIC_LVT_LINT0 = 0x350,
	APIC_LVT_LINT1 = 0x360,
	APIC_TIMER_INITIAL = 0x380,
	APIC_TIMER_CURRENT = 0x390,
	APIC_TIMER_DIVIDE = 0x3e0,
};

#define APIC_BASE_X2  (1u << 10)
#define APIC_BASE_ON  (1u << 11)
#define APIC_SVR_ON   (1u << 8)
#define APIC_EXTINT   (7u << 8)
#define APIC_MASKED   (1u << 16)
#define APIC_DIVIDE_1 0xb
#define ICR_ASSERT    (1u << 14)
#define ICR_PENDING   (1u << 12)
#define ICR_NMI	      (4u << 8)
#define ICR_INIT      (5u << 8)
#define ICR_STARTUP   (6u << 8)

#define PIT_HZ	  1193182
#define PIT_TRIES 1000000 /* about a second on a machine without one */

uint64_t tsc_per_ms = 1000000;
static uint64_t timer_per_ms = 1000000;
static volatile uint32_t *registers; /* NULL: x2APIC */

static void apic_write(unsigned reg, uint32_t v)
{
	if (registers != NULL)
		registers[reg / 4] = v;
	else
		msr_write(MSR_X2APIC + reg / 16, v);
}

static uint32_t apic_read(unsigned reg)
{
	if (registers != NULL)
		return registers[reg / 4];
	return (uint32_t)msr_read(MSR_X2APIC + reg / 16);
}

bool apic_needs_mapping(hpa_t *at)
{
	uint64_t base = msr_read(MSR_APIC_BASE);

	*at = hpa(base & 0x000ffffffffff000);
	return (base & APIC_BASE_X2) == 0;
}

void apic_setup(hva_t at)
{
	registers = at.hva != 0 ? hva_ptr(at) : NULL;
	pic_setup();
	trap_set_irq(VECTOR_TIMER, apic_eoi);
}

void apic_enable(void)
{
	/* All CPUs in the mode that the boot CPU was found in. */
	msr_write(MSR_APIC_BASE,
		  msr_read(MSR_APIC_BASE) | APIC_BASE_ON | (registers == NULL ? APIC_BASE_X2 : 0));
	apic_write(APIC_TPR, 0);
	apic_write(APIC_LVT_TIMER, APIC_MASKED | VECTOR_TIMER);
	apic_write(APIC_LVT_LINT0, APIC_MASKED);
	apic_write(APIC_LVT_LINT1, APIC_MASKED);
	apic_write(APIC_TIMER_DIVIDE, APIC_DIVIDE_1);
	apic_write(APIC_SVR, APIC_SVR_ON | VECTOR_SPURIOUS);
}

void apic_accept_pic(void)
{
	apic_write(APIC_LVT_LINT0, APIC_EXTINT);
}

uint32_t apic_id(void)
{
	uint32_t id = apic_read(APIC_ID);

	return registers != NULL ? id >> 24 : id;
}

void apic_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

static void apic_send(uint32_t apic_id, uint32_t command)
{
	if (registers == NULL) {
		/* Stores may overtake this write, unlike one to memory. (SDM vol. 3, 11.12.3) */
		__asm__ volatile("mfence; lfence" ::: "memory");
		msr_write(MSR_X2APIC + APIC_ICR / 16, (uint64_t)apic_id << 32 | command);
		return;
	}
	while (apic_read(APIC_ICR) & ICR_PENDING)
		__asm__ volatile("pause");
	apic_write(APIC_ICR_HIGH, apic_id << 24);
	apic_write(APIC_ICR, command);
}

void apic_send_nmi(uint32_t apic_id)
{
	apic_send(apic_id, ICR_NMI | ICR_ASSERT);
}

void apic_send_init(uint32_t apic_id)
{
	apic_send(apic_id, ICR_INIT | ICR_ASSERT);
}

void apic_send_startup(uint32_t apic_id, uint8_t page)
{
	apic_send(apic_id, ICR_STARTUP | ICR_ASSERT | page);
}

void apic_calibrate(void)
{
	const uint16_t count = PIT_HZ / 1000;
	unsigned tries = 0;
	uint64_t start, ticks, timer;

	/* PIT channel 2, mode 0, gate on: its output goes high after `count` ticks. */
	port_out8(0x61, (uint8_t)((port_in8(0x61) & ~2) | 1));
	port_out8(0x43, 0xb0);
	port_out8(0x42, (uint8_t)count);
	port_out8(0x42, count >> 8);
	apic_write(APIC_TIMER_INITIAL, UINT32_MAX);
	start = tsc_read();
	while ((port_in8(0x61) & 0x20) == 0 && tries < PIT_TRIES)
		tries++;
	ticks = tsc_read() - start;
	timer = UINT32_MAX - apic_read(APIC_TIMER_CURRENT);
	apic_write(APIC_TIMER_INITIAL, 0);
	if (tries == PIT_TRIES || ticks == 0 || timer == 0) {
		log_warn("no timer (PIT) to measure the clocks by: times are guesses");
		return;
	}
	tsc_per_ms = ticks;
	timer_per_ms = timer;
}

void apic_timer(uint64_t tsc_ticks)
{
	/* In two steps, so that nothing overflows: quanta are far below an hour. */
	uint64_t ticks = tsc_ticks * timer_per_ms / tsc_per_ms;

	if (tsc_ticks != 0 && ticks == 0)
		ticks = 1;
	apic_write(APIC_LVT_TIMER, VECTOR_TIMER | (tsc_ticks == 0 ? APIC_MASKED : 0));
	apic_write(APIC_TIMER_INITIAL, ticks < UINT32_MAX ? (uint32_t)ticks : UINT32_MAX);
}
