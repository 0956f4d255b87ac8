/* SPDX-License-Identifier: MPL-2.0 */
#include "guest/uart.h"

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

#define LCR_DLAB      0x80
#define IIR_NONE      0x01
#define IIR_FIFO      0xc0
#define LSR_TX_EMPTY  0x60
#define MSR_CONNECTED 0xb0

uint8_t guest_uart_read(struct guest_uart *u, unsigned reg)
{
	bool dlab = (u->lcr & LCR_DLAB) != 0;

	switch (reg) {
	case REG_DATA:
		return dlab ? u->dll : 0;
	case REG_IER:
		return dlab ? u->dlm : u->ier;
	case REG_IIR_FCR:
		return IIR_NONE | (u->fcr & 1 ? IIR_FIFO : 0);
	case REG_LCR:
		return u->lcr;
	case REG_MCR:
		return u->mcr;
	case REG_LSR:
		return LSR_TX_EMPTY;
	case REG_MSR:
		return MSR_CONNECTED;
	default:
		return u->scr;
	}
}

bool guest_uart_write(struct guest_uart *u, unsigned reg, uint8_t value)
{
	bool dlab = (u->lcr & LCR_DLAB) != 0;

	switch (reg) {
	case REG_DATA:
		if (!dlab)
			return true;
		u->dll = value;
		break;
	case REG_IER:
		if (dlab)
			u->dlm = value;
		else
			u->ier = value & 0x0f;
		break;
	case REG_IIR_FCR:
		u->fcr = value;
		break;
	case REG_LCR:
		u->lcr = value;
		break;
	case REG_MCR:
		u->mcr = value & 0x1f;
		break;
	case REG_SCR:
		u->scr = value;
		break;
	default:
		break;
	}
	return false;
}
