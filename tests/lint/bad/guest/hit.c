/* SPDX-License-Identifier: MPL-2.0 */
/* lint-must-find: gpa */
void *f(struct pt_hit hit, uint64_t offset)
{
	return hpa_ptr(hpa_add(hit.hpa, offset));
}
