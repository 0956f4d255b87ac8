/* SPDX-License-Identifier: MPL-2.0 */
#include "hv/msr.h"

#include "base/x86/msr.h"
#include "base/x86/regs.h"

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

bool guest_canonical(uint64_t address)
{
	return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

bool guest_msr_is_address(uint32_t msr)
{
	switch (msr) {
	case MSR_FS_BASE:
	case MSR_GS_BASE:
	case MSR_KERNEL_GS_BASE:
	case MSR_LSTAR:
	case MSR_CSTAR:
	case MSR_SYSENTER_ESP:
	case MSR_SYSENTER_EIP:
		return true;
	default:
		return false;
	}
}

bool guest_pat_valid(uint64_t pat)
{
	/* Each of the eight types must be one that exists. */
	for (; pat != 0; pat >>= 8) {
		unsigned type = pat & 0xff;

		if (type > 7 || type == 2 || type == 3)
			return false;
	}
	return true;
}

bool guest_efer_valid(uint64_t value, uint64_t old, uint64_t cr0)
{
	const uint64_t allowed = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;

	if ((value & ~allowed) != 0)
		return false;
	/* Long mode is not switched while paging is on. */
	return (cr0 & CR0_PG) == 0 || ((value ^ old) & EFER_LME) == 0;
}
