/* SPDX-License-Identifier: MPL-2.0 */
#include "base/x86/pic.h"

#include "base/contract.h"
#include "base/x86/port.h"
#include "base/x86/trap.h"

#define PIC1_COMMAND 0x20
#define PIC1_DATA    0x21
#define PIC2_COMMAND 0xa0
#define PIC2_DATA    0xa1

#define ICW1_INIT	  0x11 /* edges, cascade, four words */
#define ICW3_PIC1_CASCADE 0x04 /* the second one hangs on line 2 */
#define ICW3_PIC2_ID	  0x02
#define ICW4_8086	  0x01
#define OCW2_SPECIFIC_EOI 0x60

void pic_setup(void)
{
	static const uint8_t init[][2] = {
		{ PIC1_COMMAND, ICW1_INIT },
		{ PIC2_COMMAND, ICW1_INIT },
		{ PIC1_DATA, VECTOR_PIC },
		{ PIC2_DATA, VECTOR_PIC + 8 },
		{ PIC1_DATA, ICW3_PIC1_CASCADE },
		{ PIC2_DATA, ICW3_PIC2_ID },
		{ PIC1_DATA, ICW4_8086 },
		{ PIC2_DATA, ICW4_8086 },
		{ PIC1_DATA, 0xff },
		{ PIC2_DATA, 0xff },
	};

	for (unsigned i = 0; i < sizeof(init) / sizeof(init[0]); i++)
		port_out8(init[i][0], init[i][1]);
}

void pic_unmask(unsigned line)
{
	REQUIRES(line < 8);
	port_out8(PIC1_DATA, (uint8_t)(port_in8(PIC1_DATA) & ~(1u << line)));
}

void pic_eoi(unsigned line)
{
	REQUIRES(line < 8);
	port_out8(PIC1_COMMAND, (uint8_t)(OCW2_SPECIFIC_EOI | line));
}
