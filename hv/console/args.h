/* SPDX-License-Identifier: MPL-2.0 */
/* Addresses and ranges as they are typed: 0x1000, 0x1000-0x2000, 0x1000+8K; rights such as rw-. */
#ifndef HV_CONSOLE_ARGS_H
#define HV_CONSOLE_ARGS_H

#include <stdint.h>

#include "mm/pt.h"

/*
 * [*start, *end): A-B is half-open, A+LEN has LEN bytes, A alone is the page that contains it.
 * Grown to whole pages. -EINVAL: not of that form, or empty; -ERANGE: too large for 64 bits.
 */
int args_range(const char *text, uint64_t *start, uint64_t *end);

/* "rwx", "r-x", "rw", "-", ...: letters r, w, x, each at most once, '-' anywhere. -EINVAL. */
int args_rights(const char *text, pt_attr_t *rights);

/* Pairs of hexadecimal digits: "00ff12". Their number, -EINVAL, or -E2BIG. */
int args_bytes(const char *text, uint8_t *out, unsigned max);

#endif
