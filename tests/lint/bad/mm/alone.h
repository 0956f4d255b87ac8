/* SPDX-License-Identifier: MPL-2.0 */
/* lint-must-find: alone */
struct a { hpa_t x; };
