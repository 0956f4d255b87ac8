/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/host/gva_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "tests/host/gva_ref.h"
#include "vmio/page.h"

struct vm_space gva_world;

static uint8_t *page_bytes[GVA_WORLD_PAGES];
static uint8_t shadow[GVA_WORLD_PAGES * PAGE_SIZE];

/* --- who changes the tables meanwhile --------------------------------------------------------- */

static const struct gva_change *changes;
static unsigned change_count, accesses;
static struct pt_ops hooked;

/* The next access begins: what is due is changed in one of the two memories. */
static void next_access(bool in_shadow)
{
	accesses++;
	for (unsigned i = 0; i < change_count; i++) {
		const struct gva_change *c = &changes[i];
		unsigned after = accesses - c->first;
		uint8_t *word = in_shadow ? shadow + c->at : gva_world_word(c->at);
		uint64_t value;

		if (accesses < c->first || (c->period == 0 ? after : after % c->period) != 0)
			continue;
		memcpy(&value, word, 8);
		value ^= c->bits;
		memcpy(word, &value, 8);
	}
}

/* Where only the marks of stage 2 are missing the walk comes once more: one access. */
static struct pt_place hooked_place(const struct pt *pt, uint64_t va, pt_attr_t needs)
{
	struct pt_place place = npt_ops.place(pt, va, needs);

	if (place.at != NULL || npt_ops.place(pt, va, needs & ~VM_MARKS).at == NULL)
		next_access(false);
	return place;
}

static uint8_t *shadow_word(uint64_t at, pt_attr_t want, bool bring_in, int *err)
{
	(void)bring_in;
	next_access(true);
	*err = -EFAULT;
	return at < (want == PT_WRITE ? GVA_WORLD_WRITABLE * PAGE_SIZE : sizeof(shadow))
		       ? shadow + at
		       : NULL;
}

static const struct gva_ref_memory memory = { .word = shadow_word };

void gva_world_change(const struct gva_change *list, unsigned n)
{
	hooked = npt_ops;
	hooked.place = hooked_place;
	gva_world.pt.ops = &hooked;
	changes = list;
	change_count = n;
	accesses = 0;
}

static void must(int err, const char *what)
{
	if (err != 0) {
		printf("%s: %d\n", what, err);
		abort();
	}
}

void gva_world_init(void)
{
	struct vm_cursor c;

	npt_setup(true, 46);
	must(vm_space_init(&gva_world, &npt_ops), "space");
	must(vm_cursor_open(&c, &gva_world, gpa(0), gpa(sizeof(shadow)), VM_CHANGE), "cursor");
	for (unsigned i = 0; i < GVA_WORLD_PAGES; i++) {
		struct frame *f = frame_alloc(0, FRAME_GUEST, ALLOC_ZERO);
		pt_attr_t rights = i < GVA_WORLD_WRITABLE ? PT_RWX : PT_RX;

		must(f == NULL, "frame");
		page_bytes[i] = hpa_ptr(frame_hpa(f));
		must(vm_map(&c, f, rights | PT_MEM_WB), "map");
	}
	vm_cursor_close(&c);
	memset(shadow, 0, sizeof(shadow));
}

void gva_world_fini(void)
{
	vm_space_destroy(&gva_world);
}

void gva_world_clear(void)
{
	for (unsigned i = 0; i < GVA_WORLD_PAGES; i++)
		memset(page_bytes[i], 0, PAGE_SIZE);
	memset(shadow, 0, sizeof(shadow));
}

void *gva_world_word(uint64_t at)
{
	return page_bytes[at / PAGE_SIZE] + at % PAGE_SIZE;
}

void gva_world_put(uint64_t at, unsigned size, uint64_t value)
{
	memcpy(gva_world_word(at), &value, size);
	memcpy(shadow + at, &value, size);
}

uint64_t gva_world_get(uint64_t at, unsigned size)
{
	uint64_t value = 0;

	memcpy(&value, gva_world_word(at), size);
	return value;
}

static bool same_memory(void)
{
	for (unsigned i = 0; i < GVA_WORLD_PAGES; i++)
		if (memcmp(page_bytes[i], shadow + i * PAGE_SIZE, PAGE_SIZE) != 0)
			return false;
	return true;
}

bool gva_world_same(const struct gva_result *a, const struct gva_result *b)
{
	return a->outcome == b->outcome && a->gpa.gpa == b->gpa.gpa &&
	       a->page_size == b->page_size && a->rights == b->rights && a->vector == b->vector &&
	       a->error == b->error && a->cr2 == b->cr2;
}

static void print_result(const char *who, const struct gva_result *r)
{
	printf("  %s: outcome %d gpa %llx size %llx rights %x vector %u error %x cr2 %llx\n", who,
	       r->outcome, (unsigned long long)r->gpa.gpa, (unsigned long long)r->page_size,
	       r->rights, r->vector, r->error, (unsigned long long)r->cr2);
}

/* The last entry of the trace is the one that decided. */
static void print_trace(const struct gva_trace *trace)
{
	for (unsigned i = 0; i < trace->n; i++)
		printf("  level %u at %llx: %016llx\n", trace->steps[i].level,
		       (unsigned long long)trace->steps[i].at.gpa,
		       (unsigned long long)trace->steps[i].value);
}

bool gva_world_agrees(const struct gva_mode *mode, uint64_t va, struct gva_access access,
		      struct gva_result *out)
{
	struct gva_result want;
	struct gva_trace trace;
	bool memory_ok;

	accesses = 0;
	want = gva_ref_translate(&memory, mode, va, access);
	accesses = 0;
	gva_translate(&gva_world, mode, gva(va), access, out, &trace);
	change_count = 0;
	memory_ok = same_memory();
	if (memory_ok && gva_world_same(out, &want))
		return true;
	printf("\nva %llx kind %d user %d implicit %d probe %d; cr0 %llx cr3 %llx cr4 %llx efer "
	       "%llx ac %d phys %u gib %d; memory %s\n",
	       (unsigned long long)va, access.kind, access.user, access.implicit, access.probe,
	       (unsigned long long)mode->cr0, (unsigned long long)mode->cr3,
	       (unsigned long long)mode->cr4, (unsigned long long)mode->efer, mode->rflags_ac,
	       mode->maxphyaddr, mode->gib_pages, memory_ok ? "same" : "differs");
	print_result("walk", out);
	print_result("reference", &want);
	print_trace(&trace);
	return false;
}
