/* SPDX-License-Identifier: MPL-2.0 */
/* lint-must-find: unchecked */
#include "base/contract.h"

void unchecked(int given);

void unchecked(int given)
{
	int only_checked = given + 1;

#if CHECKED
	REQUIRES(only_checked > 0);
#endif
}
