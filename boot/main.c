/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The way up, floor by floor. Runs on the boot CPU, first on the boot loader's memory and our boot
 * tables, from kspace_init on on the tables that the engine has built.
 */
#include "base/err.h"
#include "base/log.h"
#include "base/panic.h"
#include "base/string.h"
#include "base/x86/apic.h"
#include "base/x86/cpuid.h"
#include "base/x86/percpu.h"
#include "base/x86/regs.h"
#include "base/x86/trap.h"
#include "base/x86/uart.h"
#include "boot/boot_info.h"
#include "boot/options.h"
#include "boot/smp.h"
#include "guest/guest.h"
#include "hv/backend.h"
#include "hv/console/console.h"
#include "hv/hv.h"
#include "mm/frame_alloc.h"
#include "mm/host_pt.h"
#include "mm/kspace.h"
#include "mm/kspace_tlb.h"

#define MAIN_STACK_PAGES 8
#define BOOT_INFO_MAX	 (UINT64_C(1) << 20)
#define META_ENTRIES	 2048

extern char boot_start[], image_start[], image_text_end[], image_rodata_end[], image_end[];
extern volatile uint64_t boot_meta_pd[META_ENTRIES];
extern uint64_t boot_tsc; /* the counter when GRUB handed over; reachable on the boot tables only */

void boot_main(uint32_t info);

static struct boot_info info;
static struct options options;
/* For NMI, #DF and #MC until there are stacks with guard pages. */
static uint8_t early_stack[4096] __attribute__((aligned(16)));

static void early_line(enum log_level level, const char *text)
{
	static const char *const marks[] = { "error: ", "warning: ", "", "" };

	for (const char *p = marks[level]; *p != '\0'; p++)
		uart_put(*p);
	for (; *text != '\0'; text++)
		uart_put(*text);
	uart_put('\r');
	uart_put('\n');
}

static void option_wrong(const char *text)
{
	log_error("%s", text);
}

static uint64_t image_hpa(const char *symbol)
{
	return (uint64_t)(uintptr_t)symbol - IMAGE_BASE;
}

/* What GRUB left in RAM stays ours: the image, the modules, and the boot information (until now).
 */
static int map_take_boot(struct memmap *map)
{
	int err = memmap_add(map, (uint64_t)(uintptr_t)boot_start, image_hpa(image_end), MEM_TAKEN);

	for (unsigned i = 0; i < info.module_count && err == 0; i++)
		err = memmap_add(map, info.modules[i].start.hpa,
				 info.modules[i].start.hpa + info.modules[i].len, MEM_TAKEN);
	return err;
}

/* Before the map is cut at `limit`. */
static void ram_beyond_warn(uint64_t limit)
{
	for (unsigned i = 0; i < info.map.count; i++) {
		const struct mem_region *r = &info.map.region[i];

		if (r->kind == MEM_RAM && r->end > limit) {
			log_warn("memory beyond %llu GiB is not used",
				 (unsigned long long)(limit >> 30));
			return;
		}
	}
}

static void memory_setup(void)
{
	const struct kspace_image image = {
		.text = hva_of(image_start),
		.text_end = hva_of(image_text_end),
		.rodata_end = hva_of(image_rodata_end),
		.data_end = hva_of(image_end),
		.text_hpa = hpa(image_hpa(image_start)),
		.meta_entries = boot_meta_pd,
		.meta_count = META_ENTRIES,
	};
	uint64_t limit = UINT64_C(1) << cpuid_maxphyaddr();
	uint64_t reach = META_ENTRIES * KSPACE_SECTION;

	if (limit > reach)
		limit = reach;
	ram_beyond_warn(limit);
	if (map_take_boot(&info.map) != 0 || memmap_normalize(&info.map, limit) != 0)
		panic("the memory map has too many regions");
	smp_reserve(&info.map);
	host_pt_setup(cpuid_page_1g(), cpuid_maxphyaddr());
	if (kspace_init(&info.map, &image) != 0)
		panic("no memory for the hypervisor itself");
	cr3_write(kspace_root().hpa);
	kspace_tlb_online();
	kspace_add_high(&info.map);
}

