/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Walks through guest tables that change meanwhile, that have to be brought in, or that are not
 * there. Every word that a walk touches is looked for in the space first: a hook in that walk runs
 * between any two of its accesses.
 */
#include <CUnit/CUnit.h>
#include <pthread.h>
#include <string.h>

#include "base/err.h"
#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "tests/host/arena.h"
#include "tests/host/gva_random.h"
#include "tests/host/gva_shape.h"
#include "tests/host/random.h"
#include "vmio/guest_word.h"

#define SHAPE (&gva_shapes[5]) /* 4-level, 4 KiB */
#define LEAF  gva_shape_entry(SHAPE, 1)
#define OTHER (UINT64_C(9) * PAGE_SIZE)

static struct pt_ops ops; /* the space's, with the hook */
static unsigned lookups;
static void (*hook)(unsigned lookup);  /* before the n-th lookup, from 1, */
static void (*after)(unsigned lookup); /* and after it */
static struct gva_mode mode;
static struct gva_result got;

static struct pt_place hooked_place(const struct pt *pt, uint64_t va, pt_attr_t needs)
{
	struct pt_place found;

	lookups++;
	if (hook != NULL)
		hook(lookups);
	found = npt_ops.place(pt, va, needs);
	if (after != NULL)
		after(lookups);
	return found;
}

static void begin(void)
{
	arena_init(UINT64_C(16) << 20);
	gva_world_init();
	ops = npt_ops;
	ops.place = hooked_place;
	gva_world.pt.ops = &ops;
	mode = gva_shape_build(SHAPE);
	lookups = 0;
}

static void end(void)
{
	hook = after = NULL;
	gva_world_fini();
	epoch_drain();
	arena_fini();
}

static enum gva_outcome go(enum gva_kind kind, bool probe)
{
	struct gva_access access = { .kind = kind, .user = true, .probe = probe };

	lookups = 0;
	return gva_translate(&gva_world, &mode, gva(GVA_SHAPE_VA), access, &got, NULL);
}

static uint64_t entry(unsigned level)
{
	return gva_world_get(gva_shape_entry(SHAPE, level), 8);
}

static void put(unsigned level, uint64_t value)
{
	gva_world_put(gva_shape_entry(SHAPE, level), 8, value);
}

/* Tables that were written to before: no walk more for the marks of their pages. */
static void begin_marked(void)
{
	begin();
	epoch_enter();
	for (unsigned level = 1; level <= 4; level++)
		CU_ASSERT_TRUE(
			vm_mark(&gva_world, gpa(gva_shape_table(level)), PT_ACCESSED | PT_DIRTY));
	epoch_exit();
}

/* Each entry is read once; where its marks are missing there is one exchange more. */
static void test_single_fetch(void)
{
	begin_marked();
	CU_ASSERT_EQUAL(go(GVA_WRITE, true), GVA_OK);
	CU_ASSERT_EQUAL(lookups, 4);
	CU_ASSERT_EQUAL(go(GVA_READ, false), GVA_OK);
	CU_ASSERT_EQUAL(lookups, 8);
	CU_ASSERT_EQUAL(go(GVA_READ, false), GVA_OK);
	CU_ASSERT_EQUAL(lookups, 4);
	CU_ASSERT_EQUAL(go(GVA_WRITE, false), GVA_OK);
	CU_ASSERT_EQUAL(lookups, 5);
	CU_ASSERT_EQUAL(go(GVA_WRITE, false), GVA_OK);
	CU_ASSERT_EQUAL(lookups, 4);
	end();
}

/* What another vCPU does at a given lookup. */
static unsigned when, at_level;
static uint64_t what;

static void change_once(unsigned lookup)
{
	if (lookup == when)
		put(at_level, what);
}

static enum gva_outcome go_with_change(unsigned lookup, unsigned level, uint64_t value,
				       enum gva_kind kind)
{
	when = lookup;
	at_level = level;
	what = value;
	hook = change_once;
	return go(kind, false);
}

