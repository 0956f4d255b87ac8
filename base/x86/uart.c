/* SPDX-License-Identifier: MPL-2.0 */
#include "base/x86/uart.h"

#include "base/x86/port.h"

#define COM1		 0x3f8
#define LSR		 (COM1 + 5)
#define LSR_DATA	 0x01
#define LSR_EMPTY	 0x20
#define MCR_DTR_RTS_OUT2 0x0b

void uart_setup(void)
{
	port_out8(COM1 + 1, 0);
	port_out8(COM1 + 3, 0x80);
	port_out8(COM1 + 0, 1);
	port_out8(COM1 + 1, 0);
	port_out8(COM1 + 3, 0x03);
	port_out8(COM1 + 2, 0xc7);
	port_out8(COM1 + 4, MCR_DTR_RTS_OUT2);
	port_out8(COM1 + 1, 0x01);
}

void uart_put(char c)
{
	for (unsigned tries = 0; (port_in8(LSR) & LSR_EMPTY) == 0 && tries < 1000000; tries++)
		__asm__ volatile("pause");
	port_out8(COM1, (uint8_t)c);
}

int uart_get(void)
{
	return port_in8(LSR) & LSR_DATA ? port_in8(COM1) : -1;
}
