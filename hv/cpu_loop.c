/* SPDX-License-Identifier: MPL-2.0 */
#include "base/log.h"
#include "base/x86/apic.h"
#include "base/x86/percpu.h"
#include "base/x86/regs.h"
#include "hv/backend.h"
#include "hv/dispatch.h"
#include "hv/fpu.h"
#include "hv/hv.h"
#include "mm/frame_alloc.h"
#include "mm/kspace_tlb.h"
#include "mm/kvirt.h"

#define QUANTUM_MS    10
#define PREZERO_BATCH 64
#define REAP_BATCH    4

static bool (*poll_console)(void);

/* What the boot CPU wants another CPU to run: written before `wanted`, read after it. */
static struct {
	_Atomic bool wanted;
	void (*f)(void *context);
	void *context;
} calls[MAX_CPUS];

void hv_set_poll(bool (*poll)(void))
{
	poll_console = poll;
}

void hv_call(unsigned cpu, void (*f)(void *context), void *context)
{
	REQUIRES(cpu_id() == 0 && cpu < cpu_count && !epoch_inside());
	if (cpu == 0) {
		f(context);
		return;
	}
	calls[cpu].f = f;
	calls[cpu].context = context;
	atomic_store(&calls[cpu].wanted, true);
	hv_kick(cpu);
	while (atomic_load(&calls[cpu].wanted))
		cpu_relax();
}

static bool serve_call(unsigned cpu)
{
	if (!atomic_load_explicit(&calls[cpu].wanted, memory_order_acquire))
		return false;
	calls[cpu].f(calls[cpu].context);
	atomic_store(&calls[cpu].wanted, false);
	return true;
}

/* One entry with what goes with it. An exit's cost is what passes until the next entry. */
static enum next run_once(struct vcpu *v, struct vm_exit *exit, uint64_t *outside,
			  uint64_t deadline)
{
	uint64_t entered = tsc_read(), left;
	struct exit_stat *stat = &v->exits[exit->reason];

	stat->cycles += entered - *outside;
	epoch_exit();
	hv_backend->run(v, exit, deadline);
	epoch_enter();
	left = tsc_read();
	v->guest_cycles += left - entered;
	v->exits[exit->reason].count++;
	*outside = left;
	return dispatch(v, exit);
}

static void vcpu_turn(struct vcpu *v)
{
	uint64_t start = tsc_read(), outside = start, deadline = start + QUANTUM_MS * tsc_per_ms;
	struct vm_exit exit = { .reason = EXIT_INTERRUPT };
	enum next next;

	if (v->fresh) {
		hv_backend->reset(v, v->start_at);
		v->fresh = false;
	}
	v->turn_end = deadline;
	fpu_load(v);
	apic_timer(QUANTUM_MS * tsc_per_ms);
	if (v->started == 0)
		v->started = tsc_read();
	epoch_enter();
	do
		next = run_once(v, &exit, &outside, deadline);
	while (next == NEXT_ENTER && outside < deadline &&
	       atomic_load_explicit(&v->guest->state, memory_order_relaxed) == GUEST_RUNNING);
	v->exits[exit.reason].cycles += tsc_read() - outside;
	epoch_exit();
	atomic_store(&v->inside, false);
}

/* Nothing to run: useful things first, then wait. The timer bounds what a lost wake-up could cost.
 */
static void idle(void)
{
	if (frame_alloc_prezero(PREZERO_BATCH) != 0)
		return;
	apic_timer(QUANTUM_MS * tsc_per_ms);
	__asm__ volatile("sti; hlt; cli" ::: "memory");
}

void hv_cpu_loop(void)
{
	unsigned cpu = cpu_id();
	char why[256];

	if (cpu != 0 && hv_backend != NULL && hv_backend->cpu_enable(why, sizeof(why)) != 0)
		panic("CPU %u differs from the boot CPU: %s", cpu, why);
	for (;;) {
		bool busy = serve_call(cpu);
		struct vcpu *v = hv_backend != NULL ? hv_next_vcpu(cpu) : NULL;

		if (v != NULL) {
			busy = true;
			/* A turn's first touches find zeroed memory; later ones zero on the way. */
			frame_alloc_prezero(PREZERO_BATCH);
			vcpu_turn(v);
		}
		if (cpu == 0 && poll_console != NULL && poll_console())
			busy = true;
		kspace_tlb_flush();
		kvirt_reap(REAP_BATCH);
		epoch_poll();
		if (!busy)
			idle();
	}
}
