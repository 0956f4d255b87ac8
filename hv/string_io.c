/* SPDX-License-Identifier: MPL-2.0 */
#include "hv/string_io.h"

#include "base/err.h"
#include "base/x86/msr.h"
#include "base/x86/regs.h"
#include "hv/backend.h"
#include "hv/cpuid.h"
#include "vmio/virtual.h"

#define ITEMS_MAX 4096
#define TRIES	  1000
#define CS_LONG	  (1u << 9)
#define CS_32	  (1u << 10)

static const struct vm_use use = { .who = "INS/OUTS" };

struct string_io {
	struct guest *g;
	const struct vm_exit *exit;
	uint64_t base, mask; /* of the segment; of index and count */
	bool wide, paging, down;
	struct gva_mode mode;
	struct gva_result fault;
	struct vm_virtual virt;
};

/* The registers that decide on a translation. The PDPTEs are read now, not as of MOV CR3. */
static int mode_get(struct string_io *x, struct vcpu *v, const struct vcpu_state_full *s)
{
	x->mode = (struct gva_mode){
		.cr0 = s->cr0,
		.cr3 = s->cr3,
		.cr4 = s->cr4,
		.efer = s->efer,
		.maxphyaddr = (uint8_t)guest_cpuid(0x80000008, 0, v->id, s->cr4).eax,
		.rflags_ac = (s->rflags >> 18 & 1) != 0,
		.gib_pages = (guest_cpuid(0x80000001, 0, v->id, s->cr4).edx >> 26 & 1) != 0,
	};
	x->virt = (struct vm_virtual){
		.mode = &x->mode,
		.user = hv_backend->cpl(v) == 3,
		.fault = &x->fault,
	};
	if ((s->cr4 & CR4_PAE) == 0 || (s->efer & EFER_LMA) != 0)
		return 0;
	return gva_load_pdptes(&v->guest->space, &x->mode);
}

/* Segment overrides and address-size prefixes are not decoded: DS for OUTS, ES for INS. */
static int prepare(struct string_io *x, struct vcpu *v, const struct vm_exit *exit)
{
	struct vcpu_state_full s;

	hv_backend->get(v, &s);
	x->g = v->guest;
	x->exit = exit;
	x->wide = (s.efer & EFER_LMA) != 0 && (s.cs.attr & CS_LONG) != 0;
	x->base = x->wide ? 0 : exit->io.in ? s.es.base : s.ds.base;
	x->mask = x->wide ? UINT64_MAX : s.cs.attr & CS_32 ? UINT32_MAX : UINT16_MAX;
	x->down = (s.rflags & RFLAGS_DF) != 0;
	x->paging = (s.cr0 & CR0_PG) != 0;
	x->fault = (struct gva_result){ 0 };
	return x->paging ? mode_get(x, v, &s) : 0;
}

/* From the port: where paging is off its value is taken only when there is a place for it. */
static int item_in(struct string_io *x, uint64_t at)
{
	unsigned size = x->exit->io.size;
	struct vm_writer w;
	uint32_t value;
	int err = 0;

	if (x->paging)
		vm_writer_virtual(&w, &x->g->space, gva(at), size, &x->virt, &use);
	else
		err = vm_writer_guest(&w, &x->g->space, gpa(at), size, &use);
	if (err == 0)
		err = vm_io_activate(&w.io);
	if (err != 0)
		return err;
	value = guest_port_in(x->g, x->exit->io.port, size);
	err = -EBUSY;
	for (unsigned i = 0; i < TRIES && (err == -EBUSY || err == -EAGAIN); i++)
		err = vm_write_bytes(&w, &value, size);
	vm_io_dispose(&w.io);
	vm_io_remove(&w.io);
	return err == -EBUSY || err == -EAGAIN ? -EIO : err;
}

static int item_out(struct string_io *x, uint64_t at)
{
	unsigned size = x->exit->io.size;
	struct vm_reader r;
	uint32_t value = 0;
	int err = 0;

	if (x->paging)
		vm_reader_virtual(&r, &x->g->space, gva(at), size, &x->virt, &use);
	else
		err = vm_reader_guest(&r, &x->g->space, gpa(at), size, &use);
	if (err == 0)
		err = vm_io_activate(&r.io);
	if (err != 0)
		return err;
	err = vm_read_bytes(&r, &value, size);
	vm_io_dispose(&r.io);
	vm_io_remove(&r.io);
	if (err == 0)
		guest_port_out(x->g, x->exit->io.port, size, value);
	return err;
}

static int refuse(const struct string_io *x, uint64_t at, int err)
{
	unsigned long long linear = at;

	if (!x->paging)
		guest_stop(x->g, "INS or OUTS at guest-physical 0x%llx: no memory there", linear);
	else if (x->fault.outcome == GVA_PAGE_FAULT)
		guest_stop(x->g,
			   "INS or OUTS at linear 0x%llx: a page fault (error 0x%x) is not "
			   "delivered, touch the memory first",
			   linear, x->fault.error);
	else
		guest_stop(x->g, "INS or OUTS at linear 0x%llx: no memory there (%s)", linear,
			   err_name(err));
	return -EFAULT;
}

int string_io(struct vcpu *v, const struct vm_exit *exit)
{
	uint64_t *index = &v->gpr[exit->io.in ? GPR_RDI : GPR_RSI], *count = &v->gpr[GPR_RCX];
	struct string_io x;
	uint64_t step, done = 0, mask;
	int err = prepare(&x, v, exit);

	if (err != 0)
		return refuse(&x, x.mode.cr3, err);
	mask = x.mask;
	step = x.down ? 0 - (uint64_t)exit->io.size : exit->io.size;
	while (done < ITEMS_MAX && (!exit->io.rep || (*count & mask) != 0)) {
		uint64_t linear = x.base + (*index & mask);

		linear = x.wide ? linear : linear & UINT32_MAX;
		err = exit->io.in ? item_in(&x, linear) : item_out(&x, linear);
		/* Somebody else is at that memory, or the tables change: the guest does the rest
		 * once more. */
		if (err == -EBUSY || err == -EAGAIN)
			return 0;
		if (err != 0)
			return refuse(&x, linear, err);
		*index = (*index & ~mask) | ((*index + step) & mask);
		done++;
		if (!exit->io.rep)
			break;
		*count = (*count & ~mask) | ((*count - 1) & mask);
	}
	if (!exit->io.rep || (*count & mask) == 0)
		v->rip += exit->len;
	return 0;
}