static void devices_setup(void)
{
	hpa_t at;
	hva_t registers = hva(0);

	if (apic_needs_mapping(&at)) {
		registers = kspace_device(at, PAGE_SIZE);
		if (registers.hva == 0)
			panic("the local APIC cannot be mapped");
	}
	apic_setup(registers);
	apic_enable();
	apic_calibrate();
	uart_listen();
	per_cpu[0].apic_id = apic_id();
	atomic_store(&per_cpu[0].online, true);
}

static void guest_start_one(const struct boot_module *m)
{
	struct guest_config config;
	struct guest *g;
	char why[256];

	if (m->text_cut) {
		log_error("module '%.40s...': its line is longer than %u characters: shorten it",
			  m->text, BOOT_TEXT_MAX - 1);
		return;
	}
	if (guest_config_parse(m->text, &config, why, sizeof(why)) != 0 ||
	    guest_create(&config, hpa_ptr(m->start), m->len, hv_backend->stage2, &g, why,
			 sizeof(why)) != 0 ||
	    hv_add_guest(g, why, sizeof(why)) != 0)
		log_error("%s", why);
}

static void guests_setup(void)
{
	if (info.modules_left_out != 0)
		log_error("%u modules are left out: there is room for %u", info.modules_left_out,
			  BOOT_MODULES_MAX);
	if (hv_backend == NULL) {
		log_error("no guest can run: %s", hv_why);
		return;
	}
	for (unsigned i = 0; i < info.module_count; i++)
		guest_start_one(&info.modules[i]);
}

static void ap_loop(void)
{
	hv_cpu_loop();
}

/* On the boot CPU's final stack. */
static void main_on_stack(void)
{
	if (smp_setup_this_cpu(0) != 0)
		panic("no memory for the boot CPU's stacks");
	devices_setup();
	log_info("%llu MiB of memory, booted by %s",
		 (unsigned long long)((memmap_bytes(&info.map, MEM_RAM) +
				       memmap_bytes(&info.map, MEM_TAKEN)) >>
				      20),
		 info.loader);
	console_start(options.script ? CONSOLE_SCRIPT : CONSOLE_INTERACTIVE);
	hv_setup();
	smp_start(&info, ap_loop);
	guests_setup();
	log_info("%u CPU%s, %s, up after %llu us", cpu_count, cpu_count == 1 ? "" : "s",
		 hv_backend != NULL ? hv_backend->name : "no virtualization",
		 (unsigned long long)((tsc_read() - hv_start_tsc) * 1000 / tsc_per_ms));
	hv_cpu_loop();
}

static void run_on(hva_t stack, void (*f)(void))
{
	__asm__ volatile("movq %0, %%rsp\n\t"
			 "xorl %%ebp, %%ebp\n\t"
			 "pushq $0\n\t"
			 "pushq $0\n\t"
			 "call *%1"
			 :
			 : "r"(stack.hva), "r"(f)
			 : "memory");
	__builtin_unreachable();
}

void boot_main(uint32_t info_at)
{
	const hva_t top = hva_of(early_stack + sizeof(early_stack));
	const hva_t early_ist[IST_COUNT] = { top, top, top };
	char why[256];
	hva_t stack;

	hv_start_tsc = boot_tsc;
	uart_setup();
	log_set_output(early_line);
	trap_setup();
	percpu_setup(0, early_ist);
	early_line(LOG_INFO, "Nestling");
	if (boot_info_decode(hpa_ptr(hpa(info_at)), BOOT_INFO_MAX, &info, why, sizeof(why)) != 0)
		panic("%s", why);
	if (info.cmdline_cut)
		log_error("command line: longer than %u characters: the rest is left out",
			  BOOT_TEXT_MAX - 1);
	options_parse(info.cmdline, &options, option_wrong);
	log_set_level(options.log);
	memory_setup();
	stack = kspace_stack(MAIN_STACK_PAGES);
	if (stack.hva == 0)
		panic("no memory for the boot CPU's stack");
	run_on(stack, main_on_stack);
}
