/* SPDX-License-Identifier: MPL-2.0 */
#ifndef HV_STRING_IO_H
#define HV_STRING_IO_H

#include "hv/vcpu.h"

/*
 * INS and OUTS, a REP at most 4096 items at a time, so that a guest cannot keep the host in here.
 * With paging on, each item is translated by the guest's own tables; a page fault is not delivered
 * but stops the guest. 0: done (or partly done, to be entered again); else the guest has been
 * stopped with a reason.
 */
int string_io(struct vcpu *v, const struct vm_exit *exit);

#endif
