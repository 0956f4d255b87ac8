/* SPDX-License-Identifier: MPL-2.0 */
int walk(int (*next)(void));

int walk(int (*next)(void))
{
	return next() + 1;
}
