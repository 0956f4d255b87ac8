/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Running: physical CPUs, vCPUs on them, and the loop that each CPU stays in.
 *
 *   hv_cpu_loop (each CPU, for ever)                      hv/cpu_loop.c
 *     pick a vCPU of this CPU whose guest runs, round robin
 *       enter, handle the exit, enter, ... until its quantum ends, it blocks or stops
 *     console (boot CPU only), grace periods
 *     nothing to do: zero free frames; wait for an interrupt
 */
#ifndef HV_HV_H
#define HV_HV_H

#include "guest/guest.h"
#include "hv/vcpu.h"

/* One line that says why no guest can run; empty when they can. */
extern char hv_why[256];

/* The time-stamp counter when the boot loader handed over. */
extern uint64_t hv_start_tsc;

/* Chooses and sets up the backend, on the boot CPU. -ENODEV: hv_why is set, the console still
 * works. */
int hv_setup(void);

/* Makes vCPUs for a guest and queues them. -ENOMEM, -EINVAL (no such CPU) with a reason in `why`;
 * then the guest is destroyed. */
int hv_add_guest(struct guest *g, char *why, size_t why_size);

/* On each CPU: never returns. */
__attribute__((noreturn)) void hv_cpu_loop(void);

/* vCPU `id` of a guest; NULL if there is none. */
struct vcpu *hv_vcpu(const struct guest *g, unsigned id);

/* A vCPU has halted: a guest of which all have is done. */
void hv_vcpu_halted(struct vcpu *v);

/* Pause and resume; pause returns when no vCPU of the guest is inside. On the boot CPU, outside any
 * epoch section. */
void hv_pause(struct guest *g);
void hv_resume(struct guest *g);
/* Stops it and gives all of its memory back. Likewise. */
void hv_remove(struct guest *g);

/* Makes CPU `cpu` leave its guest or its idling (NMI). Does nothing on the calling CPU. */
void hv_kick(unsigned cpu);

/*
 * Runs f(context) on CPU `cpu` between its turns and waits until it has. On the boot CPU, outside
 * any epoch section; the CPUs are in hv_cpu_loop, or about to be.
 */
void hv_call(unsigned cpu, void (*f)(void *context), void *context);

/* What runs on the boot CPU between turns of guests; set by the console. True: it did something. */
void hv_set_poll(bool (*poll)(void));

/* Powers the machine off; the bed reports `ok`. Never returns. */
__attribute__((noreturn)) void hv_power_off(bool ok);

/* Entered vCPUs of this CPU: the queue, for hv/cpu_loop.c. */
struct vcpu *hv_next_vcpu(unsigned cpu);

#endif
