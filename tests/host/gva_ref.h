/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a guest's CPU does with a linear address, written a second time and otherwise than vmio/gva:
 * the SDM's tables bit by bit and its sentences on access rights one after the other, over guest
 * memory that is an array. Slow on purpose.
 */
#ifndef TESTS_HOST_GVA_REF_H
#define TESTS_HOST_GVA_REF_H

#include "vmio/gva.h"

/*
 * Guest memory: `word` says where the word at `at` is for `want` (PT_READ, PT_WRITE); NULL: it is
 * not there, *err says why. It is called for each access of the walk, and may change what comes
 * after it. `marked` (may be NULL) is told of each word that was marked.
 */
struct gva_ref_memory {
	uint8_t *(*word)(uint64_t at, pt_attr_t want, bool bring_in, int *err);
	void (*marked)(uint64_t at);
};

/* As gva_translate, where nobody changes the tables but `word`; sets the marks in `memory`. */
struct gva_result gva_ref_translate(const struct gva_ref_memory *memory,
				    const struct gva_mode *mode, uint64_t va,
				    struct gva_access access);

/* May MOV CR3 load this value as a PDPTE? */
bool gva_ref_pdpte_ok(const struct gva_mode *mode, uint64_t value);

#endif
