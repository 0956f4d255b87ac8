/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Error codes. Functions that can fail return 0 or one of these, negated (Linux numbers, so that a
 * host build shares <errno.h>). A code says what kind of thing went wrong; the message that goes
 * with it on the console names the input and the fix.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <arch/errno.h>

/* "EINVAL" for EINVAL or -EINVAL; "E?" for a number that is none of ours. Never NULL. */
const char *err_name(int err);

#endif
