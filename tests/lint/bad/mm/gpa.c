/* SPDX-License-Identifier: MPL-2.0 */
/* lint-must-find: gpa */
void *f(gpa_t a)
{
	return hpa_ptr(hpa(a.gpa));
}
