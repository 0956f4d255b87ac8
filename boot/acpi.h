/* SPDX-License-Identifier: MPL-2.0 */
/* The little of ACPI that booting needs: which CPUs there are. (ACPI 6.5, 5.2) */
#ifndef BOOT_ACPI_H
#define BOOT_ACPI_H

#include "base/addr.h"

/* Gives access to [at, at + len) of physical memory, or NULL when that is not ours to read. */
typedef const void *(*acpi_map)(hpa_t at, uint64_t len);

/*
 * Lists the APIC ids of the enabled CPUs, at most `max`, each once, in the tables' order. `rsdp` is
 * the root pointer of `rsdp_len` bytes (0: none). Returns how many, or -ENOENT (no usable tables:
 * bad checksum, cut off, no MADT, no enabled CPU in it). Broadcast ids are no CPUs.
 */
int acpi_cpus(const uint8_t *rsdp, unsigned rsdp_len, acpi_map map, uint32_t *ids, unsigned max);

#endif
