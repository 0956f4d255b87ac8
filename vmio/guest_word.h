/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Single words of memory, as the CPU's own table walker reads and changes them: one access, never
 * torn, never repeated, and survived when it faults.
 */
#ifndef VMIO_GUEST_WORD_H
#define VMIO_GUEST_WORD_H

#include "base/fixup.h"
#include "vmio/page.h"

/* 1, 2, 4 or 8. */
static inline bool word_size(size_t size)
{
	return size - 1 < 8 && (size & (size - 1)) == 0;
}

/* Reads a word; the upper part of *value is 0. -EFAULT: it faulted, *value is left alone.
 * Precondition, here and below: a word's size, aligned to it. */
static inline int word_load(const void *at, size_t size, uint64_t *value)
{
	uint32_t v4;
	uint16_t v2;
	uint8_t v1;
	int err;

	switch (size) {
	case 8:
		return fixup_load8(at, value);
	case 4:
		err = fixup_load4(at, &v4);
		*value = err == 0 ? v4 : *value;
		return err;
	case 2:
		err = fixup_load2(at, &v2);
		*value = err == 0 ? v2 : *value;
		return err;
	default:
		err = fixup_load1(at, &v1);
		*value = err == 0 ? v1 : *value;
		return err;
	}
}

static inline int word_store(void *at, size_t size, uint64_t value)
{
	switch (size) {
	case 8:
		return fixup_store8(at, value);
	case 4:
		return fixup_store4(at, (uint32_t)value);
	case 2:
		return fixup_store2(at, (uint16_t)value);
	default:
		return fixup_store1(at, (uint8_t)value);
	}
}

#define WORD_SWAP(mov, reg)                                            \
	__asm__ volatile("1:\tlock cmpxchg" mov " %" reg "3, (%2)\n\t" \
			 "xorl %1, %1\n"                               \
			 "2:\n\t" FIXUP("1b", "2b")                    \
			 : "+&a"(seen), "+&r"(fault)                   \
			 : "r"(at), "q"(new)                           \
			 : "memory", "cc")

/*
 * Puts `new` in the place of *old. 0; -EAGAIN: something else is there, which *old is now; -EFAULT:
 * it faulted, *old is left alone. A full barrier but for -EFAULT.
 */
static inline int word_swap(void *at, size_t size, uint64_t *old, uint64_t new)
{
	uint64_t mask = UINT64_MAX >> (64 - 8 * size), wanted = *old & mask, seen = wanted;
	int fault = -EFAULT;

	switch (size) {
	case 8:
		WORD_SWAP("q", "q");
		break;
	case 4:
		WORD_SWAP("l", "k");
		break;
	case 2:
		WORD_SWAP("w", "w");
		break;
	default:
		WORD_SWAP("b", "b");
		break;
	}
	if (fault != 0)
		return fault;
	*old = seen & mask;
	return *old == wanted ? 0 : -EAGAIN;
}

/*
 * Reads 4 or 8 bytes (`size`) of guest-physical memory at `at`, aligned, inside an epoch section.
 * Memory is brought in when `bring_in` is true. Errors as vm_page_find; *value is left alone then.
 */
static inline int guest_word_read(struct vm_space *space, gpa_t at, unsigned size, bool bring_in,
				  uint64_t *value)
{
	struct pt_place page = { 0 };
	int err;

	REQUIRES((size == 4 || size == 8) && gpa_aligned(at, size) && epoch_inside());
	err = vm_page_find(space, at, PT_READ, bring_in ? 0 : VM_PRESENT, PT_READ | PT_TRACKED,
			   &page);
	return err != 0 ? err : word_load(page.at, size, value);
}

/*
 * Where the tables of a guest are that its walks went through last: a page for each level. Words of
 * them are read anew each time. Belongs to one vCPU of one guest; starts as zeros.
 */
struct guest_pages {
	const struct vm_space *space; /* that it is for; NULL: none yet */
	uint64_t generation;
	struct {
		uint64_t page; /* guest-physical, or'ed with 1: there is one */
		const char *at;
	} level[6];
};

/* As guest_word_read, where the word is of a table of `level` (1 to 5). */
static inline int guest_word_read_in(struct guest_pages *pages, unsigned level,
				     struct vm_space *space, gpa_t at, unsigned size, bool bring_in,
				     uint64_t *value)
{
	uint64_t offset = at.gpa & (PAGE_SIZE - 1), page = (at.gpa - offset) | 1;
	struct pt_place found = { 0 };
	uint64_t generation;
	int err;

	REQUIRES((size == 4 || size == 8) && gpa_aligned(at, size) && epoch_inside());
	REQUIRES(pages->space == NULL || pages->space == space);
	if (pages->level[level].page == page && vm_page_unchanged(space, pages->generation))
		return word_load(pages->level[level].at + offset, size, value);
	generation = vm_page_watch(space);
	err = vm_page_find(space, at, PT_READ, bring_in ? 0 : VM_PRESENT, PT_READ | PT_TRACKED,
			   &found);
	if (err != 0)
		return err;
	if (pages->generation != generation)
		*pages = (struct guest_pages){ .space = space, .generation = generation };
	pages->level[level].page = page;
	pages->level[level].at = (const char *)found.at - offset;
	return word_load(found.at, size, value);
}

/*
 * Puts `new` in the place of `old`, 4 or 8 bytes, and brings in what is missing. -EAGAIN: something
 * else is there now, which is left as it is. The page is marked as written to before, so that
 * whoever takes it away finds the mark; and after the fact, for those that collect marks between.
 */
static inline int guest_word_exchange(struct vm_space *space, gpa_t at, unsigned size, uint64_t old,
				      uint64_t new)
{
	struct pt_place page = { 0 };
	int err;

	REQUIRES((size == 4 || size == 8) && gpa_aligned(at, size));
	err = vm_page_find(space, at, PT_WRITE | VM_MARKS, 0, PT_WRITE | VM_MARKS | PT_TRACKED,
			   &page);
	if (err == 0)
		err = word_swap(page.at, size, &old, new);
	if (err == 0)
		vm_mark(space, at, VM_MARKS);
	return err;
}

#endif
