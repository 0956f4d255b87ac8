/* SPDX-License-Identifier: MPL-2.0 */
/* The legacy interrupt controllers, two 8259A. (Intel 8259A data sheet) */
#ifndef BASE_X86_PIC_H
#define BASE_X86_PIC_H

/*
 * All lines masked, and moved to the vectors from VECTOR_PIC on, so that a spurious interrupt is
 * not taken for an exception. Once.
 */
void pic_setup(void);

/* Lets one line of the first controller in: `line` < 8. Its handler ends with pic_eoi. */
void pic_unmask(unsigned line);

/* Ends the interrupt of a line of the first controller. */
void pic_eoi(unsigned line);

#endif
