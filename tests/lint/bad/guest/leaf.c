/* SPDX-License-Identifier: MPL-2.0 */
/* lint-must-find: gpa */
void *f(const struct pt_leaf *leaf)
{
	return hpa_ptr(leaf->hpa);
}
