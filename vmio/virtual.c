/* SPDX-License-Identifier: MPL-2.0 */
#include "vmio/virtual.h"

#include "vmio/piece.h"

static int outcome_error(enum gva_outcome outcome)
{
	switch (outcome) {
	case GVA_OK:
		return 0;
	case GVA_NO_MEMORY:
		return -ENOMEM;
	case GVA_BUSY:
		return -ETIMEDOUT;
	default:
		return -EFAULT;
	}
}

static int translate(const struct vm_io *io)
{
	struct vm_virtual *v = io->virt;
	struct gva_access access = {
		.kind = io->writes ? GVA_WRITE : GVA_READ,
		.user = v->user,
		.implicit = v->implicit,
		.probe = (io->use->flags & VM_PRESENT) != 0,
	};

	return outcome_error(
		gva_translate_again(io->space, v->mode, gva(io->at), access, v->fault, &v->pages));
}

/* What lies behind the address, claimed. */
static int find(struct vm_io *io, const struct gva_result *result, struct piece *p)
{
	uint64_t size = result->page_size != 0 ? result->page_size : PAGE_SIZE;
	gpa_t at = result->gpa;
	struct owner_party party = piece_party(io);
	uint64_t to_end = size - (io->at & (size - 1)), room;
	struct pt_place page = { 0 };
	int err = vm_page_find(io->space, at, io->writes ? PT_WRITE | VM_MARKS : PT_READ,
			       io->use->flags, io->needs, &page);

	if (err != 0)
		return err;
	p->at = page.at;
	room = vm_page_room(page, at);
	to_end = to_end < room ? to_end : room;
	p->n = p->n < to_end ? p->n : to_end;
	return owner_claim(io->space, at.gpa, at.gpa + p->n, &party, &p->slot);
}

int virtual_piece(struct vm_io *io, struct piece *p)
{
	int err = translate(io);

	return err != 0 ? err : find(io, io->virt->fault, p);
}
