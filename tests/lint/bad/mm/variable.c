/* SPDX-License-Identifier: MPL-2.0 */
/* lint-must-find: gpa */
void *f(gpa_t a)
{
	uint64_t x = a.gpa;

	return hpa_ptr(hpa(x));
}
