/* SPDX-License-Identifier: MPL-2.0 */
/* test: runs a test of the table below. */
#include <stddef.h>

#include "base/err.h"
#include "base/string.h"
#include "hv/console/console.h"
#include "hv/console/json.h"
#include "hv/console/machine_test.h"

static const struct machine_test tests[] = {
	{ "kvirt", "areas of Nestling's own: dropped, reused, guarded", test_areas },
};

#define TESTS (sizeof(tests) / sizeof(tests[0]))

static int list_tests(struct command_call *call)
{
	struct json j;

	for (unsigned i = 0; i < TESTS; i++) {
		if (!call->json) {
			print_to(call->out, "  %-8s %s\n", tests[i].name, tests[i].summary);
			continue;
		}
		json_begin(&j, call->out);
		json_text(&j, "test", tests[i].name);
		json_text(&j, "summary", tests[i].summary);
		json_end(&j);
	}
	return 0;
}

static int run_one(struct command_call *call, const struct machine_test *test)
{
	const char *wrong = test->run();
	struct json j;

	if (call->json) {
		json_begin(&j, call->out);
		json_text(&j, "test", test->name);
		json_bool(&j, "passed", wrong == NULL);
		json_end(&j);
	} else if (wrong == NULL) {
		print_to(call->out, "%s: passed\n", test->name);
	}
	return wrong == NULL ? 0 : command_error(call, -EIO, "test %s: %s", test->name, wrong);
}

static int run_test(struct command_call *call)
{
	if (call->argc == 1)
		return list_tests(call);
	for (unsigned i = 0; i < TESTS; i++)
		if (strcmp(tests[i].name, call->argv[1]) == 0)
			return run_one(call, &tests[i]);
	return command_error(call, -ENOENT, "test: no test '%s': `test` lists them", call->argv[1]);
}

const struct command test_commands[] = {
	{ "test", "[NAME]", "lists the tests that run inside Nestling, or runs one",
	  "  It takes the other CPUs away from their guests for moments, and leaves nothing "
	  "behind.",
	  0, 1, run_test },
	{ 0 },
};
