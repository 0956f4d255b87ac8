/* SPDX-License-Identifier: MPL-2.0 */
#include "boot/smp.h"

#include "base/err.h"
#include "base/log.h"
#include "base/string.h"
#include "base/x86/apic.h"
#include "base/x86/percpu.h"
#include "base/x86/regs.h"
#include "boot/acpi.h"
#include "mm/kspace.h"
#include "mm/kspace_tlb.h"

#define STACK_PAGES 4
#define IST_PAGES   2
#define UP_WAIT_MS  200

#define LOW_MEMORY_END 0xa0000
#define XAPIC_ID_MAX   254
#define LISTED_MAX     256

extern const char ap_trampoline[], ap_trampoline_end[], ap_jump[], ap_gdt_pointer[];

/* Read by boot/ap_entry.S, written before each start. */
uint64_t ap_cr3, ap_stack;
void ap_main(void);

static uint64_t trampoline; /* hpa; 0: none */
static unsigned ap_id;
static hva_t ap_ist[IST_COUNT];
static void (*ap_enter)(void);

void smp_reserve(struct memmap *map)
{
	if (memmap_take(map, PAGE_SIZE, LOW_MEMORY_END, PAGE_SIZE, PAGE_SIZE, &trampoline) != 0)
		trampoline = 0;
}

static int ist_alloc(hva_t ist[IST_COUNT])
{
	for (unsigned i = 0; i < IST_COUNT; i++) {
		ist[i] = kspace_stack(IST_PAGES);
		if (ist[i].hva != 0)
			continue;
		while (i-- != 0)
			kspace_stack_drop(ist[i]);
		return -ENOMEM;
	}
	return 0;
}

int smp_setup_this_cpu(unsigned id)
{
	hva_t ist[IST_COUNT];
	int err = ist_alloc(ist);

	if (err == 0)
		percpu_setup(id, ist);
	return err;
}

void ap_main(void)
{
	unsigned id = ap_id;

	/* Until this has run the CPU has no number, and may call nothing that asks for it. */
	percpu_setup(id, ap_ist);
	kspace_tlb_online();
	apic_enable();
	per_cpu[id].apic_id = apic_id();
	atomic_store(&per_cpu[id].online, true);
	ap_enter();
}

static void trampoline_copy(void)
{
	uint8_t *to = hpa_ptr(hpa(trampoline));
	uint32_t *jump = (uint32_t *)(to + (ap_jump - ap_trampoline));
	uint8_t *gdt = to + (ap_gdt_pointer - ap_trampoline) + 2;
	uint32_t gdt_at;

	memcpy(to, ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
	*jump += (uint32_t)trampoline;
	memcpy(&gdt_at, gdt, sizeof(gdt_at));
	gdt_at += (uint32_t)trampoline;
	memcpy(gdt, &gdt_at, sizeof(gdt_at));
}

static void wait_ms(uint64_t ms)
{
	uint64_t end = tsc_read() + ms * tsc_per_ms;

	while (tsc_read() < end)
		cpu_relax();
}

static bool wait_online(unsigned id)
{
	uint64_t end = tsc_read() + UP_WAIT_MS * tsc_per_ms;

	while (!atomic_load(&per_cpu[id].online) && tsc_read() < end)
		cpu_relax();
	return atomic_load(&per_cpu[id].online);
}

static bool start_one(uint32_t apic, unsigned id)
{
	hva_t stack = kspace_stack(STACK_PAGES);

	if (stack.hva == 0)
		return false;
	if (ist_alloc(ap_ist) != 0) {
		kspace_stack_drop(stack);
		return false;
	}
	ap_cr3 = kspace_root().hpa;
	ap_stack = stack.hva;
	ap_id = id;
	per_cpu[id].stack = stack;
	trampoline_copy();
	apic_send_init(apic);
	wait_ms(10);
	/* The second start-up is for CPUs that missed the first; one that runs ignores it. */
	for (unsigned i = 0; i < 2 && !atomic_load(&per_cpu[id].online); i++) {
		apic_send_startup(apic, (uint8_t)(trampoline >> PAGE_SHIFT));
		if (wait_online(id))
			return true;
	}
	/* It must not wake up later, when the number and the stack may be another CPU's. */
	apic_send_init(apic);
	return false;
}

/* Whether the interrupt controller, in the mode that it is in, can name this CPU. */
static bool can_reach(uint32_t apic)
{
	hpa_t at;

	return !apic_needs_mapping(&at) || apic <= XAPIC_ID_MAX;
}

/* Why a CPU is left out, or NULL: it runs as number cpu_count - 1. */
static const char *add_cpu(uint32_t apic)
{
	if (cpu_count == MAX_CPUS)
		return "there is room for no more";
	if (trampoline == 0)
		return "no free page below 640 KiB to start it from";
	if (!can_reach(apic))
		return "only an x2APIC can reach it: turn that on in the firmware";
	if (!start_one(apic, cpu_count))
		return "it does not start";
	cpu_count++;
	return NULL;
}

/* ACPI tables lie in RAM kinds or reserved memory below 4 GiB, which the linear map may lack. */
static const void *map_acpi(hpa_t at, uint64_t len)
{
	hva_t seen;

	if (len == 0 || at.hpa + len < at.hpa)
		return NULL;
	if (frame_at(at) != NULL && frame_at(hpa(at.hpa + len - 1)) != NULL)
		return hpa_ptr(at);
	seen = kspace_device(at, len);
	return seen.hva != 0 ? hva_ptr(seen) : NULL;
}

void smp_start(const struct boot_info *info, void (*enter)(void))
{
	uint32_t ids[LISTED_MAX];
	int n = acpi_cpus(info->rsdp, info->rsdp_len, map_acpi, ids, LISTED_MAX);

	ap_enter = enter;
	for (int i = 0; i < n; i++) {
		const char *why = ids[i] != per_cpu[0].apic_id ? add_cpu(ids[i]) : NULL;

		if (why != NULL)
			log_warn("CPU with APIC id %u is left out: %s", ids[i], why);
	}
}
