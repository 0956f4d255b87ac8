/* SPDX-License-Identifier: MPL-2.0 */
/* vCPUs and the queues of the CPUs that run them. */
#include "hv/hv.h"

#include "base/err.h"
#include "base/log.h"
#include "base/print.h"
#include "base/string.h"
#include "base/x86/apic.h"
#include "base/x86/cpuid.h"
#include "base/x86/percpu.h"
#include "base/x86/power.h"
#include "base/x86/trap.h"
#include "hv/backend.h"
#include "hv/cpuid.h"
#include "hv/fpu.h"
#include "mm/kspace_tlb.h"

const struct hv_backend *hv_backend;
char hv_why[256];
uint64_t hv_start_tsc;

static struct vcpu vcpus[GUESTS_MAX][GUEST_VCPUS];

static struct queue {
	struct spinlock lock; /* vcpus, count (LOCK_LEAF) */
	struct list vcpus;    /* the next to run is first */
	unsigned count;
} queues[MAX_CPUS];

static void on_nmi(struct trap_frame *f)
{
	/* The exit, or the end of the halt, is all that a kick of a guest's is for. */
	kspace_tlb_flush();
	if (hv_backend != NULL && hv_backend->nmi != NULL)
		hv_backend->nmi(f);
}

static const struct hv_backend *choose(void)
{
	static const struct hv_backend *const all[] = { &vmx_backend, &svm_backend };

	for (unsigned i = 0; i < 2; i++)
		if (all[i]->present())
			return all[i];
	return NULL;
}

int hv_setup(void)
{
	const struct hv_backend *b = choose();

	for (unsigned i = 0; i < MAX_CPUS; i++) {
		queues[i].lock.class = LOCK_LEAF;
		list_init(&queues[i].vcpus);
	}
	trap_set_nmi(on_nmi);
	if (b == NULL) {
		format(hv_why, sizeof(hv_why),
		       "this CPU is neither Intel's nor AMD's: use a machine with VT-x or AMD-V");
		return -ENODEV;
	}
	if (b->setup(hv_why, sizeof(hv_why)) != 0 || b->cpu_enable(hv_why, sizeof(hv_why)) != 0)
		return -ENODEV;
	hv_backend = b;
	guest_cpuid_setup(cpuid_read);
	tlb_set_kick(hv_kick);
	return 0;
}

void hv_kick(unsigned cpu)
{
	if (cpu != cpu_id())
		apic_send_nmi(per_cpu[cpu].apic_id);
}

struct vcpu *hv_vcpu(const struct guest *g, unsigned id)
{
	struct vcpu *v = id < g->config.vcpus ? &vcpus[g->index][id] : NULL;

	return v != NULL && v->guest == g ? v : NULL;
}

static void enqueue(struct vcpu *v)
{
	struct queue *q = &queues[v->cpu];

	spin_lock(&q->lock);
	list_add_tail(&q->vcpus, &v->link);
	q->count++;
	spin_unlock(&q->lock);
}

static void dequeue(struct vcpu *v)
{
	struct queue *q = &queues[v->cpu];

	spin_lock(&q->lock);
	list_del(&v->link);
	q->count--;
	spin_unlock(&q->lock);
}

static bool can_run(const struct vcpu *v)
{
	return atomic_load(&v->guest->state) == GUEST_RUNNING &&
	       atomic_load(&v->state) == VCPU_READY;
}

/* A vCPU that rests must not be in its CPU: somebody may want to look at it, or destroy it. */
static void release(struct vcpu *v)
{
	if (!atomic_load(&v->resident))
		return;
	fpu_release(v);
	if (hv_backend->release != NULL)
		hv_backend->release(v);
	atomic_store(&v->resident, false);
}

struct vcpu *hv_next_vcpu(unsigned cpu)
{
	struct queue *q = &queues[cpu];
	struct vcpu *found = NULL;

	spin_lock(&q->lock);
	list_for_each(v, &q->vcpus, struct vcpu, link)
	{
		/* Inside first, then a look at the state: whoever pauses does it the other way. */
		atomic_store(&v->inside, true);
		if (can_run(v)) {
			atomic_store(&v->resident, true);
			found = v;
			break;
		}
		release(v);
		atomic_store(&v->inside, false);
	}
	if (found != NULL) {
		list_del(&found->link);
		list_add_tail(&q->vcpus, &found->link);
	}
	spin_unlock(&q->lock);
	return found;
}

