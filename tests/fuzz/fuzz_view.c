/* SPDX-License-Identifier: MPL-2.0 */
/* MemView against an array that says of each byte whether it is there. */
#include <string.h>

#include "tests/fuzz/input.h"
#include "vmio/view.h"

#define BYTES 512
#define STEPS 200

static bool there[BYTES];
static uint64_t base;
static struct vm_view view;

/* How many ranges [first, end) would leave, were it `now`. */
static unsigned ranges_with(unsigned first, unsigned end, bool now)
{
	bool before = false;
	unsigned n = 0;

	for (unsigned i = 0; i < BYTES; i++) {
		bool is = i >= first && i < end ? now : there[i];

		n += is && !before;
		before = is;
	}
	return n;
}

static bool all(unsigned first, unsigned end, bool what)
{
	for (unsigned i = first; i < end; i++)
		if (there[i] != what)
			return false;
	return true;
}

/* Takes out, or puts back; what does not fit changes nothing. */
static void change(unsigned first, unsigned end, bool join)
{
	bool fits = first == end || ranges_with(first, end, join) <= VIEW_RANGES;
	bool ok = all(first, end, !join) && fits;

	FUZZ_CHECK((join ? view_join(&view, base + first, base + end)
			 : view_split(&view, base + first, base + end)) == ok);
	if (ok)
		memset(there + first, join, end - first);
}

/* The same bytes, put together one by one. */
static void check_equal(void)
{
	static struct vm_view other;

	view_init(&other, base, base);
	for (unsigned i = 0; i < BYTES; i++)
		if (there[i])
			FUZZ_CHECK(view_join(&other, base + i, base + i + 1));
	FUZZ_CHECK(view_equal(&view, &other) && view_equal(&other, &view));
	FUZZ_CHECK(view.n == ranges_with(0, 0, false));
	for (unsigned i = 0; i < BYTES; i++) {
		bool has = there[i] ? view_split(&other, base + i, base + i + 1)
				    : view_join(&other, base + i, base + i + 1);

		/* One byte less, or one more. */
		if (has) {
			FUZZ_CHECK(!view_equal(&view, &other));
			return;
		}
	}
}

static void step(struct input *in)
{
	unsigned how = (unsigned)input_take(in, 1);
	unsigned first = (unsigned)input_take(in, 2) % (BYTES + 1);
	unsigned end = first + ((how & 8) != 0 ? (unsigned)input_take(in, 2) : how >> 4);

	end = end < BYTES ? end : BYTES;
	switch (how & 7) {
	case 0:
		FUZZ_CHECK(view_has(&view, base + first, base + end) == all(first, end, true));
		break;
	case 1:
		check_equal();
		break;
	case 2: /* every other byte: that is how it becomes full */
	case 3:
		for (unsigned i = first; i < end; i += 2)
			change(i, i + 1, (how & 1) != 0);
		break;
	default:
		change(first, end, (how & 1) != 0);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	unsigned how = (unsigned)input_take(&in, 1);

	base = (how & 1) != 0 ? UINT64_MAX - BYTES : 0;
	memset(there, (how & 2) != 0, BYTES);
	view_init(&view, base, base + ((how & 2) != 0 ? BYTES : 0));
	for (unsigned i = 0; i < STEPS && in.left != 0; i++)
		step(&in);
	check_equal();
	return 0;
}
