/* SPDX-License-Identifier: MPL-2.0 */
/* A virtual CPU. Belongs to one guest, is bound to one physical CPU, runs on no other. */
#ifndef HV_VCPU_H
#define HV_VCPU_H

#include "base/list.h"
#include "guest/guest.h"
#include "hv/exit.h"

enum gpr { GPR_RAX, GPR_RCX, GPR_RDX, GPR_RBX, GPR_RSP, GPR_RBP, GPR_RSI, GPR_RDI, GPR_R8 };

enum vcpu_state {
	VCPU_WAIT_START, /* secondary vCPU: not started yet */
	VCPU_READY,	 /* waits for its CPU, or runs */
	VCPU_HALTED,	 /* HLT and nothing that could wake it */
	VCPU_STOPPED,	 /* with its guest */
};

struct exit_stat {
	uint64_t count;
	uint64_t cycles; /* time-stamp counter ticks spent outside the guest */
};

struct vcpu_seg {
	uint16_t selector;
	uint16_t attr; /* as in a descriptor: type S DPL P (8 bits), then AVL L D G; SVM's VMCB
			  layout */
	uint32_t limit;
	uint64_t base;
};

/* Everything that a report or a reset needs; fetched and stored by the backend on demand. */
struct vcpu_state_full {
	uint64_t rip, rflags, rsp;
	uint64_t cr0, cr2, cr3, cr4, efer, dr7;
	uint64_t pdpte[4]; /* PAE paging on Intel; else 0 */
	struct vcpu_seg cs, ds, es, fs, gs, ss, tr, ldtr, gdtr, idtr;
};

struct vcpu {
	/* Touched on every exit; gpr[GPR_RSP] is kept by the backend. */
	uint64_t gpr[16];
	uint64_t rip;  /* loaded on each exit, stored on each entry */
	void *backend; /* struct vmx_vcpu or svm_vcpu */
	struct guest *guest;
	unsigned id;  /* within the guest */
	unsigned cpu; /* the physical CPU it is bound to */
	_Atomic enum vcpu_state state;
	_Atomic bool inside;   /* in its run loop: its state is not at rest */
	_Atomic bool resident; /* some of its state is in its CPU: hv_backend->release */
	bool fresh;	       /* starts at start_at with its next entry */
	uint32_t start_at;     /* linear address below 1 MiB */
	struct exit_stat exits[EXIT_REASONS];
	uint64_t turn_end;     /* time-stamp counter at which another vCPU may want the CPU */
	uint64_t guest_cycles; /* time-stamp counter ticks spent in the guest */
	uint64_t started;      /* time-stamp counter at its first entry; 0: not yet */
	struct frame *fpu;     /* the guest's FPU state while another vCPU runs */
	uint64_t xcr0;	       /* likewise */
	uint64_t dr[5];	       /* DR0 to DR3 and DR6, likewise */
	uint32_t pkru;	       /* likewise */
	struct vm_exit last;   /* the exit that stopped it, for reports */
	struct list link;      /* in its CPU's run queue, guarded by that queue's lock */
};

#endif