/* Once it has been read, an entry that needs no marks may change: what was read counts. */
static void test_change_after_reading(void)
{
	for (unsigned level = 4; level >= 2; level--) {
		begin();
		CU_ASSERT_EQUAL(go(GVA_WRITE, false), GVA_OK);
		CU_ASSERT_EQUAL(go_with_change(4 - level + 2, level, 0, GVA_WRITE), GVA_OK);
		CU_ASSERT_EQUAL(got.gpa.gpa, PAGE_SIZE + GVA_SHAPE_VA % PAGE_SIZE);
		CU_ASSERT_EQUAL(entry(level), 0);
		end();
	}
}

/* An entry that goes away before its mark is set faults, and is not written to. */
static void test_gone_before_the_mark(void)
{
	for (unsigned level = 4; level >= 1; level--) {
		begin_marked();
		CU_ASSERT_EQUAL(go_with_change(9 - level, level, 0xabc000, GVA_WRITE),
				GVA_PAGE_FAULT);
		CU_ASSERT_EQUAL(got.error, 6);
		CU_ASSERT_EQUAL(entry(level), 0xabc000);
		/* Those above it were good and are marked, those below were never used. */
		for (unsigned other = 4; other >= 1; other--)
			if (other != level)
				CU_ASSERT_EQUAL((entry(other) & G_A) != 0, other > level);
		end();
	}
}

/* It leads elsewhere now: that is where the walk goes, with fresh rights. */
static void test_other_before_the_mark(void)
{
	uint64_t leaf = OTHER | G_P | G_U;

	begin_marked();
	CU_ASSERT_EQUAL(go_with_change(8, 1, leaf | G_W, GVA_WRITE), GVA_OK);
	CU_ASSERT_EQUAL(got.gpa.gpa, OTHER + GVA_SHAPE_VA % PAGE_SIZE);
	CU_ASSERT_EQUAL(entry(1), leaf | G_W | G_A | G_D);
	CU_ASSERT_EQUAL(lookups, 10);
	put(1, gva_shape_value(SHAPE, 1));
	CU_ASSERT_EQUAL(go_with_change(5, 1, leaf, GVA_WRITE), GVA_PAGE_FAULT);
	CU_ASSERT_EQUAL(got.error, 7);
	CU_ASSERT_EQUAL(got.rights, 0);
	CU_ASSERT_EQUAL(entry(1), leaf);
	end();
}

/* A higher entry that changes sends the walk through the table that it leads to now. */
static void test_other_table(void)
{
	uint64_t table = UINT64_C(12) * PAGE_SIZE;

	begin_marked();
	gva_world_put(table + LEAF % PAGE_SIZE, 8, OTHER | G_P | G_W | G_U);
	CU_ASSERT_EQUAL(go_with_change(7, 2, table | G_P | G_W | G_U, GVA_READ), GVA_OK);
	CU_ASSERT_EQUAL(got.gpa.gpa, OTHER + GVA_SHAPE_VA % PAGE_SIZE);
	/* The table that it does not lead to any more was not marked. */
	CU_ASSERT_EQUAL(entry(1), gva_shape_value(SHAPE, 1));
	CU_ASSERT_EQUAL(gva_world_get(table + LEAF % PAGE_SIZE, 8), OTHER | G_P | G_W | G_U | G_A);
	end();
}

/* Marks that another vCPU sets meanwhile are kept. */
static void test_marked_meanwhile(void)
{
	uint64_t leaf = gva_shape_value(SHAPE, 1);

	begin_marked();
	CU_ASSERT_EQUAL(go_with_change(8, 1, leaf | G_A | G_D, GVA_READ), GVA_OK);
	CU_ASSERT_EQUAL(entry(1), leaf | G_A | G_D);
	end();
}

static void change_always(unsigned lookup)
{
	if (lookup >= 8)
		put(1, gva_shape_value(SHAPE, 1) | (uint64_t)((lookup + 1) & 7) << 9);
}

