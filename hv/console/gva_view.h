/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The two-dimensional walk as the console shows it: a guest-virtual address through the guest's
 * tables, each entry's place and the result through stage 2, and what each kind of access would do.
 */
#ifndef HV_CONSOLE_GVA_VIEW_H
#define HV_CONSOLE_GVA_VIEW_H

#include "base/print.h"
#include "vmio/gva.h"

#define GVA_ACCESSES 6 /* read, write, execute as supervisor, then as user */

struct gva_view {
	struct gva_mode mode;
	gva_t at;
	struct gva_trace trace;		      /* of a read as supervisor */
	struct pt_hit places[GVA_MAX_LEVELS]; /* stage 2 of each entry's place */
	struct gva_result result[GVA_ACCESSES];
	struct pt_hit page; /* stage 2 of the result, when the tables lead to one */
	bool found;	    /* they do: then `gpa` is it, */
	gpa_t gpa;
	uint64_t size;	  /* in a page of so many bytes (0: no paging), */
	pt_attr_t rights; /* with the rights of all levels together */
};

/*
 * Looks, as a probe: sets no marks, brings no memory in. The vCPU of `mode` is at rest, and whoever
 * else could change its tables. Outside of long mode the upper half of `at` does not count. No lock
 * is held, no epoch section open.
 */
void gva_look(struct vm_space *space, const struct gva_mode *mode, gva_t at, struct gva_view *out);

/* Shows it: some lines of text of at most 80 columns, or JSON, one object per line. */
void gva_print(const struct gva_view *view, struct print_sink *out);
void gva_print_json(const struct gva_view *view, struct print_sink *out);

#endif
