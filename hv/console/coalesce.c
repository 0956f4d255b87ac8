/* SPDX-License-Identifier: MPL-2.0 */
#include "hv/console/coalesce.h"

bool extent_add(struct extent *e, const struct pt_leaf *leaf)
{
	if (e->len == 0) {
		*e = (struct extent){ leaf->va, leaf->hpa.hpa, leaf->size, leaf->size, leaf->attr };
		return true;
	}
	if (leaf->va != e->va + e->len || leaf->hpa.hpa != e->hpa + e->len ||
	    leaf->size != e->page || leaf->attr != e->attr)
		return false;
	e->len += leaf->size;
	return true;
}
