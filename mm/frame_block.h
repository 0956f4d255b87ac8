/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Blocks that change their shape while they are in use: 1 GiB into 2 MiB pieces, 2 MiB into pages,
 * and back. No lock is taken, and others may look at the memory all the while (frame_head), or try
 * to get a reference (frame_from_in_use answers -EBUSY for the moment that it takes).
 */
#ifndef MM_FRAME_BLOCK_H
#define MM_FRAME_BLOCK_H

#include "mm/frame.h"

#define FRAME_PARTS 512 /* of a block, each of the order that is 9 less */

/*
 * Splits the block at `f`, of order 9 or more, into its 512 parts. The caller owns its only
 * reference, and then one to each part; or the block is unique, and then each part is. The parts
 * have its kind and its word. 0, or -EBUSY when there are other references: nothing changed.
 * Panics when the block is in a list.
 */
int frame_split(struct frame *f);

/*
 * The inverse: 512 neighbours from `first` on, blocks of order 0 or 9, become one. The caller owns
 * the only reference to each, and then the one to the whole; or all are unique, in no list, and
 * then the whole is. It has the kind of all and the word of the first. The order in which the
 * parts were made does not matter, nor where they came from.
 *
 * 0, or with nothing changed:
 *   -EINVAL  `first` is not the head of a block of order 0 or 9 at a multiple of the larger size
 *   -ERANGE  not all of it is RAM
 *   -ENOENT  a neighbour is no head of the same order and kind
 *   -EBUSY   a neighbour has other references, or is in a list
 */
int frame_join(struct frame *first);

#endif
