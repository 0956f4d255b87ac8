/* SPDX-License-Identifier: MPL-2.0 */
/* The trap handler's part in base/fixup.h, for the host: signals instead of exceptions. */
#ifndef TESTS_HOST_FAULT_H
#define TESTS_HOST_FAULT_H

/* From here on instructions that may fault are survived; others end the process, as before. */
void host_fault_catch(void);

#endif
