/* SPDX-License-Identifier: MPL-2.0 */
#include "base/x86/uart.h"

#include <stdbool.h>

#include "base/x86/apic.h"
#include "base/x86/pic.h"
#include "base/x86/port.h"
#include "base/x86/trap.h"

#define COM1		 0x3f8
#define COM1_LINE	 4
#define IER		 (COM1 + 1)
#define IER_RECEIVE	 0x01
#define FCR		 (COM1 + 2)
#define FCR_ON_CLEAR	 0x07
#define LCR		 (COM1 + 3)
#define LCR_8N1		 0x03
#define LCR_DIVISOR	 0x80
#define MCR		 (COM1 + 4)
#define MCR_DTR_RTS_OUT2 0x0b
#define LSR		 (COM1 + 5)
#define LSR_DATA	 0x01
#define LSR_EMPTY	 0x20
#define SCRATCH		 (COM1 + 7)
#define SCRATCH_MARK	 0x5a

#define PUT_TRIES 1000000 /* about a second */
#define INPUT	  256	  /* a power of two */

static bool present;

/* What the interrupt has taken from the port. Handler and reader are one CPU's. */
static struct {
	char c[INPUT];
	unsigned in, out; /* ever put and taken; they wrap */
} input;

void uart_setup(void)
{
	port_out8(SCRATCH, SCRATCH_MARK);
	present = port_in8(SCRATCH) == SCRATCH_MARK;
	port_out8(IER, 0);
	port_out8(LCR, LCR_DIVISOR);
	port_out8(COM1 + 0, 1);
	port_out8(COM1 + 1, 0);
	port_out8(LCR, LCR_8N1);
	port_out8(FCR, FCR_ON_CLEAR);
	port_out8(MCR, MCR_DTR_RTS_OUT2);
}

static bool received(void)
{
	return present && (port_in8(LSR) & LSR_DATA) != 0;
}

/* What finds no room stays in the port, where uart_get takes it when the rest has been taken. */
static void on_receive(void)
{
	while (input.in - input.out < INPUT && received())
		input.c[input.in++ % INPUT] = (char)port_in8(COM1);
	pic_eoi(COM1_LINE);
}

void uart_listen(void)
{
	trap_set_irq(VECTOR_PIC + COM1_LINE, on_receive);
	apic_accept_pic();
	pic_unmask(COM1_LINE);
	port_out8(IER, IER_RECEIVE);
}

void uart_put(char c)
{
	static bool stuck;
	unsigned tries = stuck ? 0 : PUT_TRIES;

	if (!present)
		return;
	while ((port_in8(LSR) & LSR_EMPTY) == 0) {
		stuck = tries-- == 0;
		if (stuck)
			return;
		__asm__ volatile("pause");
	}
	stuck = false;
	port_out8(COM1, (uint8_t)c);
}

int uart_get(void)
{
	if (input.out != input.in)
		return (uint8_t)input.c[input.out++ % INPUT];
	return received() ? port_in8(COM1) : -1;
}
