/* SPDX-License-Identifier: MPL-2.0 */
/* What the console shows of a guest-virtual address: entries, both dimensions, every access. */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "hv/console/gva_view.h"
#include "mm/frame_alloc.h"
#include "tests/host/arena.h"
#include "tests/host/gva_shape.h"

static struct {
	struct print_sink sink;
	char text[8192];
	size_t len;
} shown;

static void put(struct print_sink *sink, char c)
{
	(void)sink;
	CU_ASSERT_FATAL(shown.len < sizeof(shown.text) - 1);
	shown.text[shown.len++] = c;
	shown.text[shown.len] = '\0';
}

static struct gva_view view;

static void show(const struct gva_mode *m, uint64_t va, bool json)
{
	shown.len = 0;
	shown.sink.put = put;
	gva_look(&gva_world, m, gva(va), &view);
	(json ? gva_print_json : gva_print)(&view, &shown.sink);
}

static bool says(const char *text)
{
	return strstr(shown.text, text) != NULL;
}

static void begin(void)
{
	arena_init(UINT64_C(16) << 20);
	gva_world_init();
}

static void end(void)
{
	gva_world_fini();
	epoch_drain();
	arena_fini();
}

/* No line is longer than a terminal. */
static size_t longest(void)
{
	size_t most = 0;

	for (const char *p = shown.text; *p != '\0'; p += strcspn(p, "\n") + 1)
		most = strcspn(p, "\n") > most ? strcspn(p, "\n") : most;
	return most;
}

/* Where stage 2 of the world has a word. */
static unsigned long long place(uint64_t at)
{
	struct pt_hit hit;

	epoch_enter();
	hit = vm_lookup(&gva_world, gpa(at));
	epoch_exit();
	CU_ASSERT_PTR_EQUAL(hpa_ptr(hpa_add(hit.hpa, at % PAGE_SIZE)), gva_world_word(at));
	return hit.hpa.hpa + at % PAGE_SIZE;
}

static void test_text(void)
{
	static const char *const lines[] = {
		"  paging 4-level, cr3 5000, WP, NXE, SMAP\n",
		"  level 4  000000005760 = 0000000000004007  table -> 4000 wux-\n",
		"  level 1  0000000020c0 = 8000000000001005  page -> 1000 -u---\n",
		"  765443218abc -> 1abc, page of 4 KiB, r--, user\n",
		"  read    as supervisor  #PF, error code 0x1, CR2 0x765443218abc\n",
		"  read    as user        allowed, by stage 2: allowed\n",
		"  write   as user        #PF, error code 0x7, CR2 0x765443218abc\n",
		"  execute as user        #PF, error code 0x15, CR2 0x765443218abc\n",
	};
	const struct gva_shape *s = &gva_shapes[5];
	uint64_t at = gva_shape_entry(s, 1), leaf;
	char line[64];
	struct gva_mode m;

	begin();
	m = gva_shape_build(s);
	m.cr0 |= CR0_WP;
	m.cr4 |= CR4_SMAP;
	m.efer |= EFER_NXE;
	leaf = (gva_shape_value(s, 1) & ~G_W) | G_NX;
	gva_world_put(at, 8, leaf);
	show(&m, GVA_SHAPE_VA, false);
	for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		CU_ASSERT_TRUE(says(lines[i]));
	CU_ASSERT(longest() <= 79);
	/* Stage 2 of the leaf's place and of the page. */
	snprintf(line, sizeof(line), "           stage 2: %llx, page of 4 KiB, rwx\n", place(at));
	CU_ASSERT_TRUE(says(line));
	snprintf(line, sizeof(line), "           stage 2: %llx, page of 4 KiB, rwx\n",
		 place(0x1abc));
	CU_ASSERT_TRUE(says(line));
	/* Looking changes nothing. */
	CU_ASSERT_EQUAL(gva_world_get(at, 8), leaf);
	CU_ASSERT_EQUAL(gva_world_get(gva_shape_entry(s, 4), 8), gva_shape_value(s, 4));
	end();
}

static unsigned count(const char *text)
{
	unsigned n = 0;

	for (const char *p = shown.text; (p = strstr(p, text)) != NULL; p++)
		n++;
	return n;
}

/* Each shape: one line for each entry, one for the result, six for the accesses. */
static void test_json(void)
{
	begin();
	for (unsigned i = 0; i < GVA_SHAPES; i++) {
		const struct gva_shape *s = &gva_shapes[i];
		unsigned entries = s->top - s->leaf + 1;
		uint64_t size = UINT64_C(1) << gva_shape_shift(s, s->leaf);
		struct gva_mode m;
		char text[128];

		gva_world_clear();
		m = gva_shape_build(s);
		entries += s->efer == 0 && s->size == 8;
		show(&m, GVA_SHAPE_VA, true);
		CU_ASSERT_EQUAL(count("{\"level\":"), entries);
		CU_ASSERT_EQUAL(count("\"kind\":\"page\""), 1);
		CU_ASSERT_EQUAL(count("\"kind\":\"table\""), entries - 1);
		CU_ASSERT_EQUAL(count("\"outcome\":\"allowed\""), 6);
		CU_ASSERT_EQUAL(count("\n"), entries + 7);
		CU_ASSERT_EQUAL(view.gpa.gpa, gva_shape_page(s) + GVA_SHAPE_VA % size);
		snprintf(text, sizeof(text), "\"gpa\":\"0x%llx\",\"page\":%llu,\"w\":true",
			 (unsigned long long)view.gpa.gpa, (unsigned long long)size);
		CU_ASSERT_TRUE(says(text));
		/* Rights only where the entry has them, a key only in long mode. */
		CU_ASSERT_EQUAL(says("\"key\":0"), s->efer != 0);
		CU_ASSERT_EQUAL(count("\"w\":null,\"user\":null"), s->efer == 0 && s->size == 8);
	}
	end();
}

