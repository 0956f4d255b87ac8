/* SPDX-License-Identifier: MPL-2.0 */
#include "hv/firmware.h"

#include <stddef.h>

#include "base/x86/msr.h"

#define VM_CR_SVMDIS (1u << 4)

const char *firmware_refuses_vmx(bool has, bool readable, uint64_t control)
{
	if (!has)
		return "this CPU has no VT-x: use a CPU that has it, or the bed bochs-vmx";
	if (readable && (control & FEATURE_CONTROL_LOCK) != 0 &&
	    (control & FEATURE_CONTROL_VMX) == 0)
		return "VT-x is locked off by the firmware: enable VT-x in the firmware's setup";
	return NULL;
}

const char *firmware_refuses_svm(bool has, bool nested, uint64_t vm_cr)
{
	if (!has)
		return "this CPU has no AMD-V (SVM): switch it on in the firmware, or use QEMU "
		       "with "
		       "-cpu max,+svm,+npt";
	if (!nested)
		return "this CPU's AMD-V has no nested paging (NPT): use a newer CPU, or QEMU with "
		       "-cpu max,+svm,+npt";
	if (vm_cr & VM_CR_SVMDIS)
		return "AMD-V is disabled by the firmware: enable SVM in the firmware's setup";
	return NULL;
}
