/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Runs every suite. CUnit's own verdict is not enough: no test at all, or a suite that could not be
 * set up, must be a failure too.
 */
#include <CUnit/Basic.h>
#include <stdio.h>

void suites_add(void);

int main(void)
{
	unsigned run, failed;

	setvbuf(stdout, NULL, _IONBF, 0);
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 2;
	suites_add();
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	run = CU_get_number_of_tests_run();
	failed = CU_get_number_of_tests_failed() + CU_get_number_of_suites_failed();
	CU_cleanup_registry();
	printf("%u passed, %u failed, 0 skipped\n", run - failed, failed);
	return run == 0 || failed != 0;
}
