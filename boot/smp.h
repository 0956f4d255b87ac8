/* SPDX-License-Identifier: MPL-2.0 */
/* Starting the other CPUs. (SDM vol. 3, 9.4) */
#ifndef BOOT_SMP_H
#define BOOT_SMP_H

#include "base/addr.h"
#include "boot/boot_info.h"

/* A page below 1 MiB for the trampoline; taken out of the map before memory is handed out. */
int smp_reserve(struct memmap *map);

/* Stacks for a CPU's NMI, #DF and #MC; the calling CPU becomes number `id`. -ENOMEM. */
int smp_setup_this_cpu(unsigned id);

/*
 * Starts every other CPU that ACPI lists, one after the other; each ends up in `enter`, which does
 * not return. One that does not come up is left out with a warning. Sets cpu_count.
 */
void smp_start(const struct boot_info *info, void (*enter)(void));

#endif
