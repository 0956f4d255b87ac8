/* SPDX-License-Identifier: MPL-2.0 */
/* The machine's first serial port, a 16550 at 0x3f8: Nestling's console. Polled for output. */
#ifndef BASE_X86_UART_H
#define BASE_X86_UART_H

/* 115200 baud, 8N1, FIFO on, receive interrupt on (it wakes an idle boot CPU). */
void uart_setup(void);

/* Waits for room, but not for ever: a port that never gets ready is given up. */
void uart_put(char c);

/* -1: nothing has come in. */
int uart_get(void);

#endif
