/* SPDX-License-Identifier: MPL-2.0 */
#ifndef GUEST_MEMORY_H
#define GUEST_MEMORY_H

#include "guest/guest.h"

/* The vm_fault_handler of a guest's space; `context` is the guest. */
int guest_memory_fault(void *context, gpa_t at, pt_attr_t want);

#endif
