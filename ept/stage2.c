/* SPDX-License-Identifier: MPL-2.0 */
#include "ept/stage2.h"

pt_attr_t stage2_fault_wants(const struct stage2_fault *f)
{
	if (f->write)
		return PT_WRITE;
	return f->exec ? PT_EXEC : PT_READ;
}
