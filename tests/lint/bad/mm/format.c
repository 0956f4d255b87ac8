/* SPDX-License-Identifier: MPL-2.0 */
/* lint-must-find: format */
int  x ;
