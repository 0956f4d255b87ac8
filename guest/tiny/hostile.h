/* SPDX-License-Identifier: MPL-2.0 */
/* The parts of the hostile guest. Each probe is counted; one that broke out is a breach. */
#ifndef GUEST_TINY_HOSTILE_H
#define GUEST_TINY_HOSTILE_H

#include "guest/tiny/tiny.h"

/* What must come of a probe. */
enum outcome { EITHER, FAULTS };

/* Calls f(arg), prints what came of it. */
int probe(const char *name, enum outcome must, void (*f)(void *), void *arg);
/* The same without a line, for probes by the thousand. */
int probe_quietly(const char *name, enum outcome must, void (*f)(void *), void *arg);
/* A probe whose result is known. */
void judge(const char *name, bool contained);

void hostile_instructions(const char *when, bool aloud);
void hostile_registers(void);
void hostile_msrs(void);
void hostile_ports(void);
void hostile_hypercalls(void);
void hostile_code(void);
void hostile_user(void);

/* The probes that end the guest: runs the one of that name, or lists them all. */
void hostile_stop(const char *name);

#endif
