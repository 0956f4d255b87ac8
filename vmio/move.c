/* SPDX-License-Identifier: MPL-2.0 */
#include "vmio/move.h"

size_t move_any(void *dst, const void *src, size_t n)
{
	if (n > MOVE_SMALL || (n != 0 && move_overlaps(dst, src, n)))
		return fixup_copy_any(dst, src, n);
	return n > 8 ? move_blocks(dst, src, n) : move_known(dst, src, n);
}