/* A guest that changes its tables for ever holds nobody up. */
static void test_busy(void)
{
	begin();
	hook = change_always;
	CU_ASSERT_EQUAL(go(GVA_WRITE, false), GVA_BUSY);
	CU_ASSERT(lookups < 100);
	CU_ASSERT_EQUAL(entry(1) & (G_A | G_D), 0);
	hook = NULL;
	CU_ASSERT_EQUAL(go(GVA_WRITE, false), GVA_OK);
	end();
}

/* A table beyond memory, at each level. */
static void test_absent_tables(void)
{
	uint64_t nowhere = UINT64_C(0x4000000000);

	for (unsigned level = 4; level >= 2; level--) {
		begin();
		put(level, nowhere | G_P | G_W | G_U);
		CU_ASSERT_EQUAL(go(GVA_WRITE, false), GVA_WALK_STAGE2);
		CU_ASSERT_EQUAL(got.gpa.gpa,
				nowhere + gva_shape_entry(SHAPE, level - 1) % PAGE_SIZE);
		CU_ASSERT_EQUAL(got.rights, PT_READ);
		CU_ASSERT_EQUAL(entry(level), nowhere | G_P | G_W | G_U);
		end();
	}
}

/* Entries in memory that can only be read: good as long as nothing has to be marked. */
static void test_readonly_tables(void)
{
	uint64_t table = (uint64_t)GVA_WORLD_WRITABLE * PAGE_SIZE, at = table + LEAF % PAGE_SIZE;
	uint64_t leaf = OTHER | G_P | G_W | G_U;

	begin();
	put(2, table | G_P | G_W | G_U);
	gva_world_put(at, 8, leaf);
	CU_ASSERT_EQUAL(go(GVA_READ, true), GVA_OK);
	CU_ASSERT_EQUAL(go(GVA_READ, false), GVA_WALK_STAGE2);
	CU_ASSERT_EQUAL(got.gpa.gpa, at);
	CU_ASSERT_EQUAL(got.rights, PT_WRITE);
	CU_ASSERT_EQUAL(gva_world_get(at, 8), leaf);
	gva_world_put(at, 8, leaf | G_A);
	CU_ASSERT_EQUAL(go(GVA_READ, false), GVA_OK);
	CU_ASSERT_EQUAL(go(GVA_WRITE, false), GVA_WALK_STAGE2);
	gva_world_put(at, 8, leaf | G_A | G_D);
	CU_ASSERT_EQUAL(go(GVA_WRITE, false), GVA_OK);
	end();
}

/* A device's registers are no place for tables. */
static void test_tables_in_a_device(void)
{
	struct vm_cursor c;

	begin();
	CU_ASSERT_EQUAL(vm_cursor_open(&c, &gva_world, gpa(0x40000), gpa(0x41000), VM_CHANGE), 0);
	CU_ASSERT_EQUAL(vm_map_untracked(&c, hpa(0xfee00000), PAGE_SIZE, PT_RW | PT_MEM_UC), 0);
	vm_cursor_close(&c);
	put(2, 0x40000 | G_P);
	CU_ASSERT_EQUAL(go(GVA_READ, true), GVA_WALK_STAGE2);
	CU_ASSERT_EQUAL(got.gpa.gpa & ~0xfffull, 0x40000);
	end();
}

/* Memory that comes when it is touched: page 32 from nothing, page 16 becomes writable. */
static unsigned brought_in;
static int handler_error;

static int bring_in(void *context, gpa_t at, pt_attr_t want)
{
	gpa_t page = gpa_align_down(at, PAGE_SIZE);
	struct vm_cursor c;
	uint64_t pages;
	int err;

	(void)context;
	brought_in++;
	if (handler_error != 0)
		return handler_error;
	err = vm_cursor_open(&c, &gva_world, page, gpa_add(page, PAGE_SIZE), VM_CHANGE);
	CU_ASSERT_EQUAL_FATAL(err, 0);
	if (want == PT_WRITE)
		err = vm_protect(&c, PAGE_SIZE, PT_RWX | PT_MEM_WB, &pages);
	else
		err = vm_map(&c, frame_alloc(0, FRAME_GUEST, ALLOC_ZERO), PT_RWX | PT_MEM_WB);
	vm_cursor_close(&c);
	return err;
}

