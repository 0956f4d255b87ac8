/* SPDX-License-Identifier: MPL-2.0 */
/* Guest images: static ELF files for x86, 32 or 64 bits, loaded at their physical addresses. */
#ifndef GUEST_ELF_H
#define GUEST_ELF_H

#include "guest/guest.h"

/*
 * Loads `image` into the guest's memory through vmio. Everything is checked before a byte is
 * written: -ENOEXEC (not an ELF file that we can load, or cut off), -EINVAL (segments overlap,
 * wrap, lie outside [0, mem); the entry is not where real mode can start), -ENOMEM. `why`: one
 * line.
 */
int guest_elf_load(struct guest *g, const void *image, uint64_t len, char *why, size_t why_size);

#endif
