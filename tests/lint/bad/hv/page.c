/* SPDX-License-Identifier: MPL-2.0 */
/* lint-must-find: gpa */
void *f(struct vm_reader *r)
{
	return vm_io_look(&r->io, 8);
}