static void test_brought_in(void)
{
	uint64_t table = (uint64_t)GVA_WORLD_WRITABLE * PAGE_SIZE;
	struct gva_access probe = { .kind = GVA_READ, .probe = true };
	struct guest_pages pages = { 0 };

	begin();
	vm_space_set_fault_handler(&gva_world, bring_in, NULL);
	brought_in = 0;
	handler_error = 0;
	put(2, UINT64_C(0x20000) | G_P | G_U);
	CU_ASSERT_EQUAL(go(GVA_READ, true), GVA_WALK_STAGE2);
	CU_ASSERT_EQUAL(
		gva_translate_again(&gva_world, &mode, gva(GVA_SHAPE_VA), probe, &got, &pages),
		GVA_WALK_STAGE2);
	CU_ASSERT_EQUAL(brought_in, 0);
	handler_error = -ENOMEM;
	CU_ASSERT_EQUAL(go(GVA_READ, false), GVA_NO_MEMORY);
	CU_ASSERT_EQUAL(got.gpa.gpa, 0x20000 + LEAF % PAGE_SIZE);
	handler_error = 0;
	/* A page of zeros: nothing is mapped there. */
	CU_ASSERT_EQUAL(go(GVA_READ, false), GVA_PAGE_FAULT);
	CU_ASSERT_EQUAL(got.error, 4);
	CU_ASSERT_EQUAL(brought_in, 2);
	put(2, table | G_P | G_U);
	gva_world_put(table + LEAF % PAGE_SIZE, 8, OTHER | G_P | G_U);
	CU_ASSERT_EQUAL(go(GVA_READ, false), GVA_OK);
	CU_ASSERT_EQUAL(brought_in, 3);
	CU_ASSERT_EQUAL(gva_world_get(table + LEAF % PAGE_SIZE, 8), OTHER | G_P | G_U | G_A);
	end();
}

static pt_attr_t stage2_marks(uint64_t at)
{
	struct pt_leaf leaf = { 0 };

	epoch_enter();
	CU_ASSERT_TRUE(vm_translate(&gva_world, gpa(at), &leaf));
	epoch_exit();
	return leaf.attr & PT_DIRTY;
}

/* Tables that we mark are dirty memory of the guest, those that we read are not. */
static void test_stage2_marks(void)
{
	begin();
	put(4, gva_shape_value(SHAPE, 4) | G_A);
	CU_ASSERT_EQUAL(go(GVA_READ, false), GVA_OK);
	CU_ASSERT_EQUAL(stage2_marks(gva_shape_table(4)), 0);
	CU_ASSERT_EQUAL(stage2_marks(gva_shape_table(3)), PT_DIRTY);
	CU_ASSERT_EQUAL(stage2_marks(gva_shape_table(1)), PT_DIRTY);
	end();
}

/* --- walks that remember where the tables are ------------------------------------------------- */

/* Puts another frame in the place of a page of the world's, with the same bytes. */
static struct frame *page_move(unsigned page)
{
	struct frame *f = frame_alloc(0, FRAME_GUEST, 0);
	struct vm_cursor c;
	gpa_t at = gpa(page * PAGE_SIZE);

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	memcpy(frame_bytes(f), gva_world_word(page * PAGE_SIZE), PAGE_SIZE);
	frame_get(frame_at(hva_to_hpa(hva_of(gva_world_word(page * PAGE_SIZE)))));
	CU_ASSERT_EQUAL_FATAL(vm_cursor_open(&c, &gva_world, at, gpa_add(at, PAGE_SIZE), VM_CHANGE),
			      0);
	CU_ASSERT_EQUAL_FATAL(
		vm_map(&c, f, (page < GVA_WORLD_WRITABLE ? PT_RWX : PT_RX) | PT_MEM_WB), 0);
	vm_cursor_close(&c);
	return f;
}

