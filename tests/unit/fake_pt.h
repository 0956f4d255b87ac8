/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A format that no CPU has: every level spells its entries differently, on purpose, so that engine
 * code that does arithmetic on raw entries, or decodes with the wrong level, fails at once.
 */
#ifndef TESTS_UNIT_FAKE_PT_H
#define TESTS_UNIT_FAKE_PT_H

#include "mm/pt_ops.h"

extern const struct pt_ops fake_pt_ops;

#endif
