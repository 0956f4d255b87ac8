/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The other CPUs, halted for good: nobody talks over the last words of a panic, or acts on what a
 * broken hypervisor believes.
 */
#ifndef BASE_X86_STOP_H
#define BASE_X86_STOP_H

/*
 * Returns when every other CPU that is online has halted, or after 10 ms: one that does not listen
 * to NMIs must not silence the one that panics. Interrupts are off.
 */
void stop_others(void);

/* For the NMI handler: does not return once another CPU has called stop_others. */
void stop_if_asked(void);

#endif
