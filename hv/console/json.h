/* SPDX-License-Identifier: MPL-2.0 */
/* One JSON object per line. */
#ifndef HV_CONSOLE_JSON_H
#define HV_CONSOLE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/print.h"

struct json {
	struct print_sink *out;
	bool first;
};

void json_begin(struct json *j, struct print_sink *out);
void json_end(struct json *j);

void json_text(struct json *j, const char *name, const char *value);
void json_number(struct json *j, const char *name, uint64_t value);
void json_address(struct json *j, const char *name, uint64_t value); /* "0x..." */
void json_bool(struct json *j, const char *name, bool value);
void json_null(struct json *j, const char *name);

#endif
