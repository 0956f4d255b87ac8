/* SPDX-License-Identifier: MPL-2.0 */
/* lint-must-find: gpa */
int f(struct frame *found, struct kvirt_area **out)
{
	return kvirt_map_frames(PAGE_SIZE, 0, &found, 1, PT_RW, out);
}
