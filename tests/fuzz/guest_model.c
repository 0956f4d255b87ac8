/* SPDX-License-Identifier: MPL-2.0 */
/* The model of a guest's memory: mappings as a sorted list, bytes in a second arena. */
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "tests/fuzz/guest.h"
#include "vmio/page.h"

#define TWIN_BYTES (2 * SIZE_1G)
#define LEAVES	   300000
#define TOUCHED	   32768
#define ALL_MARKS  (PT_ACCESSED | PT_DIRTY)

/* So many mappings and pages are compared after each step; more, now and then. */
#define FEW 48

static uint8_t *twin;
static struct guest_leaf leaves[LEAVES];
static unsigned leaf_count;

/* Pages of blocks that are not all zeros any more. */
static uint64_t touched_map[TWIN_BYTES / PAGE_SIZE / 64];
static uint32_t touched[TOUCHED];
static unsigned touched_count;

/* --- bytes ------------------------------------------------------------------------------------ */

uint8_t *guest_twin(uint64_t at)
{
	return twin + at;
}

static void touch_page(uint64_t page)
{
	uint64_t bit = UINT64_C(1) << page % 64;

	if ((touched_map[page / 64] & bit) != 0)
		return;
	FUZZ_CHECK(touched_count < TOUCHED);
	touched_map[page / 64] |= bit;
	touched[touched_count++] = (uint32_t)page;
}

/* The pages beside it too: what runs over an end is seen there. */
void guest_touched(uint64_t at, uint64_t n)
{
	unsigned block = guest_block_of(at);
	uint64_t first, end;

	if (n == 0 || block == BLOCKS)
		return;
	first = guest_block_hpa(block);
	end = first + guest_block_size(block);
	for (uint64_t p = at / PAGE_SIZE - 1; p <= (at + n - 1) / PAGE_SIZE + 1; p++)
		if (p * PAGE_SIZE >= first && p * PAGE_SIZE < end)
			touch_page(p);
}

static void forget_bytes(void)
{
	for (unsigned i = 0; i < touched_count; i++) {
		uint64_t at = touched[i] * PAGE_SIZE;

		memset(hpa_ptr(hpa(at)), 0, PAGE_SIZE);
		memset(twin + at, 0, PAGE_SIZE);
		touched_map[touched[i] / 64] = 0;
	}
	touched_count = 0;
}

/* A page that cannot be accessed. */
static uint64_t hole_at = UINT64_MAX;

uint64_t guest_before_hole(uint64_t at, uint64_t n)
{
	if (hole_at == UINT64_MAX || at + n <= hole_at || at >= hole_at + PAGE_SIZE)
		return n;
	return at < hole_at ? hole_at - at : 0;
}

void guest_model_hole(uint64_t at)
{
	hole_at = at;
}

/* --- mappings --------------------------------------------------------------------------------- */

