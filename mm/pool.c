/* SPDX-License-Identifier: MPL-2.0 */
#include "mm/pool.h"

#include "base/contract.h"
#include "base/err.h"
#include "base/list.h"
#include "base/string.h"
#include "mm/frame_alloc.h"

struct pool_object {
	struct pool_object *next;
};

void pool_init(struct pool *p, uint64_t size)
{
	REQUIRES(size >= sizeof(struct pool_object) && size <= PAGE_SIZE && size % 8 == 0);
	*p = (struct pool){ .size = size };
}

static void object_add(struct pool *p, void *at)
{
	struct pool_object *object = at;

	object->next = p->free;
	p->free = object;
	p->spare++;
}

static int page_add(struct pool *p)
{
	struct frame *page = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL, 0);
	char *at;

	if (page == NULL)
		return -ENOMEM;
	at = hpa_ptr(frame_hpa(page));
	page->defer.next = p->pages == NULL ? NULL : &p->pages->defer;
	p->pages = page;
	for (uint64_t i = 0; i < PAGE_SIZE / p->size; i++)
		object_add(p, at + i * p->size);
	return 0;
}

int pool_reserve(struct pool *p, unsigned n)
{
	while (p->spare < n) {
		int err = page_add(p);

		if (err != 0)
			return err;
	}
	return 0;
}

void *pool_get(struct pool *p)
{
	struct pool_object *object = p->free;

	REQUIRES(p->spare != 0);
	p->free = object->next;
	p->spare--;
	p->used++;
	return memset(object, 0, p->size);
}

void pool_put(struct pool *p, void *object)
{
	REQUIRES(p->used != 0);
	p->used--;
	object_add(p, object);
}

void pool_fini(struct pool *p)
{
	REQUIRES(p->used == 0);
	while (p->pages != NULL) {
		struct frame *page = p->pages;
		struct epoch_item *next = page->defer.next;

		p->pages = next == NULL ? NULL : container_of(next, struct frame, defer);
		frame_put(page);
	}
	pool_init(p, p->size);
}
