/* SPDX-License-Identifier: MPL-2.0 */
/* lint-must-find: cppcheck */
int beyond(void);

int beyond(void)
{
	int a[4] = { 0 };

	return a[4];
}
