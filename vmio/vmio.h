/* SPDX-License-Identifier: MPL-2.0 */
/*
 * VmReader and VmWriter: the only way to a guest's bytes (seeds 000 and 004). A reader or writer
 * stands somewhere in a range of hypervisor memory or of a guest's physical memory, and moves as it
 * copies. Guest memory is translated page by page through the space's own tables, with the rights
 * of the mapping, and brought in by the space's fault handler where it is missing.
 *
 * Guest memory is hostile: what is read here is a copy, and is never read again.
 */
#ifndef VMIO_VMIO_H
#define VMIO_VMIO_H

#include "base/addr.h"
#include "mm/vm_space.h"

struct vm_io {
	struct vm_space *space; /* NULL: hypervisor memory */
	union {
		hva_t host;
		gpa_t guest;
	} at;
	uint64_t left; /* bytes */
};

struct vm_reader {
	struct vm_io io;
};

struct vm_writer {
	struct vm_io io;
};

/* Over hypervisor memory [p, p + len). Zero length is allowed everywhere. */
struct vm_reader vm_reader_host(const void *p, size_t len);
struct vm_writer vm_writer_host(void *p, size_t len);

/* Over guest-physical [at, at + len). -ERANGE when that wraps; what is mapped there is not looked
 * at before the copy. The space must outlive the reader. */
int vm_reader_guest(struct vm_reader *r, struct vm_space *space, gpa_t at, uint64_t len);
int vm_writer_guest(struct vm_writer *w, struct vm_space *space, gpa_t at, uint64_t len);

/*
 * Copies min(left of r, left of w, max) bytes from low to high; both move by exactly what was
 * copied, which is in *copied (may be NULL) in every case. 0, or -EFAULT: the next byte is in no
 * memory of the guest, or has not the right; -ENOMEM: it would have to be brought in and could not.
 */
int vm_copy(struct vm_reader *r, struct vm_writer *w, uint64_t max, uint64_t *copied);

/* Fills with zeros, as vm_copy. */
int vm_fill_zero(struct vm_writer *w, uint64_t len, uint64_t *filled);

/* All or nothing for the cursor: -EFAULT/-ENOMEM/-ERANGE (fewer than `len` bytes left) leave it
 * where it was; bytes of the destination may have been written. */
int vm_read_bytes(struct vm_reader *r, void *dst, size_t len);
int vm_write_bytes(struct vm_writer *w, const void *src, size_t len);

#endif
