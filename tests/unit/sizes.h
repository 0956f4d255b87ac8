/* SPDX-License-Identifier: MPL-2.0 */
/* Sizes that the compiler knows: tests of what is inlined need a function for each of them. */
#ifndef TESTS_UNIT_SIZES_H
#define TESTS_UNIT_SIZES_H

#define SIZES_TEN(x, d) \
	x(d##0) x(d##1) x(d##2) x(d##3) x(d##4) x(d##5) x(d##6) x(d##7) x(d##8) x(d##9)

#define SIZES_LOW(x)  SIZES_TEN(x, ) SIZES_TEN(x, 1) SIZES_TEN(x, 2) SIZES_TEN(x, 3)
#define SIZES_MID(x)  SIZES_TEN(x, 4) SIZES_TEN(x, 5) SIZES_TEN(x, 6) SIZES_TEN(x, 7)
#define SIZES_HIGH(x) SIZES_TEN(x, 8) SIZES_TEN(x, 9) SIZES_TEN(x, 10) SIZES_TEN(x, 11)

/* x(0) x(1) ... x(129): one more than is ever inlined. */
#define SIZES_ALL(x) SIZES_LOW(x) SIZES_MID(x) SIZES_HIGH(x) SIZES_TEN(x, 12)

#endif