static void test_dead_ends(void)
{
	const struct gva_shape *s = &gva_shapes[5];
	struct gva_mode m;

	begin();
	m = gva_shape_build(s);
	show(&m, UINT64_C(1) << 63, false);
	CU_ASSERT_EQUAL(count("#GP: the address is not canonical"), 6);
	CU_ASSERT_TRUE(says("  8000000000000000 leads to no page\n"));
	show(&m, UINT64_C(1) << 63, true);
	CU_ASSERT_EQUAL(count("\"vector\":13,\"error\":0,\"cr2\":null"), 6);
	CU_ASSERT_TRUE(says("\"gpa\":null"));
	gva_world_put(gva_shape_entry(s, 2), 8, gva_shape_value(s, 2) | UINT64_C(1) << 50);
	show(&m, GVA_SHAPE_VA, false);
	CU_ASSERT_TRUE(says("= 0004000000002007  reserved wu-\n"));
	CU_ASSERT_EQUAL(count("#PF, error code 0x9,"), 2);
	gva_world_put(gva_shape_entry(s, 2), 8, gva_shape_value(s, 2) & ~G_P);
	show(&m, GVA_SHAPE_VA, false);
	CU_ASSERT_TRUE(says("= 0000000000002006  absent\n"));
	show(&m, GVA_SHAPE_VA, true);
	CU_ASSERT_TRUE(says("\"kind\":\"absent\",\"to\":null,\"page\":null,\"present\":false,"
			    "\"w\":null"));
	gva_world_put(gva_shape_entry(s, 2), 8, 0x99000 | G_P);
	show(&m, GVA_SHAPE_VA, false);
	CU_ASSERT_EQUAL(count("no memory is there for the table at 990c0\n"), 6);
	show(&m, GVA_SHAPE_VA, true);
	CU_ASSERT_EQUAL(count("\"outcome\":\"no-table\""), 6);
	/* A page beyond what stage 2 has. */
	gva_world_put(gva_shape_entry(s, 2), 8, gva_shape_value(s, 2));
	gva_world_put(gva_shape_entry(s, 1), 8, 0x99000 | G_P);
	show(&m, GVA_SHAPE_VA, false);
	CU_ASSERT_TRUE(says("           stage 2: nothing is mapped there\n"));
	CU_ASSERT_TRUE(says("  read    as supervisor  allowed, by stage 2: absent\n"));
	show(&m, GVA_SHAPE_VA, true);
	CU_ASSERT_TRUE(says("\"hpa\":null,\"stage2_page\":null,\"stage2_r\":false"));
	CU_ASSERT_EQUAL(count("\"outcome\":\"allowed\""), count("\"stage2\":\"absent\""));
	CU_ASSERT_EQUAL(count("\"outcome\":\"fault\""), count("\"stage2\":null"));
	/* One that stage 2 does not let be written. */
	gva_world_put(gva_shape_entry(s, 1), 8, (GVA_WORLD_WRITABLE * PAGE_SIZE) | G_P | G_W);
	show(&m, GVA_SHAPE_VA, false);
	CU_ASSERT_TRUE(says("  read    as supervisor  allowed, by stage 2: allowed\n"));
	CU_ASSERT_TRUE(says("  write   as supervisor  allowed, by stage 2: refused\n"));
	end();
}

/* Without paging, and where the upper half of an address does not exist. */
static void test_without_paging(void)
{
	struct gva_mode m = { .cr0 = CR0_PE, .maxphyaddr = 40 };

	begin();
	show(&m, UINT64_C(0x500001234), false);
	CU_ASSERT_TRUE(says("  paging none, cr3 0\n"));
	CU_ASSERT_TRUE(says("  1234 -> 1234, rwx, user\n"));
	CU_ASSERT_EQUAL(count("allowed, by stage 2: allowed\n"), 6);
	m = gva_shape_build(&gva_shapes[2]);
	gva_world_put(gva_shape_entry(&gva_shapes[2], 2), 4, 0x00c00000 | 5 << 13 | G_PS | G_P);
	show(&m, GVA_SHAPE_VA, false);
	CU_ASSERT_TRUE(says("  paging 32-bit, cr3 3000, PSE\n"));
	CU_ASSERT_TRUE(says("  43218abc -> 500e18abc, page of 4 MiB, r-x\n"));
	end();
}

void suite_gva_view(void);
void suite_gva_view(void)
{
	CU_pSuite s = CU_add_suite("guest-virtual addresses on the console", NULL, NULL);

	CU_add_test(s, "text", test_text);
	CU_add_test(s, "JSON", test_json);
	CU_add_test(s, "dead ends", test_dead_ends);
	CU_add_test(s, "without paging", test_without_paging);
}
