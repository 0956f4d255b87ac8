/* SPDX-License-Identifier: MPL-2.0 */
#include "base/list.h"
#include "mm/pt_ops.h"

const char *pt_rights_text(pt_attr_t attr, char buf[4])
{
	buf[0] = attr & PT_READ ? 'r' : '-';
	buf[1] = attr & PT_WRITE ? 'w' : '-';
	buf[2] = attr & PT_EXEC ? 'x' : '-';
	buf[3] = '\0';
	return buf;
}

const char *pt_mem_text(pt_attr_t attr)
{
	static const char *const names[8] = { "UC", "WC", "?", "?", "WT", "WP", "WB", "?" };

	return names[(attr & PT_MEM_MASK) >> PT_MEM_SHIFT];
}
