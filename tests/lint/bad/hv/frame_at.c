/* SPDX-License-Identifier: MPL-2.0 */
/* lint-must-find: gpa */
void *f(const struct pt_leaf *leaf)
{
	struct frame *frame = frame_at(leaf->hpa);

	return hpa_ptr(frame_hpa(frame));
}
