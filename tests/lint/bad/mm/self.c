/* SPDX-License-Identifier: MPL-2.0 */
/* lint-must-find: self */
/* See issue 7. */
