/* SPDX-License-Identifier: MPL-2.0 */
#include "base/x86/stop.h"

#include "base/x86/apic.h"
#include "base/x86/percpu.h"
#include "base/x86/regs.h"

#define ASK_PER_MS 50
#define ASK_TIMES  (10 * ASK_PER_MS)

static _Atomic unsigned asker = MAX_CPUS; /* MAX_CPUS: nobody yet */
static _Atomic unsigned halted;

/* Sends each other CPU an NMI; how many others there are. */
static unsigned ask(void)
{
	unsigned others = 0;

	for (unsigned i = 0; i < MAX_CPUS; i++)
		if (i != cpu_id() && atomic_load(&per_cpu[i].online)) {
			apic_send_nmi(per_cpu[i].apic_id);
			others++;
		}
	return others;
}

static void wait_a_little(void)
{
	uint64_t start = tsc_read();

	while (tsc_read() - start < tsc_per_ms / ASK_PER_MS)
		cpu_relax();
}

void stop_others(void)
{
	atomic_store(&asker, cpu_id());
	/* On a CPU inside a guest an NMI may only bring it out: ask again before it is back in. */
	for (unsigned i = 0; i < ASK_TIMES && atomic_load(&halted) < ask(); i++)
		wait_a_little();
}

void stop_if_asked(void)
{
	unsigned who = atomic_load_explicit(&asker, memory_order_relaxed);

	if (who == MAX_CPUS || who == cpu_id())
		return;
	/* NMIs stay blocked until an IRET that never comes: each CPU counts once. */
	atomic_fetch_add(&halted, 1);
	for (;;)
		__asm__ volatile("cli; hlt");
}
