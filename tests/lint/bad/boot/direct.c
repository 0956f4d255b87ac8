/* SPDX-License-Identifier: MPL-2.0 */
/* lint-must-find: gpa */
void *f(struct vm_space *s, gpa_t a)
{
	return hpa_ptr(vm_lookup(s, a).hpa);
}
