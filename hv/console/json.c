/* SPDX-License-Identifier: MPL-2.0 */
#include "hv/console/json.h"

void json_begin(struct json *j, struct print_sink *out)
{
	j->out = out;
	j->first = true;
	print_to(out, "{");
}

void json_end(struct json *j)
{
	print_to(j->out, "}\n");
}

static void put_text(struct print_sink *out, const char *text)
{
	print_to(out, "\"");
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			print_to(out, "\\%c", c);
		else if (c < ' ' || c >= 0x7f)
			print_to(out, "\\u%04x", c);
		else
			print_to(out, "%c", c);
	}
	print_to(out, "\"");
}

static void name_field(struct json *j, const char *name)
{
	if (!j->first)
		print_to(j->out, ",");
	j->first = false;
	put_text(j->out, name);
	print_to(j->out, ":");
}

void json_text(struct json *j, const char *name, const char *value)
{
	name_field(j, name);
	put_text(j->out, value);
}

void json_number(struct json *j, const char *name, uint64_t value)
{
	name_field(j, name);
	print_to(j->out, "%llu", (unsigned long long)value);
}

void json_address(struct json *j, const char *name, uint64_t value)
{
	name_field(j, name);
	print_to(j->out, "\"0x%llx\"", (unsigned long long)value);
}

void json_bool(struct json *j, const char *name, bool value)
{
	name_field(j, name);
	print_to(j->out, value ? "true" : "false");
}

void json_null(struct json *j, const char *name)
{
	name_field(j, name);
	print_to(j->out, "null");
}
