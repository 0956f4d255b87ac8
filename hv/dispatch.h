/* SPDX-License-Identifier: MPL-2.0 */
/* What is done about an exit. */
#ifndef HV_DISPATCH_H
#define HV_DISPATCH_H

#include "hv/vcpu.h"

enum next {
	NEXT_ENTER,  /* into the guest again */
	NEXT_LOOK,   /* the host has something to look at first */
	NEXT_SWITCH, /* this vCPU cannot go on, or wants to let another run */
};

/* Each exit is handled, answered with an exception, or ends the guest with a report. */
enum next dispatch(struct vcpu *v, const struct vm_exit *exit);

/* Tells the log about a stopped guest: why, and the vCPU's state. */
void report_stopped(struct vcpu *v);

#endif
