/* SPDX-License-Identifier: MPL-2.0 */
#include "mm/range.h"

#include <stddef.h>

#include "base/contract.h"
#include "base/err.h"
#include "base/print.h"

enum { LEFT, RIGHT }; /* lower addresses, higher addresses */

struct range_block {
	uint64_t start, bytes;
	void *owner; /* NULL: free */
	struct range_block *child[2];
	uint64_t largest; /* bytes of the largest free block in this subtree, 0 for none */
	unsigned height;  /* of this subtree */
};

static bool page_multiple(uint64_t x)
{
	return (x & (PAGE_SIZE - 1)) == 0;
}

static unsigned height(const struct range_block *t)
{
	return t != NULL ? t->height : 0;
}

static uint64_t largest(const struct range_block *t)
{
	return t != NULL ? t->largest : 0;
}

static uint64_t own_free(const struct range_block *t)
{
	return t->owner == NULL ? t->bytes : 0;
}

static uint64_t max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void update(struct range_block *t)
{
	const struct range_block *l = t->child[LEFT], *r = t->child[RIGHT];

	t->height = 1 + (unsigned)max(height(l), height(r));
	t->largest = max(own_free(t), max(largest(l), largest(r)));
}

/*
 * The child on `side` comes up, t goes down to the other side (here: LEFT):
 *
 *        t            c
 *       / \          / \
 *      c   3   ->   1   t
 *     / \              / \
 *    1   2            2   3
 */
static struct range_block *rotate(struct range_block *t, unsigned side)
{
	struct range_block *c = t->child[side];

	t->child[side] = c->child[!side];
	c->child[!side] = t;
	update(t);
	update(c);
	return c;
}

/* The new top of a subtree of which one side has become higher or lower by one. */
static struct range_block *balance(struct range_block *t)
{
	update(t);
	for (unsigned side = LEFT; side <= RIGHT; side++) {
		struct range_block *c = t->child[side];

		if (height(c) <= height(t->child[!side]) + 1)
			continue;
		/* The inner grandchild must not be the higher one, or turning would not help. */
		if (height(c->child[!side]) > height(c->child[side]))
			t->child[side] = rotate(c, !side);
		return rotate(t, side);
	}
	return t;
}

/* These three return the new top of the subtree t. They are as deep as the tree is high. */
static struct range_block *insert(struct range_block *t, struct range_block *b)
{
	unsigned side;

	if (t == NULL) {
		update(b);
		return b;
	}
	side = b->start > t->start ? RIGHT : LEFT;
	t->child[side] = insert(t->child[side], b);
	return balance(t);
}

static struct range_block *take_first(struct range_block *t, struct range_block **first)
{
	if (t->child[LEFT] == NULL) {
		*first = t;
		return t->child[RIGHT];
	}
	t->child[LEFT] = take_first(t->child[LEFT], first);
	return balance(t);
}

static struct range_block *take_out(struct range_block *t, uint64_t start)
{
	struct range_block *next;

	if (start != t->start) {
		unsigned side = start > t->start ? RIGHT : LEFT;

		t->child[side] = take_out(t->child[side], start);
		return balance(t);
	}
	if (t->child[RIGHT] == NULL)
		return t->child[LEFT];
	t->child[RIGHT] = take_first(t->child[RIGHT], &next);
	next->child[LEFT] = t->child[LEFT];
	next->child[RIGHT] = t->child[RIGHT];
	return balance(next);
}

/* After the block at `start` has changed: what the nodes on the way to it know. */
static void refresh(struct range_block *t, uint64_t start)
{
	if (start != t->start)
		refresh(t->child[start > t->start ? RIGHT : LEFT], start);
	update(t);
}

/* The block that contains `at`; NULL outside of the space. */
static struct range_block *block_at(const struct range *r, uint64_t at)
{
	struct range_block *t = r->root;

	while (t != NULL && at - t->start >= t->bytes)
		t = t->child[at < t->start ? LEFT : RIGHT];
	return t;
}

/* The lowest free block of at least `bytes`. Precondition: there is one below t. */
static struct range_block *first_fit(struct range_block *t, uint64_t bytes)
{
	for (;;) {
		if (largest(t->child[LEFT]) >= bytes)
			t = t->child[LEFT];
		else if (own_free(t) >= bytes)
			return t;
		else
			t = t->child[RIGHT];
	}
}

/* Makes a block of what no node covers any more. */
static struct range_block *block_add(struct range *r, uint64_t start, uint64_t bytes, void *owner)
{
	struct range_block *b = pool_get(&r->blocks);

	b->start = start;
	b->bytes = bytes;
	b->owner = owner;
	r->root = insert(r->root, b);
	return b;
}

int range_init(struct range *r, uint64_t start, uint64_t end)
{
	REQUIRES(start < end && page_multiple(start | end));
	*r = (struct range){ .start = start, .end = end };
	pool_init(&r->blocks, sizeof(struct range_block));
	if (pool_reserve(&r->blocks, 1) != 0)
		return -ENOMEM;
	block_add(r, start, end - start, NULL);
	return 0;
}

