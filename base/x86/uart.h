/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The machine's first serial port, a 16550 at 0x3f8: Nestling's console. Output is polled, from any
 * CPU, one at a time. Input is the boot CPU's.
 */
#ifndef BASE_X86_UART_H
#define BASE_X86_UART_H

/* 115200 baud, 8N1, FIFO on. Without the port what is put is lost, and nothing comes in. */
void uart_setup(void);

/*
 * From here on what comes in interrupts the calling CPU, the boot CPU, out of its halt or its
 * guest, and is kept (some hundred characters) until uart_get is called. After apic_enable.
 */
void uart_listen(void);

/* Waits for room, but not for ever: characters that a stuck port does not take are dropped. */
void uart_put(char c);

/* -1: nothing has come in. On the boot CPU, interrupts off. */
int uart_get(void);

#endif
