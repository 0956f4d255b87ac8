/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Claims of several spaces against a naive list of them (parties.h). After each step the claims of
 * each space are compared.
 */
#include "base/err.h"
#include "tests/fuzz/parties.h"
#include "tests/host/arena.h"

#include <arch/this_cpu.h>

#define SPACES 3
#define STEPS  160
#define CLAIMS 1024

/* Of which nothing but the owners is used. */
static struct vm_space spaces[SPACES];

static struct {
	struct vm_space *space;
	struct owner_slot *slot; /* NULL: a list, or nothing */
	uint64_t id;
} claims[CLAIMS];
static unsigned claim_count;
static uint64_t last_id[MAX_CPUS];

/* --- steps ------------------------------------------------------------------------------------ */

/* Near one of a few places, so that ranges meet. */
static uint64_t take_place(struct input *in)
{
	unsigned how = (unsigned)input_take(in, 1);
	uint64_t small = how & 31;

	if (how < 0xc0)
		return small;
	return how < 0xe0 ? UINT64_MAX - small : (small << 40) + (uint64_t)input_take(in, 1);
}

static struct vm_range take_range(struct input *in)
{
	uint64_t a = take_place(in), b = take_place(in);

	if ((a ^ b) >> 32 == 0)
		b = a + (b & 7) >= a ? a + (b & 7) : a;
	return a < b ? (struct vm_range){ { a }, b - a } : (struct vm_range){ { b }, a - b };
}

static struct owner_party take_party(struct input *in)
{
	static const char *const names[] = { "one", "two", "three" };
	unsigned how = (unsigned)input_take(in, 1), cpu = cpu_id();
	struct owner_party party = {
		.id = owner_new_id(),
		.who = names[(how >> 2) % 3],
		.kind = (enum owner_kind)((how & 3) % 3),
	};

	/* Of this CPU's own sequence, and never one that there was. */
	FUZZ_CHECK(party.id > last_id[cpu] && party.id % MAX_CPUS == cpu);
	last_id[cpu] = party.id;
	return party;
}

static void note(struct vm_space *space, struct owner_slot *slot, uint64_t id)
{
	FUZZ_CHECK(claim_count < CLAIMS);
	claims[claim_count].space = space;
	claims[claim_count].slot = slot;
	claims[claim_count++].id = id;
}

static void step_claim(struct input *in, unsigned k)
{
	struct owner_party party = take_party(in);
	struct vm_range range = take_range(in);
	uint64_t end = range.at.gpa + range.len;
	struct owner_slot *slot = (void *)&party;
	int err = owner_claim(&spaces[k], range.at.gpa, end, &party, &slot);

	FUZZ_CHECK(parties_claim(&spaces[k], range.at.gpa, end, &party, OWNER_SLOTS) == err);
	FUZZ_CHECK((slot != NULL) == (err == 0 && range.len != 0));
	if (err == 0)
		note(&spaces[k], slot, party.id);
}

static void step_list(struct input *in, unsigned k)
{
	static struct vm_range ranges[OWNER_LIST];
	struct owner_party party = take_party(in);
	unsigned how = (unsigned)input_take(in, 1), n = how < 0x80 ? how & 7 : how - 0x80 + 1;
	struct vm_range first = take_range(in);
	uint64_t stride = input_take(in, 1) & 15;
	int err;

	/* No range of a list wraps. */
	if (n > 7 && first.at.gpa + first.len > UINT64_MAX / 2)
		return;
	for (unsigned i = 0; i < n; i++) {
		ranges[i] = n > 7 || i == 0 ? first : take_range(in);
		ranges[i].at.gpa += n > 7 ? i * stride : 0;
	}
	err = owner_claim_list(&spaces[k], ranges, n, &party);
	FUZZ_CHECK(parties_claim_list(&spaces[k], ranges, n, &party, OWNER_SLOTS) == err);
	if (err == 0)
		note(&spaces[k], NULL, party.id);
}

static void step_release(struct input *in)
{
	unsigned k = (unsigned)input_take(in, 1);
	bool list = (k & 0x80) != 0;

	if (claim_count == 0)
		return;
	k = (k & 0x7f) % claim_count;
	if (list || claims[k].slot == NULL)
		FUZZ_CHECK(owner_release_list(claims[k].space, claims[k].id) ==
			   parties_release(claims[k].space, claims[k].id));
	else
		FUZZ_CHECK(parties_release(claims[k].space, claims[k].id) == 1);
	if (!list)
		owner_release(claims[k].slot, claims[k].id);
	claims[k] = claims[--claim_count];
}

static void step_share(struct input *in, unsigned k)
{
	bool shared = (input_take(in, 1) & 1) != 0;

	owner_set_shared_readers(&spaces[k], shared);
	parties_set_shared(&spaces[k], shared);
}

static void step(struct input *in)
{
	unsigned how = (unsigned)input_take(in, 1), k = (how >> 4) % SPACES;

	switch (how & 15) {
	case 0:
		step_share(in, k);
		break;
	case 1:
		host_cpu = (unsigned)input_take(in, 1) % MAX_CPUS;
		break;
	case 2:
	case 3:
		step_list(in, k);
		break;
	case 4:
	case 5:
	case 6:
		step_release(in);
		break;
	default:
		step_claim(in, k);
		break;
	}
}

static void release_all(void)
{
	for (unsigned i = 0; i < claim_count; i++)
		owner_release_list(claims[i].space, claims[i].id);
	claim_count = 0;
	for (unsigned k = 0; k < SPACES; k++)
		owner_set_shared_readers(&spaces[k], true);
	host_cpu = 0;
	parties_begin();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	for (unsigned k = 0; k < SPACES; k++)
		owners_init(&spaces[k].owners);
	for (unsigned i = 0; i < STEPS && in.left != 0; i++) {
		step(&in);
		for (unsigned k = 0; k < SPACES; k++)
			parties_check(&spaces[k]);
		parties_audit(&spaces[i % SPACES]);
	}
	release_all();
	for (unsigned k = 0; k < SPACES; k++) {
		parties_check(&spaces[k]);
		owners_end(&spaces[k].owners);
	}
	return 0;
}
