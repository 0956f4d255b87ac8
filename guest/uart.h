/* SPDX-License-Identifier: MPL-2.0 */
/* A 16550 as far as a polling driver can tell: registers, transmit always ready, receive empty. */
#ifndef GUEST_UART_H
#define GUEST_UART_H

#include <stdbool.h>
#include <stdint.h>

#define UART_BASE  0x3f8
#define UART_PORTS 8

struct guest_uart {
	uint8_t ier, lcr, mcr, scr, fcr;
	uint8_t dll, dlm;
};

uint8_t guest_uart_read(struct guest_uart *u, unsigned reg);
/* True when `value` is a character that is sent. */
bool guest_uart_write(struct guest_uart *u, unsigned reg, uint8_t value);

#endif
