/* SPDX-License-Identifier: MPL-2.0 */
#include "hv/dispatch.h"

#include <stddef.h>

#include "base/err.h"
#include "base/x86/apic.h"
#include "base/x86/regs.h"
#include "base/x86/trap.h"
#include "guest/hypercall.h"
#include "hv/backend.h"
#include "hv/cpuid.h"
#include "hv/fpu.h"
#include "hv/hv.h"
#include "hv/msr.h"
#include "hv/string_io.h"

static __attribute__((noinline)) enum next stop(struct vcpu *v, const struct vm_exit *exit)
{
	v->last = *exit;
	report_stopped(v);
	return NEXT_SWITCH;
}

static inline enum next skip(struct vcpu *v, const struct vm_exit *exit)
{
	v->rip += exit->len;
	return NEXT_ENTER;
}

static enum next fault(struct vcpu *v, uint8_t vector)
{
	hv_backend->inject(v, vector, vector == VECTOR_GP, 0);
	return NEXT_ENTER;
}

static __attribute__((noinline)) enum next on_bad_access(struct vcpu *v, const struct vm_exit *exit)
{
	char why[192];
	/* Asked again, for the reason: meanwhile it may even have become possible. */
	int err = guest_fault(v->guest, &exit->fault, why, sizeof(why));

	if (err == 0)
		return NEXT_ENTER;
	/* What this CPU has taken from guests a moment ago comes back in a turn or two. */
	if (err == -ENOMEM && epoch_pending() != 0)
		return NEXT_SWITCH;
	guest_stop(v->guest, "%s", why);
	return stop(v, exit);
}

static enum next on_stage2(struct vcpu *v, const struct vm_exit *exit)
{
	if (guest_fault(v->guest, &exit->fault, NULL, 0) == 0)
		return NEXT_ENTER;
	return on_bad_access(v, exit);
}

static __attribute__((noinline)) const struct cpuid *complex_cpuid(struct vcpu *v, uint32_t leaf,
								   struct cpuid *room)
{
	uint64_t cr4 = leaf == 1 ? hv_backend->cr4(v) : 0;

	*room = guest_cpuid(leaf, (uint32_t)v->gpr[GPR_RCX], v->id, cr4);
	return room;
}

static enum next on_cpuid(struct vcpu *v, const struct vm_exit *exit)
{
	uint32_t leaf = (uint32_t)v->gpr[GPR_RAX];
	const struct cpuid *r = guest_cpuid_plain(leaf);
	struct cpuid room;

	if (r == NULL)
		r = complex_cpuid(v, leaf, &room);
	v->gpr[GPR_RAX] = r->eax;
	v->gpr[GPR_RBX] = r->ebx;
	v->gpr[GPR_RCX] = r->ecx;
	v->gpr[GPR_RDX] = r->edx;
	return skip(v, exit);
}

static enum next on_msr_read(struct vcpu *v, const struct vm_exit *exit)
{
	uint32_t msr = (uint32_t)v->gpr[GPR_RCX];
	uint64_t value;
	int err = hv_backend->msr_read(v, msr, &value);

	if (err == -EINVAL || (err == -ENOENT && !guest_msr_read(msr, &value)))
		return fault(v, VECTOR_GP);
	v->gpr[GPR_RAX] = (uint32_t)value;
	v->gpr[GPR_RDX] = value >> 32;
	return skip(v, exit);
}

static enum next on_msr_write(struct vcpu *v, const struct vm_exit *exit)
{
	uint32_t msr = (uint32_t)v->gpr[GPR_RCX];
	uint64_t value = (uint32_t)v->gpr[GPR_RAX] | v->gpr[GPR_RDX] << 32;
	int err = hv_backend->msr_write(v, msr, value);

	if (err == -EINVAL || (err == -ENOENT && !guest_msr_write(msr, value)))
		return fault(v, VECTOR_GP);
	return skip(v, exit);
}

static __attribute__((noinline)) enum next on_string_io(struct vcpu *v, const struct vm_exit *exit)
{
	int err = string_io(v, exit);

	if (err == 0)
		return NEXT_ENTER;
	return err == -EAGAIN ? NEXT_SWITCH : stop(v, exit);
}

static enum next on_port(struct vcpu *v, const struct vm_exit *exit)
{
	unsigned bits = 8u * exit->io.size;
	uint64_t mask = UINT32_MAX >> (32 - bits);
	uint64_t *rax = &v->gpr[GPR_RAX];

	if (exit->io.string)
		return on_string_io(v, exit);
	if (exit->io.in) {
		uint32_t value = guest_port_in(v->guest, exit->io.port, exit->io.size);

		/* A 32-bit result clears the upper half, smaller ones keep the rest. */
		*rax = bits == 32 ? value : (*rax & ~mask) | value;
	} else {
		guest_port_out(v->guest, exit->io.port, exit->io.size, (uint32_t)(*rax & mask));
	}
	return skip(v, exit);
}

static enum next on_hlt(struct vcpu *v, const struct vm_exit *exit)
{
	/* There is no interrupt that could wake it: it has nothing more to do. */
	skip(v, exit);
	atomic_store(&v->state, VCPU_HALTED);
	hv_vcpu_halted(v);
	return NEXT_SWITCH;
}

