/* SPDX-License-Identifier: MPL-2.0 */
/* lint-must-find: clang */
int f(void)
{
	int unused;
	return 0;
}
