/* SPDX-License-Identifier: MPL-2.0 */
/* What the firmware lets us do: the checks apart from the registers that they are made on. */
#ifndef HV_FIRMWARE_H
#define HV_FIRMWARE_H

#include <stdbool.h>
#include <stdint.h>

/* NULL: nothing in the way. Else what is missing and what to do, in one line. */

/* `has`: CPUID shows VT-x; `control`: IA32_FEATURE_CONTROL (SDM vol. 3, 24.7), where readable. */
const char *firmware_refuses_vmx(bool has, bool readable, uint64_t control);

/* `has`, `nested`: CPUID shows AMD-V, and nested paging; `vm_cr`: VM_CR (APM vol. 2, 15.30.1), 0
 * where there is none. */
const char *firmware_refuses_svm(bool has, bool nested, uint64_t vm_cr);

#endif
