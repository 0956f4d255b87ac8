/* SPDX-License-Identifier: MPL-2.0 */
/* MSRs of a guest that no backend keeps: the few that it may see, everything else is #GP. */
#ifndef HV_MSR_H
#define HV_MSR_H

#include <stdbool.h>
#include <stdint.h>

/* False: the guest gets #GP. */
bool guest_msr_read(uint32_t msr, uint64_t *value);
bool guest_msr_write(uint32_t msr, uint64_t value);

/* Rules that both vendors share: is it a value that the register takes? */
bool guest_canonical(uint64_t address);
bool guest_msr_is_address(uint32_t msr);
bool guest_pat_valid(uint64_t pat);
/* `old` and `cr0` are the guest's; it has no virtualization of its own. */
bool guest_efer_valid(uint64_t value, uint64_t old, uint64_t cr0);

#endif