/* And the world's own again, with what has become of the bytes. */
static void page_back(unsigned page, struct frame *f)
{
	void *bytes = gva_world_word(page * PAGE_SIZE);
	struct vm_cursor c;
	gpa_t at = gpa(page * PAGE_SIZE);

	memcpy(bytes, frame_bytes(f), PAGE_SIZE);
	CU_ASSERT_EQUAL_FATAL(vm_cursor_open(&c, &gva_world, at, gpa_add(at, PAGE_SIZE), VM_CHANGE),
			      0);
	CU_ASSERT_EQUAL_FATAL(vm_map(&c, frame_at(hva_to_hpa(hva_of(bytes))),
				     (page < GVA_WORLD_WRITABLE ? PT_RWX : PT_RX) | PT_MEM_WB),
			      0);
	vm_cursor_close(&c);
	epoch_poll();
}

/* A walk that remembers; now and then a page lies elsewhere meanwhile, and garbage where it was. */
static void walk_again(uint64_t *seed, const struct gva_case *c, struct guest_pages *pages,
		       struct gva_result *out)
{
	unsigned page = (unsigned)random_below(seed, GVA_WORLD_PAGES);
	bool moves = random_below(seed, 3) == 0;
	struct frame *f = NULL;

	if (moves) {
		f = page_move(page);
		memset(gva_world_word(page * PAGE_SIZE), 0xa7, PAGE_SIZE);
	}
	gva_translate_again(&gva_world, &c->mode, gva(c->va), c->access, out, pages);
	if (moves)
		page_back(page, f);
}

static bool same(const struct gva_result *a, const struct gva_result *b)
{
	return a->outcome == b->outcome && a->gpa.gpa == b->gpa.gpa &&
	       a->page_size == b->page_size && a->rights == b->rights && a->error == b->error &&
	       a->cr2 == b->cr2 && a->vector == b->vector;
}

