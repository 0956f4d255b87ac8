/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Marks for the tool that counts instructions: what lies between them is counted under a name. With
 * INSTR only; else nothing.
 */
#ifndef TESTS_BENCH_MM_INSTR_H
#define TESTS_BENCH_MM_INSTR_H

#ifdef INSTR
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_START_INSTRUMENTATION
#define CALLGRIND_STOP_INSTRUMENTATION
#define CALLGRIND_ZERO_STATS
#define CALLGRIND_DUMP_STATS_AT(name) (void)(name)
#endif

#endif
