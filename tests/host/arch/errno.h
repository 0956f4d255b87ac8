/* SPDX-License-Identifier: MPL-2.0 */
/* The host build's error numbers are its C library's. */
#ifndef ARCH_ERRNO_H
#define ARCH_ERRNO_H

#include <errno.h>

#endif
