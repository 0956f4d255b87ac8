/* SPDX-License-Identifier: MPL-2.0 */
/* Starting the other CPUs. (SDM vol. 3, 9.4) */
#ifndef BOOT_SMP_H
#define BOOT_SMP_H

#include "base/addr.h"
#include "boot/boot_info.h"

/*
 * Takes a page below 640 KiB for the trampoline out of the map, before memory is handed out. Where
 * there is none, the boot CPU stays alone.
 */
void smp_reserve(struct memmap *map);

/* Stacks for a CPU's NMI, #DF and #MC; the calling CPU becomes number `id`. -ENOMEM. */
int smp_setup_this_cpu(unsigned id);

/*
 * Starts every other CPU that ACPI lists, one after the other; each ends up in `enter`, which does
 * not return. One that does not come up is stopped for good and left out with a warning, as are
 * CPUs beyond MAX_CPUS. Sets cpu_count.
 */
void smp_start(const struct boot_info *info, void (*enter)(void));

#endif
