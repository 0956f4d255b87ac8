/* SPDX-License-Identifier: MPL-2.0 */
/* Ports and hypercalls. */
#include "guest/tiny/hostile.h"

#define UART	   0x3f8
#define UART_PORTS 8
#define WIDE_STEP  251 /* a prime: every low digit of a port number comes up */

static uint32_t in_wide(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "d"(port));
	return value;
}

static void out_wide(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" ::"a"(value), "d"(port));
}

static void out_word(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" ::"a"(value), "d"(port));
}

static bool is_voice(uint32_t port)
{
	return port - UART < UART_PORTS || port == DEBUG_PORT;
}

static void scan(void)
{
	unsigned answers = 0, wide = 0;

	for (uint32_t port = 0; port < 0x10000; port++)
		answers += inb((uint16_t)port) != 0xff;
	for (uint32_t port = 0; port < 0x10000; port += WIDE_STEP)
		wide += in_wide((uint16_t)port) != 0xffffffff;
	for (uint32_t port = 0; port < 0x10000; port++)
		if (!is_voice(port))
			outb((uint16_t)port, 0xa5);
	for (uint32_t port = 0; port < 0x10000; port += WIDE_STEP)
		out_wide((uint16_t)port, 0xa5a5a5a5);
	/* The UART and the debug port answer, nothing else: the machine's devices are not ours. */
	judge("a port of the machine answers", answers <= UART_PORTS + 1);
	judge("a wide port of the machine answers", wide == 0);
	say("hostile: ports: %u of 65536 answer\n", answers);
}

/* What would end the machine, if it were the machine. */
static void ends(void)
{
	outb(0x64, 0xfe);	  /* keyboard controller: reset */
	outb(0x92, 1);		  /* fast reset */
	outb(0xcf9, 6);		  /* chipset: reset */
	out_word(0x604, 0x2000);  /* QEMU: power off */
	out_word(0xb004, 0x2000); /* Bochs: power off */
	out_word(0x4004, 0x3400); /* VirtualBox: power off */
	out_wide(0xf4, 0x10);	  /* QEMU: leave */
	outb(0x505, 1);		  /* QEMU: report a panic */
	outb(0x501, 0x31);	  /* QEMU: leave */
	out_word(0x8a00, 0x8a00); /* Bochs: debugger */
	out_word(0x8a00, 0x8ae0);
	for (const char *p = "Shutdown"; *p != '\0'; p++)
		outb(0x8900, (uint8_t)*p); /* Bochs: leave */
	out_wide(0xcf8, 0x80000004);	   /* PCI configuration: command register */
	out_wide(0xcfc, 0);
	judge("a port that ends the machine", true);
	say("hostile: ports that end a machine: still here\n");
}

/* Every register of the UART with every value, but for what would be sent. */
static void uart(void)
{
	for (unsigned reg = 1; reg < UART_PORTS; reg++)
		for (unsigned value = 0; value < 256; value++) {
			outb((uint16_t)(UART + reg), (uint8_t)value);
			inb((uint16_t)(UART + reg));
		}
	outb(UART + 3, 3);
	judge("the UART", (inb(UART + 5) & 0x20) != 0);
	say("hostile: UART: still here\n");
}

void hostile_ports(void)
{
	scan();
	ends();
	uart();
}

/* --- hypercalls -------------------------------------------------------------------------- */

/* All of the registers are garbage above what counts. */
static uint64_t dirty_call(uint64_t number, uint64_t b, uint64_t c)
{
	const uint64_t dirt = 0xdeadbeef00000000;
	uint64_t result = number | dirt;

	if (cpu_is_amd())
		__asm__ volatile("vmmcall"
				 : "+a"(result)
				 : "b"(b | dirt), "c"(c | dirt), "d"(dirt)
				 : "memory");
	else
		__asm__ volatile("vmcall"
				 : "+a"(result)
				 : "b"(b | dirt), "c"(c | dirt), "d"(dirt)
				 : "memory");
	return result;
}

static void start(const char *name, uint32_t vcpu, uint32_t at)
{
	judge(name, dirty_call(HC_CPU_START, vcpu, at) == HC_ERROR);
}

/* The other vendor's instruction. Some CPUs know both. */
static void other_call(void *arg)
{
	uint32_t a = HC_VERSION;

	(void)arg;
	if (cpu_is_amd())
		__asm__ volatile("vmcall" : "+a"(a)::"memory");
	else
		__asm__ volatile("vmmcall" : "+a"(a)::"memory");
}

void hostile_hypercalls(void)
{
	start("start of the vCPU that runs", 0, 0x8000);
	start("start of a vCPU that there is not", vcpu_count(), 0x8000);
	start("start of a vCPU far beyond", 0x7fffffff, 0x8000);
	start("start of a vCPU with a negative number", 0xffffffff, 0x8000);
	start("start in the middle of a page", vcpu_count() - 1, 0x8001);
	start("start above 1 MiB", vcpu_count() - 1, 0x100000);
	judge("report to a counter that there is not", dirty_call(HC_REPORT, 8, 1) == HC_ERROR);
	judge("report far beyond", dirty_call(HC_REPORT, 0xffffffff, 1) == HC_ERROR);
	judge("report", dirty_call(HC_REPORT, 7, 0x600d) == 0);
	judge("version with dirt above", dirty_call(HC_VERSION, 0, 0) == HC_MAGIC);
	for (uint32_t n = HC_REPORT + 1; n < 1024; n++)
		judge("hypercall that there is not", dirty_call(n, n, n) == HC_UNKNOWN);
	for (uint32_t n = 0x80000000; n != 0; n >>= 1)
		judge("hypercall that there is not", dirty_call(n | 0x100, n, n) == HC_UNKNOWN);
	probe("the other vendor's hypercall", EITHER, other_call, NULL);
	say("hostile: hypercalls: done\n");
}
