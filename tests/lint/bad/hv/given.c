/* SPDX-License-Identifier: MPL-2.0 */
/* lint-must-find: gpa */
void *f(struct vm_space *s, gpa_t a)
{
	void *(*to)(hpa_t) = hpa_ptr;

	return to(vm_lookup(s, a).hpa);
}
