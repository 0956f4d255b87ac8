/* SPDX-License-Identifier: MPL-2.0 */
/* What a copy may have seen of pages that change: see tests/tsan/vmio.h. */
#include "tests/tsan/threads.h"
#include "tests/tsan/vmio.h"

struct vmio_counts vmio_counts;

void vmio_count(_Atomic uint64_t *what, uint64_t n)
{
	atomic_fetch_add_explicit(what, n, memory_order_relaxed);
}

void vmio_check_data(const struct vmio_word *w, uint64_t value, state_t b, state_t a)
{
	if (state_stamp(b) > state_stamp(w->after))
		CHECK(value == 0); /* in a frame that is younger */
	else if (state_stamp(w->before) == state_stamp(a))
		CHECK(value == w->value); /* in the frame that it was written to */
	else
		CHECK(value == 0 || value == w->value);
}

/* May this copier know what is in the word? */
static bool knows(unsigned cpu, uint64_t word)
{
	return word < VMIO_OWN || (word - VMIO_OWN) / VMIO_EACH == cpu;
}

void vmio_check_words(unsigned cpu, const uint64_t *got, uint64_t page, uint64_t word, uint64_t n,
		      state_t b, state_t a)
{
	uint64_t stamp = got[0] >> 16;

	for (uint64_t i = 0; i < n; i++) {
		if (word + i >= VMIO_DATA) {
			if (knows(cpu, word + i))
				vmio_check_data(&vmio_shadow[page][word + i - VMIO_DATA], got[i], b,
						a);
			continue;
		}
		CHECK(stamp >= state_stamp(b) && stamp <= state_stamp(a));
		CHECK(got[i] == vmio_tag(stamp, page, word + i));
	}
}

void vmio_check_count(uint64_t at, uint64_t len, uint64_t done, int err, pt_attr_t want,
		      const state_t *b, const state_t *a)
{
	uint64_t first = at / PAGE_SIZE, stop = (at + done) / PAGE_SIZE;
	bool changed = false;

	CHECK(err == 0 ? done == len : err == -EFAULT && done < len);
	CHECK(err == 0 || done == 0 || (at + done) % PAGE_SIZE == 0);
	for (uint64_t page = first; page * PAGE_SIZE < at + len && page <= stop; page++) {
		state_t before = b[page - first], after = a[page - first];
		uint64_t from = page == first ? at : page * PAGE_SIZE;
		bool copied = from < at + done;

		if (before != after)
			changed = true;
		else if (copied || err != 0)
			CHECK(copied == ((state_rights(before) & want) != 0));
	}
	vmio_count(&vmio_counts.copies, 1);
	vmio_count(&vmio_counts.overtaken, changed);
	vmio_count(&vmio_counts.faults, err != 0);
}

void vmio_check_list(const struct vm_range *list, unsigned n, uint64_t done, int err,
		     pt_attr_t want, const state_t *b, const state_t *a)
{
	uint64_t all = 0;

	for (unsigned i = 0; i < n; i++)
		all += list[i].len;
	CHECK(err == 0 ? done == all : err == -EFAULT && done < all);
	for (unsigned i = 0; i < n; i++) {
		uint64_t part = done < list[i].len ? done : list[i].len;

		if (list[i].len == 0)
			continue;
		vmio_check_count(list[i].at.gpa - VMIO_BASE, list[i].len, part, part != 0 ? 0 : err,
				 want, &b[i], &a[i]);
		if (part == 0)
			break;
		done -= part;
	}
}

void vmio_wrote(uint64_t page, uint64_t word, uint64_t value, state_t b, state_t a)
{
	struct pt_hit hit;

	vmio_shadow[page][word - VMIO_DATA] = (struct vmio_word){ value, b, a };
	if (a != b)
		return;
	epoch_enter();
	hit = vm_lookup(&vmio_space, gpa(vmio_page_gpa(page)));
	epoch_exit();
	if (atomic_load(&vmio_begun[page]) == b)
		CHECK((hit.attr & PT_DIRTY) != 0);
}
