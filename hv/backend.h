/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What VT-x and AMD-V have in common: hv/vmx/ and hv/svm/ implement this, everything else in hv/ is
 * written against it. One of the two is chosen at boot by what the CPU is.
 */
#ifndef HV_BACKEND_H
#define HV_BACKEND_H

#include "hv/exit.h"
#include "hv/vcpu.h"

struct trap_frame;

struct hv_backend {
	const char *name; /* "VT-x" or "AMD-V" */

	/* Is this CPU's vendor ours? CPUID only. */
	bool (*present)(void);

	/* Once, on the boot CPU. -ENODEV with one line in `why`: what is missing and what to do (no
	 * VT-x/AMD-V, locked by firmware, no EPT/NPT, no unrestricted guest). Sets up the stage-2
	 * format. */
	int (*setup)(char *why, size_t why_size);

	/* On each CPU, after setup: switches virtualization on. -ENODEV as above. */
	int (*cpu_enable)(char *why, size_t why_size);
	/* On each CPU: switches it off again (power-off, panic). Harmless when it is not on. */
	void (*cpu_disable)(void);

	const struct pt_ops *stage2; /* &ept_ops or &npt_ops */

	/* Control blocks of a vCPU. -ENOMEM. Precondition of destroy: it does not run. */
	int (*create)(struct vcpu *v);
	void (*destroy)(struct vcpu *v);

	/* Takes what the CPU itself still holds of a vCPU that is at rest (a cached control block,
	 * registers that are switched lazily) back to memory, so that it can be looked at, moved or
	 * destroyed from any CPU. On the vCPU's own CPU. NULL where there is nothing. */
	void (*release)(struct vcpu *v);

	/* Processor state after INIT, but in real mode at linear address `entry` (below 1 MiB),
	 * with CS.base = entry & ~0xffff, IP = entry & 0xffff. On the vCPU's own CPU or before it
	 * ran. */
	void (*reset)(struct vcpu *v, uint32_t entry);

	/*
	 * Enters the guest once and says why it left. Interrupts are off; the caller has called
	 * epoch_exit. Does vm_space_activate/leave and the flush in the window in which a kick is
	 * not lost. `deadline`: time-stamp counter at which the guest must have left at the latest;
	 * a backend without a timer of its own relies on the host's. v->rip is valid afterwards;
	 * *exit is filled. An event that was being delivered when the guest left is delivered again
	 * at the next entry, by the backend.
	 */
	void (*run)(struct vcpu *v, struct vm_exit *exit, uint64_t deadline);

	/* Queues an exception for the next entry (over a pending one: double fault rules are the
	 * caller's). */
	void (*inject)(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error);

	/* What the guest's CR2 is from its next entry on. */
	void (*set_cr2)(struct vcpu *v, uint64_t cr2);

	/* Whole state, for reports. On the vCPU's own CPU, or after release on any. */
	void (*get)(struct vcpu *v, struct vcpu_state_full *out);

	/* MSRs that live in the control block or are switched by hardware: 0, or -ENOENT (not such
	 * an MSR), -EINVAL (the guest gets #GP). */
	int (*msr_read)(struct vcpu *v, uint32_t msr, uint64_t *value);
	int (*msr_write)(struct vcpu *v, uint32_t msr, uint64_t value);

	/* The guest's CR4, CPL: what common code needs often. */
	uint64_t (*cr4)(struct vcpu *v);
	unsigned (*cpl)(struct vcpu *v);

	/* On an NMI in the host, with its frame: makes an entry that is about to happen not happen.
	 * NULL where the hardware holds NMIs back by itself. */
	void (*nmi)(struct trap_frame *f);

	/* A control-register access that exited: does it, skips it or injects what the guest's CPU
	 * would. -ENOSYS: unknown, stop the guest; -EAGAIN: not now, later; -ENOMEM: it has been
	 * stopped, for want of memory for its page tables. */
	int (*cr_access)(struct vcpu *v, const struct vm_exit *exit);
};

extern const struct hv_backend vmx_backend, svm_backend;

/* The one that was chosen; NULL when there is none (then hv_why says why). */
extern const struct hv_backend *hv_backend;

#endif
