/* SPDX-License-Identifier: MPL-2.0 */
#include "hv/msr.h"

#include "base/x86/msr.h"

#define MISC_ENABLE_FAST_STRINGS 1

bool guest_msr_read(uint32_t msr, uint64_t *value)
{
	*value = 0;
	switch (msr) {
	case MSR_MISC_ENABLE:
		*value = MISC_ENABLE_FAST_STRINGS;
		return true;
	case MSR_BIOS_SIGN:
	case MSR_DEBUGCTL:
		return true;
	default:
		return false;
	}
}

bool guest_msr_write(uint32_t msr, uint64_t value)
{
	switch (msr) {
	case MSR_BIOS_SIGN: /* written before it is read, by those who look for microcode */
		return true;
	case MSR_MISC_ENABLE:
		return value == MISC_ENABLE_FAST_STRINGS;
	case MSR_DEBUGCTL:
		return value == 0;
	default:
		return false;
	}
}
