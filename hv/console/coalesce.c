/* SPDX-License-Identifier: MPL-2.0 */
#include "hv/console/coalesce.h"

bool extent_add_any(struct extent *e, const struct pt_leaf *leaf)
{
	if (e->len == 0)
		*e = (struct extent){ leaf->va, leaf->hpa.hpa, 0, leaf->size, leaf->attr };
	if (leaf->va != e->va + e->len)
		return false;
	e->len += leaf->size;
	return true;
}

bool extent_add(struct extent *e, const struct pt_leaf *leaf)
{
	if (e->len != 0 &&
	    (leaf->hpa.hpa != e->hpa + e->len || leaf->size != e->page || leaf->attr != e->attr))
		return false;
	return extent_add_any(e, leaf);
}