static uint32_t cpu_start(struct vcpu *v, uint32_t id, uint32_t at)
{
	struct vcpu *other = hv_vcpu(v->guest, id);
	enum vcpu_state waiting = VCPU_WAIT_START;

	if (other == NULL || (at & (PAGE_SIZE - 1)) != 0 || at >= 1u << 20 ||
	    atomic_load(&other->state) != VCPU_WAIT_START)
		return HC_ERROR;
	other->start_at = at;
	if (!atomic_compare_exchange_strong(&other->state, &waiting, VCPU_READY))
		return HC_ERROR;
	hv_kick(other->cpu);
	return 0;
}

static uint32_t hypercall_report(struct guest *g, uint32_t counter, uint32_t value)
{
	if (counter >= GUEST_REPORTS)
		return HC_ERROR;
	g->report[counter] = value;
	return 0;
}

static enum next on_hypercall(struct vcpu *v, const struct vm_exit *exit)
{
	uint32_t b = (uint32_t)v->gpr[GPR_RBX], c = (uint32_t)v->gpr[GPR_RCX], result = 0;
	enum next next = NEXT_ENTER;

	if (hv_backend->cpl(v) != 0)
		return fault(v, VECTOR_UD);
	switch ((uint32_t)v->gpr[GPR_RAX]) {
	case HC_VERSION:
		result = HC_MAGIC;
		break;
	case HC_EXIT:
		guest_done(v->guest, b);
		next = NEXT_SWITCH;
		break;
	case HC_CPU_START:
		result = cpu_start(v, b, c);
		break;
	case HC_CPU_ID:
		result = v->id;
		break;
	case HC_MEM_SIZE:
		result = (uint32_t)(v->guest->config.mem >> PAGE_SHIFT);
		break;
	case HC_YIELD:
		next = NEXT_SWITCH;
		break;
	case HC_REPORT:
		result = hypercall_report(v->guest, b, c);
		break;
	default:
		result = HC_UNKNOWN;
	}
	v->gpr[GPR_RAX] = result;
	skip(v, exit);
	return next;
}

static enum next on_cr(struct vcpu *v, const struct vm_exit *exit)
{
	int err = hv_backend->cr_access(v, exit);

	if (err == 0 || err == -EAGAIN)
		return err == 0 ? NEXT_ENTER : NEXT_SWITCH;
	guest_stop(v->guest, "access to CR%u that is not supported", exit->cr.cr);
	return stop(v, exit);
}

static enum next on_xsetbv(struct vcpu *v, const struct vm_exit *exit)
{
	uint64_t value = (uint32_t)v->gpr[GPR_RAX] | v->gpr[GPR_RDX] << 32;

	if (hv_backend->cpl(v) != 0 || (uint32_t)v->gpr[GPR_RCX] != 0 || !fpu_set_xcr0(v, value))
		return fault(v, VECTOR_GP);
	return skip(v, exit);
}

static enum next on_exception(struct vcpu *v, const struct vm_exit *exit)
{
	if (exit->exception.vector == VECTOR_MC) {
		guest_stop(v->guest, "machine check while it ran");
		return stop(v, exit);
	}
	/* Intercepted only so that the CPU cannot be caught in delivering it for ever. */
	hv_backend->inject(v, exit->exception.vector, exit->exception.has_error,
			   exit->exception.error);
	return NEXT_ENTER;
}

static enum next on_interrupt(const struct vm_exit *exit)
{
	if (exit->vector != 0) {
		trap_dispatch_irq(exit->vector);
	} else {
		/* The CPU still holds it: let it in. */
		__asm__ volatile("sti; nop; cli" ::: "memory");
	}
	return NEXT_LOOK;
}

/* The ones that nobody times. */
static __attribute__((noinline)) enum next dispatch_rare(struct vcpu *v, const struct vm_exit *exit)
{
	switch (exit->reason) {
	case EXIT_HLT:
		return on_hlt(v, exit);
	case EXIT_CR:
		return on_cr(v, exit);
	case EXIT_XSETBV:
		return on_xsetbv(v, exit);
	case EXIT_CACHE:
		return skip(v, exit); /* a guest's caches are the machine's: not its to flush */
	case EXIT_EXCEPTION:
		return on_exception(v, exit);
	case EXIT_UNDEFINED:
		return fault(v, VECTOR_UD);
	case EXIT_INTERRUPT:
		return on_interrupt(exit);
	case EXIT_NMI:
	case EXIT_TIMER:
		return NEXT_LOOK;
	case EXIT_SHUTDOWN:
		guest_stop(v->guest, "triple fault");
		return stop(v, exit);
	case EXIT_ENTRY:
		guest_stop(v->guest, "the CPU refuses its state (code 0x%llx, info 0x%llx)",
			   (unsigned long long)exit->raw, (unsigned long long)exit->info1);
		return stop(v, exit);
	default:
		guest_stop(v->guest, "exit 0x%llx that is not handled (info 0x%llx, 0x%llx)",
			   (unsigned long long)exit->raw, (unsigned long long)exit->info1,
			   (unsigned long long)exit->info2);
		return stop(v, exit);
	}
}

enum next dispatch(struct vcpu *v, const struct vm_exit *exit)
{
	switch (exit->reason) {
	case EXIT_STAGE2:
		return on_stage2(v, exit);
	case EXIT_CPUID:
		return on_cpuid(v, exit);
	case EXIT_MSR_READ:
		return on_msr_read(v, exit);
	case EXIT_MSR_WRITE:
		return on_msr_write(v, exit);
	case EXIT_PORT:
		return on_port(v, exit);
	case EXIT_HYPERCALL:
		return on_hypercall(v, exit);
	default:
		return dispatch_rare(v, exit);
	}
}
