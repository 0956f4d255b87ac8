/* SPDX-License-Identifier: MPL-2.0 */
/* vm_read_bytes and vm_write_bytes for each size that the compiler knows, and for one it does not.
 */
#ifndef TESTS_UNIT_VMIO_SIZES_H
#define TESTS_UNIT_VMIO_SIZES_H

#include "tests/unit/sizes.h"
#include "vmio/vmio.h"

typedef int (*reading)(struct vm_reader *r, void *to, size_t n);
typedef int (*writing)(struct vm_writer *w, const void *from, size_t n);

/* The sizes that the compiler knows: a function for each of 0 to 129. */
#define ONE(n)                                                                   \
	static int read_##n(struct vm_reader *r, void *to, size_t same)          \
	{                                                                        \
		(void)same;                                                      \
		return vm_read_bytes(r, to, n);                                  \
	}                                                                        \
	static int write_##n(struct vm_writer *w, const void *from, size_t same) \
	{                                                                        \
		(void)same;                                                      \
		return vm_write_bytes(w, from, n);                               \
	}
#define READ(n)	 read_##n,
#define WRITE(n) write_##n,

SIZES_ALL(ONE)

static const reading known_reads[] = { SIZES_ALL(READ) };
static const writing known_writes[] = { SIZES_ALL(WRITE) };

#define KNOWN (sizeof(known_reads) / sizeof(known_reads[0]))

static int any_read(struct vm_reader *r, void *to, size_t n)
{
	return vm_read_bytes(r, to, n);
}

static int any_write(struct vm_writer *w, const void *from, size_t n)
{
	return vm_write_bytes(w, from, n);
}

#endif
