/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Running: physical CPUs, vCPUs on them, and the loop that each CPU stays in.
 *
 *   cpu_loop (each CPU, for ever)
 *     pick a vCPU of this CPU whose guest runs, round robin
 *       run it until its quantum ends, it blocks or stops     hv/run.c
 *     console (boot CPU only), epochs, pre-zeroing            hv/cpu_loop.c
 *     nothing to do: wait for an interrupt
 */
#ifndef HV_HV_H
#define HV_HV_H

#include "guest/guest.h"
#include "hv/vcpu.h"

/* One line that says why no guest can run; empty when they can. */
extern char hv_why[256];

/* Chooses and sets up the backend, on the boot CPU. -ENODEV: hv_why is set, the console still works. */
int hv_setup(void);

/* Makes vCPUs for a guest and queues them. -ENOMEM with a reason in `why`. */
int hv_add_guest(struct guest *g, char *why, size_t why_size);

/* On each CPU: never returns. */
__attribute__((noreturn)) void hv_cpu_loop(void);

/* Number of CPUs that take part. */
unsigned hv_cpu_count(void);

/* vCPU `id` of a guest; NULL if there is none. */
struct vcpu *hv_vcpu(const struct guest *g, unsigned id);

/* Pause and resume; pause returns when no vCPU of the guest is inside. */
void hv_pause(struct guest *g);
void hv_resume(struct guest *g);
/* Stops it and gives all of its memory back. */
void hv_remove(struct guest *g);

/* Makes CPU `cpu` leave its guest (NMI). Does nothing on the calling CPU. */
void hv_kick(unsigned cpu);

/* What runs on the boot CPU between guests; set by the console. True: it did something. */
void hv_set_poll(bool (*poll)(void));

/* Powers the machine off; the bed reports `ok`. Never returns. */
__attribute__((noreturn)) void hv_power_off(bool ok);

#endif