void range_fini(struct range *r)
{
	while (r->root != NULL) {
		struct range_block *first;

		r->root = take_first(r->root, &first);
		pool_put(&r->blocks, first);
	}
	pool_fini(&r->blocks);
}

int range_alloc(struct range *r, uint64_t bytes, uint64_t align, void *owner, uint64_t *start)
{
	uint64_t space = r->end - r->start, need = bytes + (align - PAGE_SIZE), end;
	struct range_block *b;

	REQUIRES(bytes != 0 && page_multiple(bytes) && owner != NULL);
	REQUIRES(align >= PAGE_SIZE && (align & (align - 1)) == 0);
	if (bytes > space || align > space || need < bytes || r->root->largest < need)
		return -ENOSPC;
	/* At most: what is handed out, and what is left behind it. */
	if (pool_reserve(&r->blocks, 2) != 0)
		return -ENOMEM;
	b = first_fit(r->root, need);
	end = b->start + b->bytes;
	*start = round_up(b->start, align);
	if (*start == b->start) {
		b->bytes = bytes;
		b->owner = owner;
	} else {
		b->bytes = *start - b->start;
	}
	refresh(r->root, b->start);
	if (*start != b->start)
		block_add(r, *start, bytes, owner);
	if (end != *start + bytes)
		block_add(r, *start + bytes, end - (*start + bytes), NULL);
	return 0;
}

/* Joins b, free, with the block behind it if that is free, too. */
static void join_next(struct range *r, struct range_block *b)
{
	struct range_block *next = block_at(r, b->start + b->bytes);

	if (next == NULL || next->owner != NULL)
		return;
	r->root = take_out(r->root, next->start);
	b->bytes += next->bytes;
	pool_put(&r->blocks, next);
}

int range_free(struct range *r, uint64_t start, uint64_t bytes)
{
	struct range_block *b = block_at(r, start), *before;

	if (b == NULL || bytes == 0 || !page_multiple(start | bytes) || bytes > r->end - start)
		return -EINVAL;
	if (b->owner == NULL || b->start != start || b->bytes != bytes)
		return -ENOENT;
	b->owner = NULL;
	join_next(r, b);
	refresh(r->root, b->start);
	before = block_at(r, start - 1);
	if (before != NULL && before->owner == NULL) {
		join_next(r, before);
		refresh(r->root, before->start);
	}
	return 0;
}

void *range_owner(const struct range *r, uint64_t at)
{
	const struct range_block *b = block_at(r, at);

	return b != NULL ? b->owner : NULL;
}

static void audit_fail(struct range_audit *a, uint64_t at, const char *what)
{
	char text[120];

	format(text, sizeof(text), "address ranges, block 0x%llx: %s", (unsigned long long)at,
	       what);
	a->violations++;
	a->report(text);
}

static void audit_node(const struct range_block *t, struct range_audit *a)
{
	const struct range_block *l = t->child[LEFT], *r = t->child[RIGHT];

	if (t->height != 1 + max(height(l), height(r)))
		audit_fail(a, t->start, "its height is wrong");
	if (height(l) > height(r) + 1 || height(r) > height(l) + 1)
		audit_fail(a, t->start, "out of balance");
	if (t->largest != max(own_free(t), max(largest(l), largest(r))))
		audit_fail(a, t->start, "what it knows of the free blocks below is wrong");
	if (t->bytes == 0 || !page_multiple(t->start | t->bytes))
		audit_fail(a, t->start, "empty, or not of whole pages");
}

/* In the order of addresses: `at` is where the next block must begin. */
struct audit_place {
	uint64_t at;
	bool after_free;
	unsigned depth;
};

static void audit_below(const struct range_block *t, struct audit_place *p, struct range_audit *a)
{
	if (t == NULL)
		return;
	p->depth++;
	a->depth = (unsigned)max(a->depth, p->depth);
	audit_below(t->child[LEFT], p, a);
	audit_node(t, a);
	if (t->start != p->at)
		audit_fail(a, t->start, "does not begin where the one before ends");
	if (t->owner == NULL && p->after_free)
		audit_fail(a, t->start, "not joined with the free one before");
	*(t->owner == NULL ? &a->free : &a->used) += 1;
	*(t->owner == NULL ? &a->free_bytes : &a->used_bytes) += t->bytes;
	p->at = t->start + t->bytes;
	p->after_free = t->owner == NULL;
	audit_below(t->child[RIGHT], p, a);
	p->depth--;
}

uint64_t range_audit(const struct range *r, struct range_audit *out)
{
	struct audit_place p = { .at = r->start };

	*out = (struct range_audit){ .report = out->report, .largest = largest(r->root) };
	audit_below(r->root, &p, out);
	if (p.at != r->end)
		audit_fail(out, p.at, "the end of the space is not covered");
	if (r->blocks.used != out->used + out->free)
		audit_fail(out, r->start, "some node is not in the tree");
	return out->violations;
}
