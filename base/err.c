/* SPDX-License-Identifier: MPL-2.0 */
#include "base/err.h"

#include <stddef.h>

#define NAME(e)       \
	{             \
		e, #e \
	}

const char *err_name(int err)
{
	static const struct {
		int number;
		const char *name;
	} names[] = {
		NAME(EPERM),  NAME(ENOENT),    NAME(EIO),	NAME(E2BIG),  NAME(ENOEXEC),
		NAME(EAGAIN), NAME(ENOMEM),    NAME(EACCES),	NAME(EFAULT), NAME(EBUSY),
		NAME(EEXIST), NAME(ENODEV),    NAME(EINVAL),	NAME(ENOSPC), NAME(ERANGE),
		NAME(ENOSYS), NAME(EOVERFLOW), NAME(ETIMEDOUT),
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (err == names[i].number || err == -names[i].number)
			return names[i].name;
	return "E?";
}
