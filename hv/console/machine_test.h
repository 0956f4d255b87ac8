/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Tests that run inside Nestling, on the machine's own MMU and all its CPUs: what a build of the
 * same code for the host cannot show. They run between the turns of guests and leave nothing
 * behind.
 */
#ifndef HV_CONSOLE_MACHINE_TEST_H
#define HV_CONSOLE_MACHINE_TEST_H

struct machine_test {
	const char *name, *summary;
	/* On the boot CPU, outside any epoch section. NULL, or what went wrong. */
	const char *(*run)(void);
};

/* Areas: addresses and memory are not reused while a CPU remembers them; guard pages; stacks. */
const char *test_areas(void);

#endif
