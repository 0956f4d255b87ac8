/* SPDX-License-Identifier: MPL-2.0 */
/* lint-must-find: gpa */
void *f(struct vm_space *space, gpa_t at)
{
	return vm_place(space, at, PT_READ).at;
}
