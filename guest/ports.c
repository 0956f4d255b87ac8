/* SPDX-License-Identifier: MPL-2.0 */
/* Port I/O of a guest: a UART and the debug console; everything else is not there. */
#include "guest/guest.h"
#include "guest/hypercall.h"

static bool is_uart(uint16_t port)
{
	return port >= UART_BASE && port < UART_BASE + UART_PORTS;
}

uint32_t guest_port_in(struct guest *g, uint16_t port, unsigned size)
{
	uint32_t value = UINT32_MAX >> (32 - 8 * size);

	if (size == 1 && is_uart(port)) {
		spin_lock(&g->output_lock);
		value = guest_uart_read(&g->uart, port - UART_BASE);
		spin_unlock(&g->output_lock);
	} else if (size == 1 && port == DEBUG_PORT) {
		value = DEBUG_PORT; /* how a driver finds out that it is there */
	}
	return value;
}

void guest_port_out(struct guest *g, uint16_t port, unsigned size, uint32_t value)
{
	if (size != 1)
		return;
	if (port == DEBUG_PORT) {
		guest_putc(g, (char)value);
	} else if (is_uart(port)) {
		bool sent;

		spin_lock(&g->output_lock);
		sent = guest_uart_write(&g->uart, port - UART_BASE, (uint8_t)value);
		spin_unlock(&g->output_lock);
		if (sent)
			guest_putc(g, (char)value);
	}
}
