/* SPDX-License-Identifier: MPL-2.0 */
#include "hv/string_io.h"

#include "base/err.h"
#include "base/x86/regs.h"
#include "hv/backend.h"
#include "vmio/vmio.h"

#define ITEMS_MAX 4096

static const struct vm_use use = { .who = "INS/OUTS" };

/* From the port: its value is taken only when there is a place for it. */
static int item_in(struct guest *g, const struct vm_exit *exit, gpa_t at)
{
	struct vm_writer w;
	uint32_t value;
	int err = vm_writer_guest(&w, &g->space, at, exit->io.size, &use);

	if (err == 0)
		err = vm_io_activate(&w.io);
	if (err != 0)
		return err;
	value = guest_port_in(g, exit->io.port, exit->io.size);
	err = vm_write_bytes(&w, &value, exit->io.size);
	vm_io_dispose(&w.io);
	vm_io_remove(&w.io);
	return err;
}

/* One item between the port and guest memory. */
static int move_item(struct guest *g, const struct vm_exit *exit, gpa_t at)
{
	uint32_t value = 0;
	int err;

	if (exit->io.in)
		return item_in(g, exit, at);
	err = vm_read_guest(&g->space, at, &value, exit->io.size, &use);
	if (err == 0)
		guest_port_out(g, exit->io.port, exit->io.size, value);
	return err;
}

int string_io(struct vcpu *v, const struct vm_exit *exit)
{
	uint64_t *index = &v->gpr[exit->io.in ? GPR_RDI : GPR_RSI], *count = &v->gpr[GPR_RCX];
	struct vcpu_state_full s;
	uint64_t step, done = 0, base, mask;

	hv_backend->get(v, &s);
	if (s.cr0 & CR0_PG) {
		guest_stop(v->guest,
			   "INS or OUTS to port 0x%x with paging on: not supported, use IN "
			   "and OUT",
			   exit->io.port);
		return -ENOSYS;
	}
	/* Segment overrides are not decoded: DS for OUTS, ES for INS. 16-bit code has 16-bit
	 * indexes. */
	base = exit->io.in ? s.es.base : s.ds.base;
	mask = s.cs.attr >> 10 & 1 ? UINT32_MAX : UINT16_MAX;
	step = s.rflags & RFLAGS_DF ? 0 - (uint64_t)exit->io.size : exit->io.size;
	while (done < ITEMS_MAX && (!exit->io.rep || (*count & mask) != 0)) {
		uint64_t linear = (base + (*index & mask)) & UINT32_MAX;
		int err = move_item(v->guest, exit, gpa(linear));

		/* Somebody else is at that memory: the guest executes the rest once more. */
		if (err == -EBUSY)
			return 0;
		if (err != 0) {
			guest_stop(v->guest,
				   "INS or OUTS at guest-physical 0x%llx: no memory there",
				   (unsigned long long)linear);
			return -EFAULT;
		}
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