/* The CPU with the fewest vCPUs, starting to look behind the guest's previous one. */
static unsigned least_loaded(unsigned from)
{
	unsigned best = from % cpu_count;

	for (unsigned i = 0; i < cpu_count; i++) {
		unsigned cpu = (from + i) % cpu_count;

		if (queues[cpu].count < queues[best].count)
			best = cpu;
	}
	return best;
}

static int vcpu_create(struct guest *g, unsigned id)
{
	struct vcpu *v = &vcpus[g->index][id];
	int err;

	memset(v, 0, sizeof(*v));
	v->guest = g;
	v->id = id;
	v->cpu = g->config.cpu >= 0 ? ((unsigned)g->config.cpu + id) % cpu_count
				    : least_loaded(cpu_count - 1);
	list_init(&v->link);
	v->fresh = true;
	v->start_at = g->start.entry;
	atomic_store(&v->state, id == 0 ? VCPU_READY : VCPU_WAIT_START);
	err = fpu_create(v);
	if (err == 0) {
		err = hv_backend->create(v);
		if (err != 0)
			fpu_destroy(v);
	}
	if (err != 0)
		v->guest = NULL;
	return err;
}

static void vcpu_destroy(struct vcpu *v)
{
	hv_backend->destroy(v);
	fpu_destroy(v);
	v->guest = NULL;
}

int hv_add_guest(struct guest *g, char *why, size_t why_size)
{
	/* Nobody runs a vCPU before all of them are there. */
	bool starts = atomic_exchange(&g->state, GUEST_PAUSED) == GUEST_RUNNING;
	unsigned made = 0;
	int err = 0;

	if (g->config.cpu >= (int)cpu_count) {
		format(why, why_size, "guest '%s': cpu=%d: this machine has CPUs 0 to %u",
		       g->config.name, g->config.cpu, cpu_count - 1);
		guest_destroy(g);
		return -EINVAL;
	}
	for (; made < g->config.vcpus && err == 0; made += err == 0) {
		err = vcpu_create(g, made);
		if (err == 0)
			enqueue(&vcpus[g->index][made]);
	}
	if (err == 0) {
		if (starts)
			hv_resume(g);
		return 0;
	}
	format(why, why_size, "guest '%s': no memory for vCPU %u", g->config.name, made);
	while (made-- != 0) {
		dequeue(&vcpus[g->index][made]);
		vcpu_destroy(&vcpus[g->index][made]);
	}
	guest_destroy(g);
	return err;
}

void hv_vcpu_halted(struct vcpu *v)
{
	for (unsigned i = 0; i < v->guest->config.vcpus; i++)
		if (atomic_load(&hv_vcpu(v->guest, i)->state) == VCPU_READY)
			return;
	guest_done(v->guest, 0);
}

/* Waits until no vCPU of a guest that may not run is inside any more. */
static void settle(struct guest *g)
{
	for (unsigned i = 0; i < g->config.vcpus; i++) {
		struct vcpu *v = hv_vcpu(g, i);

		if (v == NULL)
			continue;
		if (v->cpu == cpu_id())
			release(v);
		while (atomic_load(&v->inside) || atomic_load(&v->resident)) {
			hv_kick(v->cpu);
			for (unsigned n = 0; n < 1000 && atomic_load(&v->resident); n++)
				cpu_relax();
		}
	}
}

void hv_pause(struct guest *g)
{
	enum guest_state running = GUEST_RUNNING;

	atomic_compare_exchange_strong(&g->state, &running, GUEST_PAUSED);
	settle(g);
}

void hv_resume(struct guest *g)
{
	enum guest_state paused = GUEST_PAUSED;

	if (!atomic_compare_exchange_strong(&g->state, &paused, GUEST_RUNNING))
		return;
	for (unsigned i = 0; i < g->config.vcpus; i++)
		hv_kick(hv_vcpu(g, i)->cpu);
}

void hv_remove(struct guest *g)
{
	guest_stop(g, "removed");
	settle(g);
	for (unsigned i = 0; i < g->config.vcpus; i++) {
		struct vcpu *v = hv_vcpu(g, i);

		dequeue(v);
		vcpu_destroy(v);
	}
	guest_destroy(g);
}

void hv_power_off(bool ok)
{
	if (hv_backend != NULL)
		hv_backend->cpu_disable();
	power_off(ok);
}