/* The first mapping that ends after `at`. */
static unsigned leaf_after(uint64_t at)
{
	unsigned low = 0, high = leaf_count;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (leaves[middle].gpa + leaves[middle].size > at)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static struct guest_leaf *leaf_find(uint64_t at)
{
	unsigned i = leaf_after(at);

	return i < leaf_count && leaves[i].gpa <= at ? &leaves[i] : NULL;
}

/* Puts `n` copies of a mapping in the place of `gone` of them. */
static struct guest_leaf *leaves_replace(unsigned i, unsigned gone, unsigned n)
{
	FUZZ_CHECK(leaf_count - gone + n <= LEAVES);
	memmove(&leaves[i + n], &leaves[i + gone], (leaf_count - i - gone) * sizeof(leaves[0]));
	leaf_count = leaf_count - gone + n;
	return &leaves[i];
}

/* A page becomes 512 smaller ones, with its marks. */
static void leaf_split(unsigned i)
{
	struct guest_leaf was = leaves[i], *new = leaves_replace(i, 1, 512);

	for (unsigned k = 0; k < 512; k++) {
		new[k] = was;
		new[k].size = was.size / 512;
		new[k].gpa = was.gpa + k *new[k].size;
		new[k].hpa = was.hpa + k *new[k].size;
	}
}

/* No page reaches over `at`. */
static void split_at(uint64_t at)
{
	struct guest_leaf *leaf;

	while ((leaf = leaf_find(at)) != NULL && leaf->gpa != at)
		leaf_split((unsigned)(leaf - leaves));
}

static void cut(uint64_t at, uint64_t len)
{
	unsigned first, end;

	if (len == 0)
		return;
	split_at(at);
	split_at(at + len);
	first = leaf_after(at);
	for (end = first; end < leaf_count && leaves[end].gpa < at + len;)
		end++;
	leaves_replace(first, end - first, 0);
}

static void put(const struct change *c, const struct change_result *r)
{
	cut(c->at, c->len);
	*leaves_replace(leaf_after(c->at), 0, 1) = (struct guest_leaf){
		.gpa = c->at,
		.size = c->len,
		.hpa = r->hpa,
		.rights = c->attr & PT_RIGHTS,
		.marks = c->attr & ALL_MARKS,
		.device = c->kind == CHANGE_DEVICE,
	};
	if (c->kind == CHANGE_MAP && c->block == NEW_FRAME)
		memset(twin + r->hpa, 0, PAGE_SIZE);
}

/* Rights or marks of what is mapped in [at, at + len). */
static void alter(const struct change *c, uint64_t len)
{
	if (len == 0)
		return;
	split_at(c->at);
	split_at(c->at + len);
	for (unsigned i = leaf_after(c->at); i < leaf_count && leaves[i].gpa < c->at + len; i++) {
		if (c->kind == CHANGE_PROTECT)
			leaves[i].rights = c->attr & PT_RIGHTS;
		else
			leaves[i].marks &= ~c->attr;
	}
}

static void join(const struct change *c)
{
	unsigned i = leaf_after(c->at);
	struct guest_leaf all = leaves[i];

	FUZZ_CHECK(i + 512 <= leaf_count && all.gpa == c->at && all.size * 512 == c->len);
	for (unsigned k = 0; k < 512; k++) {
		FUZZ_CHECK(leaves[i + k].size == all.size &&
			   leaves[i + k].hpa == all.hpa + k * all.size);
		all.marks |= leaves[i + k].marks;
	}
	all.size = c->len;
	*leaves_replace(i, 512, 1) = all;
}

static void poke(const struct change *c)
{
	const struct guest_leaf *leaf = leaf_find(c->at);
	uint64_t at = leaf != NULL ? leaf->hpa + (c->at - leaf->gpa) : 0;

	if (leaf == NULL || leaf->device || guest_before_hole(at, sizeof(c->value)) == 0)
		return;
	memcpy(twin + at, &c->value, sizeof(c->value));
	guest_touched(at, sizeof(c->value));
}

/* A change that stopped may have split pages and not changed them. */
static void see_splits(uint64_t at)
{
	struct pt_leaf real;
	struct guest_leaf *leaf;

	epoch_enter();
	while ((leaf = leaf_find(at)) != NULL && vm_translate(&guest_space, gpa(at), &real) &&
	       real.size < leaf->size)
		leaf_split((unsigned)(leaf - leaves));
	epoch_exit();
}

void guest_model_change(const struct change *c, const struct change_result *r)
{
	switch (r->err == 0 ? c->kind : CHANGE_NOTHING) {
	case CHANGE_MAP:
	case CHANGE_DEVICE:
		put(c, r);
		break;
	case CHANGE_JOIN:
		join(c);
		break;
	case CHANGE_POKE:
		poke(c);
		break;
	default:
		break;
	}
	if (c->kind == CHANGE_UNMAP)
		cut(c->at, r->done);
	if (c->kind == CHANGE_PROTECT || c->kind == CHANGE_CLEAN)
		alter(c, r->done);
	if (r->err == -ENOMEM)
		see_splits(c->at + r->done);
}

void guest_change(const struct change *c)
{
	struct change_result r = guest_change_real(c);

	guest_model_change(c, &r);
}

void guest_model_begin(void)
{
	if (twin == NULL)
		twin = mmap(NULL, TWIN_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	FUZZ_CHECK(twin != MAP_FAILED);
	leaf_count = 0;
	forget_bytes();
}

/* --- accesses --------------------------------------------------------------------------------- */

static int replay(uint64_t at, pt_attr_t want)
{
	const struct guest_event *e = guest_next_event();

	FUZZ_CHECK(e != NULL && e->at == at && e->want == want);
	guest_model_change(&e->trap, &e->trap_result);
	guest_model_change(&e->served, &e->served_result);
	return e->err;
}

static bool allowed(const struct guest_leaf *leaf, pt_attr_t want, unsigned flags)
{
	if (leaf == NULL)
		return false;
	return (leaf->rights & want) != 0 || (want == PT_WRITE && (flags & VM_READ_ONLY_TOO) != 0);
}

/* What is mapped there, and what somebody else does at that moment. */
static const struct guest_leaf *look(uint64_t at)
{
	static struct guest_leaf found;
	struct guest_race *race = guest_end_race();
	const struct guest_leaf *leaf = leaf_find(at);

	if (!race->done || race->seen || race->at != at || ++race->times != race->time)
		return leaf;
	if (leaf != NULL)
		found = *leaf;
	guest_model_change(&race->change, &race->result);
	race->seen = true;
	if (race->late)
		return leaf != NULL ? &found : NULL;
	return leaf_find(at);
}

int guest_touch(uint64_t at, pt_attr_t want, unsigned flags, struct guest_leaf *out)
{
	for (;;) {
		const struct guest_leaf *leaf = look(at);
		int err = -EFAULT;

		if (allowed(leaf, want, flags) && !leaf->device &&
		    (want != PT_WRITE || (leaf->marks & ALL_MARKS) == ALL_MARKS)) {
			*out = *leaf;
			return 0;
		}
		/* What is missing is looked for once more. */
		leaf = leaf_find(at);
		if (allowed(leaf, want, flags)) {
			if (leaf->device)
				return -EFAULT;
			if (want == PT_WRITE)
				guest_mark(at);
			continue;
		}
		if ((flags & VM_PRESENT) == 0)
			err = replay(at, (flags & VM_READ_ONLY_TOO) != 0 ? PT_READ : want);
		if (err != 0)
			return err;
	}
}

void guest_mark(uint64_t at)
{
	struct guest_leaf *leaf = leaf_find(at);

	if (leaf != NULL)
		leaf->marks |= ALL_MARKS;
}

/* --- comparison ------------------------------------------------------------------------------- */

static void check_page_bytes(uint64_t at)
{
	if (guest_before_hole(at, 1) != 0)
		FUZZ_CHECK(memcmp(hpa_ptr(hpa(at)), twin + at, PAGE_SIZE) == 0);
}

static void check_leaf(const struct guest_leaf *leaf)
{
	struct pt_leaf real;

	FUZZ_CHECK(vm_translate(&guest_space, gpa(leaf->gpa), &real));
	FUZZ_CHECK(real.va == leaf->gpa && real.size == leaf->size && real.hpa.hpa == leaf->hpa);
	FUZZ_CHECK((real.attr & PT_RIGHTS) == leaf->rights);
	FUZZ_CHECK((real.attr & ALL_MARKS) == leaf->marks);
	FUZZ_CHECK(((real.attr & PT_TRACKED) == 0) == leaf->device);
	if (!leaf->device && guest_block_of(leaf->hpa) == BLOCKS)
		check_page_bytes(leaf->hpa);
}

void guest_check(bool all)
{
	const struct guest_race *race = guest_end_race();

	FUZZ_CHECK(guest_next_event() == NULL);
	FUZZ_CHECK(race->done == race->seen);
	if ((leaf_count > FEW || touched_count > FEW) && !all)
		return;
	epoch_enter();
	for (unsigned i = 0; i < leaf_count; i++)
		check_leaf(&leaves[i]);
	epoch_exit();
	for (unsigned i = 0; i < touched_count; i++)
		check_page_bytes(touched[i] * PAGE_SIZE);
}
