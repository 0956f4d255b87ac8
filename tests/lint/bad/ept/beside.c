/* SPDX-License-Identifier: MPL-2.0 */
int vmio_beside(void);
int ept_beside(void);

int ept_beside(void)
{
	return vmio_beside() + 1;
}
