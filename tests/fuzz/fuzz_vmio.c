/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Readers and writers over a guest whose pages come, change and go, against the model (guest.h,
 * cursor.h, parties.h). Each input is a format of stage 2 and a list of steps (step.h).
 */
#include "tests/fuzz/step.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	steps_run(&in, NULL);
	return 0;
}
