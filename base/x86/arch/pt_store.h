/* SPDX-License-Identifier: MPL-2.0 */
/* Stores to page tables are not recorded on the machine. */
#ifndef ARCH_PT_STORE_H
#define ARCH_PT_STORE_H

#define pt_store_note(entry, raw) ((void)(entry), (void)(raw))

#endif
