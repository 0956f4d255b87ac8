/* SPDX-License-Identifier: MPL-2.0 */
/*
 * INS and OUTS. The CPU leaves the guest before it has looked at the memory, so all that it would
 * have checked is checked here, element by element, and what it would have raised is raised:
 *
 *      segment's type and limit      #GP(0), #SS(0)
 *      not canonical                 #GP(0)
 *      alignment (CPL 3, AM, AC)     #AC(0)
 *      the first page, the second    #PF with its error code, and CR2
 *
 * The guest's tables are walked for each element anew and marked as the CPU marks them; an element
 * that lies on two pages is not begun before both are known to be allowed. Elements that were done
 * before a fault are done: RCX, RSI and RDI stand behind them, RIP at the instruction.
 */
#ifndef HV_STRING_IO_H
#define HV_STRING_IO_H

#include "hv/vcpu.h"

/*
 * A REP at most 4096 elements at a time, so that a guest cannot keep the host in here. 0: done, or
 * partly done and to be entered again, or an exception is queued. -EAGAIN: the same, when others
 * have had a turn. -EFAULT: the guest has been stopped with a reason: there is no memory, neither
 * its CPU nor a device could know what to do.
 */
int string_io(struct vcpu *v, const struct vm_exit *exit);

#endif
