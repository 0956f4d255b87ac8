/* SPDX-License-Identifier: MPL-2.0 */
/* Error numbers of the freestanding build; the host build takes its C library's. */
#ifndef ARCH_ERRNO_H
#define ARCH_ERRNO_H

#define EPERM	  1
#define ENOENT	  2
#define EIO	  5
#define E2BIG	  7
#define ENOEXEC	  8
#define EAGAIN	  11
#define ENOMEM	  12
#define EACCES	  13
#define EFAULT	  14
#define EBUSY	  16
#define EEXIST	  17
#define ENODEV	  19
#define EINVAL	  22
#define ENOSPC	  28
#define ERANGE	  34
#define ENOSYS	  38
#define EOVERFLOW 75
#define ETIMEDOUT 110

#endif
