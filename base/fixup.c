/* SPDX-License-Identifier: MPL-2.0 */
#include "base/fixup.h"

/* Relative to the member's own place, so that the table is as good wherever the image lies. */
struct fixup {
	int32_t at, to;
};

_Static_assert(sizeof(struct fixup) == 8, "two .long in FIXUP");

/* The linker's names for the ends of the section. */
extern const struct fixup __start_fixups[], __stop_fixups[];

static uint64_t place(const int32_t *relative)
{
	return (uint64_t)(uintptr_t)relative + (uint64_t)(int64_t)*relative;
}

bool fixup_find(uint64_t rip, uint64_t *to)
{
	for (const struct fixup *x = __start_fixups; x < __stop_fixups; x++) {
		if (place(&x->at) == rip) {
			*to = place(&x->to);
			return true;
		}
	}
	return false;
}

static const uint64_t constant = 0x1122334455667788;

static unsigned audit_check(bool ok, const char *text, void (*report)(const char *text))
{
	if (!ok)
		report(text);
	return !ok;
}

unsigned fixup_audit(void (*report)(const char *text))
{
	const void *noncanonical = (const void *)UINT64_C(0x8000000000000000);
	uint64_t value = 0, copy = 0;
	unsigned wrong;

	wrong = audit_check(fixup_copy_word(&copy, &constant, 8) && copy == constant,
			    "a good copy failed", report);
	wrong += audit_check(fixup_load8((const void *)8, &value) == -EFAULT && value == 0,
			     "the lowest page can be read", report);
	wrong += audit_check(fixup_copy_any(&value, noncanonical, 5) == 5,
			     "an address that is not canonical can be read", report);
	wrong += audit_check(fixup_store8((void *)(uintptr_t)&constant, 0) == -EFAULT,
			     "constants can be written", report);
	return wrong;
}
