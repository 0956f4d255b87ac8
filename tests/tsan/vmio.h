/* SPDX-License-Identifier: MPL-2.0 */
/* The parts of the test of guest memory. The arena is there, no CPU is in a section. */
#ifndef TESTS_TSAN_VMIO_H
#define TESTS_TSAN_VMIO_H

#include "vmio/virtual.h"

/* How many operations there are to be, in all parts together. */
uint64_t vmio_ops(void);

/* No reader or writer has left a claim of the space's. */
void vmio_nobody(const struct vm_space *space);

/* Copies while pages are mapped, unmapped and protected. */
void vmio_states(void);

/* Writes while marks are taken, and the pages with them. */
void vmio_marks(void);

#endif
