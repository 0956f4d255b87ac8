/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/unit/space.h"

#include <stdio.h>

#include "ept/stage2.h"
#include "tests/host/arena.h"
#include "tests/unit/fake_pt.h"

#define ARENA (UINT64_C(64) << 20)

struct vm_space space;
const struct pt_ops *ops;

uint64_t in_use(enum frame_kind kind)
{
	struct frame_account a;

	frame_account(&a);
	return a.by_kind[kind];
}

static void no_violation(const char *text)
{
	fprintf(stderr, "audit: %s\n", text);
}

static void begin(const struct pt_ops *format)
{
	char why[128];

	arena_init(ARENA);
	/* All that Nestling can use of EPT, and 1 GiB pages for both vendors. */
	CU_ASSERT_EQUAL_FATAL(ept_setup(0xf0106734141 | 1 << 17, 46, why, sizeof(why)), 0);
	npt_setup(true, 46);
	ops = format;
	CU_ASSERT_EQUAL_FATAL(vm_space_init(&space, ops), 0);
}

/* The space is sound, and destroying it gives everything back. */
static void end(void)
{
	struct vm_audit audit;

	vm_audit(&space, &audit, no_violation);
	CU_ASSERT_EQUAL(audit.violations, 0);
	vm_space_destroy(&space);
	epoch_drain();
	CU_ASSERT_EQUAL(in_use(FRAME_STAGE2_TABLE), 0);
	CU_ASSERT_EQUAL(in_use(FRAME_GUEST), 0);
	CU_ASSERT_EQUAL(frame_audit(no_violation), 0);
	CU_ASSERT_EQUAL(lock_held(), 0);
	arena_fini();
}

void open_at(struct vm_cursor *c, uint64_t start, uint64_t len, enum vm_access access)
{
	CU_ASSERT_EQUAL_FATAL(vm_cursor_open(c, &space, gpa(start), gpa(start + len), access), 0);
}

struct frame *guest_block(unsigned order)
{
	struct frame *f = frame_alloc(order, FRAME_GUEST, 0);

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	return f;
}

hpa_t map_fresh(uint64_t at, unsigned order, pt_attr_t attr)
{
	struct frame *f = guest_block(order);
	hpa_t where = frame_hpa(f);
	struct vm_cursor c;

	open_at(&c, at, PAGE_SIZE << order, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_map(&c, f, attr), 0);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, at + (PAGE_SIZE << order));
	vm_cursor_close(&c);
	return where;
}

uint64_t unmap_now(uint64_t at, uint64_t len)
{
	struct vm_cursor c;
	uint64_t pages;

	open_at(&c, at, len, VM_CHANGE);
	CU_ASSERT_EQUAL(vm_unmap(&c, len, &pages), 0);
	CU_ASSERT_EQUAL(vm_cursor_at(&c).gpa, at + len);
	vm_cursor_close(&c);
	return pages;
}

bool look(uint64_t at, struct pt_leaf *leaf)
{
	bool found;

	epoch_enter();
	found = vm_translate(&space, gpa(at), leaf);
	epoch_exit();
	return found;
}

static const struct pt_ops *const formats[] = { &ept_ops, &npt_ops, &fake_pt_ops };

void on_each(void (*test)(void))
{
	for (unsigned i = 0; i < 3; i++) {
		begin(formats[i]);
		test();
		end();
	}
}
