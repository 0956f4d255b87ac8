/* SPDX-License-Identifier: MPL-2.0 */
/* The same steps as fuzz_vmio over a guest that has tables and a vCPU from the start. */
#include "tests/fuzz/step.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	steps_run(&in, step_tables_begin);
	return 0;
}
