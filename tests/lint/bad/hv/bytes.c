/* SPDX-License-Identifier: MPL-2.0 */
/* lint-must-find: gpa */
void *f(struct frame *found)
{
	return frame_bytes(found);
}
