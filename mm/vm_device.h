/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Memory of real devices in a guest: mapped untracked, that is without references and without a
 * frame, and found again by either address. The guest reaches the hardware itself; readers and
 * writers of vmio/ refuse such pages, as an access may have effects.
 */
#ifndef MM_VM_DEVICE_H
#define MM_VM_DEVICE_H

#include "mm/vm_space.h"

/*
 * Maps the device memory [start, start + len) at `at`, with the largest pages that fit. On an error
 * nothing is mapped:
 *   -EINVAL  an address or the length is not page-aligned, len 0, or attr cannot be expressed
 *   -ERANGE  outside of the table's addresses or the CPU's physical ones
 *   -EBUSY   part of it is RAM
 *   -EEXIST  something is mapped there
 *   -ENOSPC  VM_DEVICES are mapped already
 *   -ENOMEM  no memory for tables
 */
int vm_device_map(struct vm_space *space, gpa_t at, hpa_t start, uint64_t len, pt_attr_t attr);

/* Takes out what vm_device_map has mapped at `at`, its first address. When it returns no CPU
 * reaches it. -ENOENT: no device begins there. -ENOMEM: a page would have to be split, and was not.
 */
int vm_device_unmap(struct vm_space *space, gpa_t at);

/* The device that contains a guest-physical or host-physical address. False: none does. */
bool vm_device_at(struct vm_space *space, gpa_t at, struct vm_device *out);
bool vm_device_find(struct vm_space *space, hpa_t at, struct vm_device *out);

/* The n-th, in no order that means anything. False: there are no more. */
bool vm_device_nth(struct vm_space *space, unsigned n, struct vm_device *out);

#endif
