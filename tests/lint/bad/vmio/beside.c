/* SPDX-License-Identifier: MPL-2.0 */
int vmio_beside(void);

int vmio_beside(void)
{
	return 1;
}
