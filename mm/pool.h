/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Objects of one small size, cut from pages of FRAME_KERNEL. What is reserved beforehand is there
 * when it is needed, so that code behind a reservation cannot fail for want of memory. Pages stay
 * with the pool until its end: it is as large as it has ever been. No locking of its own.
 */
#ifndef MM_POOL_H
#define MM_POOL_H

#include <stdint.h>

struct frame;
struct pool_object;

struct pool {
	uint64_t size;		  /* bytes of an object */
	uint64_t spare, used;	  /* objects */
	struct pool_object *free; /* the spare ones */
	struct frame *pages;	  /* linked by defer.next */
};

/* An empty pool of objects of `size` bytes, a multiple of 8, at least 8, at most a page. */
void pool_init(struct pool *p, uint64_t size);

/* Sees to it that `n` objects are spare. -ENOMEM: not all of them are, nothing else has changed. */
int pool_reserve(struct pool *p, unsigned n);

/* A spare object, all bytes zero. Precondition: there is one (pool_reserve). */
void *pool_get(struct pool *p);

/* Takes an object back; never fails. `object` is from pool_get of this pool, and dead now. */
void pool_put(struct pool *p, void *object);

/* Gives all pages back. Precondition: no object is in use. */
void pool_fini(struct pool *p);

#endif
