/* SPDX-License-Identifier: MPL-2.0 */
/* MSRs of a guest that no backend keeps: the few that it may see, everything else is #GP. */
#ifndef HV_MSR_H
#define HV_MSR_H

#include <stdbool.h>
#include <stdint.h>

/* False: the guest gets #GP. */
bool guest_msr_read(uint32_t msr, uint64_t *value);
bool guest_msr_write(uint32_t msr, uint64_t value);

#endif
