/* SPDX-License-Identifier: MPL-2.0 */
int hv_up(void);

int hv_up(void)
{
	return 1;
}
