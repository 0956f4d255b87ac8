/* SPDX-License-Identifier: MPL-2.0 */
#include "base/x86/power.h"

#include "base/x86/port.h"
#include "base/x86/uart.h"

#define QEMU_EXIT_PORT 0xf4
#define QEMU_EXIT_OK   0x10
#define QEMU_EXIT_FAIL 0x11

#define BOCHS_PORT 0x8900

#define FW_CFG_SELECT 0x510
#define FW_CFG_DATA   0x511

static bool is_qemu(void)
{
	port_out16(FW_CFG_SELECT, 0);
	return port_in8(FW_CFG_DATA) == 'Q' && port_in8(FW_CFG_DATA) == 'E';
}

static void puts_uart(const char *text)
{
	while (*text != '\0')
		uart_put(*text++);
}

void power_off(bool ok)
{
	__asm__ volatile("cli");
	puts_uart(ok ? "nestling: power off: PASS\r\n" : "nestling: power off: FAIL\r\n");
	if (is_qemu()) {
		port_out8(QEMU_EXIT_PORT, ok ? QEMU_EXIT_OK : QEMU_EXIT_FAIL);
	} else if (ok) {
		port_out8(BOCHS_PORT, 'D');
	} else {
		const char *word = "Shutdown";

		while (*word != '\0')
			port_out8(BOCHS_PORT, (uint8_t)*word++);
	}
	puts_uart("nestling: this machine has no power switch that I know: halted\r\n");
	for (;;)
		__asm__ volatile("cli; hlt");
}
