/* SPDX-License-Identifier: MPL-2.0 */
/* lint-must-find: gpa */
void *f(const struct pt_leaf *leaf)
{
	return (void *)(LINEAR_BASE + leaf->hpa.hpa);
}