/* They agree with the reference on the answer, and on what they leave in memory. */
static void test_again_random(void)
{
	uint64_t seed = random_seed(977), other = seed + 1;
	struct guest_pages pages = { 0 };
	unsigned wrong = 0;

	arena_init(UINT64_C(16) << 20);
	gva_world_init();
	for (unsigned i = 0; i < 30000; i++) {
		struct gva_case c = gva_random_case(&seed);
		bool before = random_below(&other, 2) == 0;
		struct gva_result want, again;

		if (before)
			walk_again(&other, &c, &pages, &again);
		CU_ASSERT_TRUE_FATAL(gva_world_agrees(&c.mode, c.va, c.access, &want));
		if (!before)
			walk_again(&other, &c, &pages, &again);
		wrong += !same(&want, &again);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	gva_world_fini();
	epoch_drain();
	arena_fini();
}

/* A change just before the walk, and one just after it: the second one is seen, too. */
static void test_again_twice_changed(void)
{
	unsigned page = (unsigned)(gva_shape_table(1) / PAGE_SIZE);
	struct gva_access read = { .kind = GVA_READ };
	struct guest_pages pages = { 0 };
	struct frame *f;

	begin();
	page_move(page);
	CU_ASSERT_EQUAL(
		gva_translate_again(&gva_world, &mode, gva(GVA_SHAPE_VA), read, &got, &pages),
		GVA_OK);
	put(1, OTHER | G_P | G_U);
	f = page_move(page);
	CU_ASSERT_EQUAL(
		gva_translate_again(&gva_world, &mode, gva(GVA_SHAPE_VA), read, &got, &pages),
		GVA_OK);
	CU_ASSERT_EQUAL(got.gpa.gpa, OTHER + GVA_SHAPE_VA % PAGE_SIZE);
	CU_ASSERT_EQUAL(*(uint64_t *)((char *)frame_bytes(f) + LEAF % PAGE_SIZE),
			OTHER | G_P | G_U | G_A);
	end();
}

/* The table moves between the walk for it and its being remembered: it is not. */
static struct frame *moved;

static void move_at_once(unsigned lookup)
{
	if (lookup == 4)
		moved = page_move((unsigned)(gva_shape_table(1) / PAGE_SIZE));
}

static void test_again_moved_at_once(void)
{
	struct gva_access probe = { .kind = GVA_READ, .probe = true };
	struct guest_pages pages = { 0 };

	begin_marked();
	after = move_at_once;
	CU_ASSERT_EQUAL(
		gva_translate_again(&gva_world, &mode, gva(GVA_SHAPE_VA), probe, &got, &pages),
		GVA_OK);
	CU_ASSERT_EQUAL(got.gpa.gpa, PAGE_SIZE + GVA_SHAPE_VA % PAGE_SIZE);
	*(uint64_t *)((char *)frame_bytes(moved) + LEAF % PAGE_SIZE) = OTHER | G_P | G_U;
	CU_ASSERT_EQUAL(
		gva_translate_again(&gva_world, &mode, gva(GVA_SHAPE_VA), probe, &got, &pages),
		GVA_OK);
	CU_ASSERT_EQUAL(got.gpa.gpa, OTHER + GVA_SHAPE_VA % PAGE_SIZE);
	end();
}

/* --- threads ---------------------------------------------------------------------------------- */

/*
 * A real second thread: the leaf is now a page that may be written, now one that may not. No write
 * is ever allowed to the latter, and it is never marked dirty.
 */
#define FLIPS 30000
static _Atomic bool stop;
static unsigned wrong_marks;

static void *flip(void *context)
{
	uint64_t *leaf = context;
	uint64_t open = PAGE_SIZE | G_P | G_U | G_W, closed = OTHER | G_P | G_U;

	for (unsigned i = 0; !stop; i++) {
		uint64_t was = __atomic_exchange_n(leaf, i & 1 ? open : closed, __ATOMIC_SEQ_CST);

		if ((was & G_W) == 0 && (was & (G_A | G_D)) != 0)
			wrong_marks++;
	}
	return NULL;
}

static void test_threads(void)
{
	unsigned allowed = 0, denied = 0, other = 0;
	pthread_t thread;

	begin();
	stop = false;
	wrong_marks = 0;
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, flip, gva_world_word(LEAF)), 0);
	for (unsigned i = 0; i < FLIPS || ((allowed == 0 || denied == 0) && i < 1000 * FLIPS);
	     i++) {
		enum gva_outcome outcome = go(GVA_WRITE, false);

		if (outcome == GVA_OK && gpa_align_down(got.gpa, PAGE_SIZE).gpa == PAGE_SIZE)
			allowed++;
		else if (outcome == GVA_PAGE_FAULT && got.error == 7)
			denied++;
		else if (outcome != GVA_BUSY)
			other++;
	}
	stop = true;
	pthread_join(thread, NULL);
	CU_ASSERT(allowed != 0);
	CU_ASSERT(denied != 0);
	CU_ASSERT_EQUAL(other, 0);
	CU_ASSERT_EQUAL(wrong_marks, 0);
	end();
}

void suite_gva_live(void);
void suite_gva_live(void)
{
	CU_pSuite s = CU_add_suite("guest-virtual, live tables", NULL, NULL);

	CU_add_test(s, "single fetch", test_single_fetch);
	CU_add_test(s, "change after reading", test_change_after_reading);
	CU_add_test(s, "gone before the mark", test_gone_before_the_mark);
	CU_add_test(s, "other page before the mark", test_other_before_the_mark);
	CU_add_test(s, "other table before the mark", test_other_table);
	CU_add_test(s, "marked meanwhile", test_marked_meanwhile);
	CU_add_test(s, "busy", test_busy);
	CU_add_test(s, "absent tables", test_absent_tables);
	CU_add_test(s, "read-only tables", test_readonly_tables);
	CU_add_test(s, "tables in a device", test_tables_in_a_device);
	CU_add_test(s, "brought in", test_brought_in);
	CU_add_test(s, "marks of stage 2", test_stage2_marks);
	CU_add_test(s, "again, random", test_again_random);
	CU_add_test(s, "again, twice changed", test_again_twice_changed);
	CU_add_test(s, "again, moved at once", test_again_moved_at_once);
	CU_add_test(s, "threads", test_threads);
}
