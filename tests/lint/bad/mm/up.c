/* SPDX-License-Identifier: MPL-2.0 */
int hv_up(void);
int mm_up(void);

int mm_up(void)
{
	return hv_up() + 1;
}
