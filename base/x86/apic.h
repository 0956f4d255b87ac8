/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The local APIC of the calling CPU: through its registers in memory, or through MSRs where the
 * firmware has already switched x2APIC mode on. (SDM vol. 3, chapter 11)
 */
#ifndef BASE_X86_APIC_H
#define BASE_X86_APIC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

/* Where the registers are in physical memory; x2APIC needs none (false). */
bool apic_needs_mapping(hpa_t *at);

/* Once, on the boot CPU: `registers` is where the page is mapped, uncached (hva(0) with x2APIC).
 * Also masks the legacy interrupt controllers (base/x86/pic.h). */
void apic_setup(hva_t registers);

/* On each CPU, after apic_setup: enabled, everything masked but what is asked for later. */
void apic_enable(void);

/* Lets what the legacy controllers do not mask interrupt the calling CPU, the boot CPU. */
void apic_accept_pic(void);

uint32_t apic_id(void);
void apic_eoi(void);

void apic_send_nmi(uint32_t apic_id);
void apic_send_init(uint32_t apic_id);
void apic_send_startup(uint32_t apic_id, uint8_t page);

/*
 * Time-stamp ticks per millisecond, and the timer's. Measured once, on the boot CPU, against the
 * PIT for one millisecond. Where no PIT answers, 10^6 each, with a warning.
 */
void apic_calibrate(void);
extern uint64_t tsc_per_ms;

/* One interrupt VECTOR_TIMER after `ticks` of the time-stamp counter; 0 stops the timer. */
void apic_timer(uint64_t tsc_ticks);

#endif
