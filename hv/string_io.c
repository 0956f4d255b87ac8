/* SPDX-License-Identifier: MPL-2.0 */
#include "hv/string_io.h"

#include "base/err.h"
#include "base/x86/msr.h"
#include "base/x86/trap.h"
#include "hv/backend.h"
#include "hv/paging.h"
#include "vmio/vmio.h"

#define ITEMS_MAX 512
#define RAISED	  1 /* an exception for the guest is queued */

/* Of a segment. (SDM vol. 3, 3.4.5; attributes as in hv/vcpu.h) */
#define TYPE_WRITE (1u << 1) /* of code: readable */
#define TYPE_DOWN  (1u << 2) /* of data: expands down */
#define TYPE_CODE  (1u << 3)
#define PRESENT	   (1u << 7)
#define CODE_64	   (1u << 9)
#define BIG	   (1u << 10)

enum { SEGMENT_ES, SEGMENT_CS, SEGMENT_SS, SEGMENT_DS, SEGMENT_FS, SEGMENT_GS };

static const struct vm_use use = { .who = "INS/OUTS" };

struct string_io {
	struct vcpu *v;
	const struct vm_exit *exit;
	struct vcpu_state_full s;
	struct gva_mode mode;
	struct guest_pages pages;
	unsigned segment;
	bool other_size;  /* of addresses, by prefix */
	uint64_t mask;	  /* of index and count */
	bool in_64, user; /* in 64-bit mode; at CPL 3 */
	struct vm_range ranges[2];
	unsigned ranges_count;
};

static int raise(struct string_io *x, uint8_t vector, uint32_t error)
{
	hv_backend->inject(x->v, vector, true, error);
	return RAISED;
}

static int stop(struct string_io *x, uint64_t linear, const char *what)
{
	guest_stop(x->v->guest, "INS or OUTS at linear 0x%llx: %s", (unsigned long long)linear,
		   what);
	return -EFAULT;
}

/* --- what the instruction says ------------------------------------------------------------ */

static const struct vcpu_seg *segment(const struct string_io *x)
{
	const struct vcpu_seg *const all[] = { &x->s.es, &x->s.cs, &x->s.ss,
					       &x->s.ds, &x->s.fs, &x->s.gs };

	return all[x->segment];
}

static void take_prefix(struct string_io *x, uint8_t byte)
{
	static const uint8_t overrides[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };

	if (byte == 0x67)
		x->other_size = true;
	/* In 64-bit mode the first four say nothing, and do not take back what FS or GS said. */
	for (unsigned i = x->in_64 ? SEGMENT_FS : 0; i < sizeof(overrides) && !x->exit->io.in; i++)
		if (byte == overrides[i])
			x->segment = i;
}

/* --- one element -------------------------------------------------------------------------- */

static bool inside_limit(const struct vcpu_seg *seg, uint64_t first, uint64_t last)
{
	if ((seg->attr & (TYPE_CODE | TYPE_DOWN)) == TYPE_DOWN)
		return first > seg->limit && last <= (seg->attr & BIG ? UINT32_MAX : UINT16_MAX);
	return last <= seg->limit;
}

static bool has_right(const struct string_io *x, const struct vcpu_seg *seg)
{
	/* Real mode looks at the limit alone. */
	if ((x->s.cr0 & CR0_PE) == 0 || (x->s.rflags & RFLAGS_VM) != 0)
		return true;
	if ((seg->attr & PRESENT) == 0)
		return false;
	if (x->exit->io.in)
		return (seg->attr & (TYPE_CODE | TYPE_WRITE)) == TYPE_WRITE;
	return (seg->attr & (TYPE_CODE | TYPE_WRITE)) != TYPE_CODE;
}

/* From the offset in the segment to the linear address: 0, RAISED. */
static int linear_address(struct string_io *x, uint64_t offset, uint64_t *linear)
{
	const struct vcpu_seg *seg = segment(x);
	unsigned size = x->exit->io.size;
	bool ok;

	if (x->in_64) {
		*linear = offset + (x->segment >= SEGMENT_FS ? seg->base : 0);
		*linear = gva_masked(&x->mode, *linear);
		ok = gva_canonical(&x->mode, *linear) &&
		     gva_canonical(&x->mode, *linear + size - 1);
	} else {
		*linear = (offset + seg->base) & UINT32_MAX;
		ok = has_right(x, seg) && inside_limit(seg, offset, offset + size - 1);
	}
	if (!ok)
		return raise(x, x->segment == SEGMENT_SS && !x->in_64 ? VECTOR_SS : VECTOR_GP, 0);
	if (x->user && (x->s.cr0 & CR0_AM) != 0 && x->mode.rflags_ac && *linear % size != 0)
		return raise(x, VECTOR_AC, 0);
	return 0;
}

/* The host has no memory: what CPUs have just given up comes back in a turn or two. */
static int no_memory(struct string_io *x, uint64_t linear)
{
	return epoch_pending() != 0 ? -EAGAIN : stop(x, linear, "the host has no memory left");
}

static int refuse(struct string_io *x, uint64_t linear, const struct gva_result *r)
{
	switch (r->outcome) {
	case GVA_PAGE_FAULT:
		hv_backend->set_cr2(x->v, r->cr2);
		return raise(x, r->vector, r->error);
	case GVA_NONCANONICAL:
		return raise(x, r->vector, r->error);
	case GVA_WALK_STAGE2:
		return stop(x, linear, "a page table lies where there is no memory");
	case GVA_NO_MEMORY:
		return no_memory(x, linear);
	default:
		return -EAGAIN;
	}
}

/* The guest-physical ranges of the element: one, or two when it reaches over the end of a page. */
static int find(struct string_io *x, uint64_t linear)
{
	struct gva_access access = {
		.kind = x->exit->io.in ? GVA_WRITE : GVA_READ,
		.user = x->user,
	};
	unsigned size = x->exit->io.size;
	struct gva_result r;

	x->ranges_count = 0;
	for (unsigned done = 0; done < size;) {
		uint64_t at = x->in_64 ? linear + done : (linear + done) & UINT32_MAX;
		unsigned room = (unsigned)(PAGE_SIZE - (at & (PAGE_SIZE - 1)));
		unsigned len = room < size - done ? room : size - done;

		if (gva_translate_again(&x->v->guest->space, &x->mode, gva(at), access, &r,
					&x->pages) != GVA_OK)
			return refuse(x, linear, &r);
		x->ranges[x->ranges_count++] = (struct vm_range){ r.gpa, len };
		done += len;
	}
	return 0;
}

/* Brings in what the element needs, and finds the first page for the write. */
static int make_ready(const struct string_io *x, struct vm_writer *w)
{
	struct vm_writer second;
	uint64_t byte;
	int err = vm_atomic_load(&w->io, 1, &byte);

	if (err != 0 || x->ranges_count == 1)
		return err;
	second = *w;
	vm_io_skip(&second.io, x->ranges[0].len);
	return vm_atomic_load(&second.io, 1, &byte);
}

/* The port is asked when there is a place for its answer: it may not say it twice. (It is lost
 * where the place is taken away again in between, and then the host has no memory.) */
static int move_in(struct string_io *x)
{
	unsigned size = x->exit->io.size;
	struct vm_writer w;
	uint32_t value;
	int err = vm_writer_list(&w, &x->v->guest->space, x->ranges, x->ranges_count, &use);

	if (err == 0)
		err = vm_io_activate(&w.io);
	if (err != 0)
		return err;
	err = make_ready(x, &w);
	if (err == 0) {
		value = guest_port_in(x->v->guest, x->exit->io.port, size);
		err = vm_write_bytes(&w, &value, size);
	}
	vm_io_dispose(&w.io);
	vm_io_remove(&w.io);
	return err;
}

static int move_out(struct string_io *x)
{
	unsigned size = x->exit->io.size;
	struct vm_reader r;
	uint32_t value = 0;
	int err = vm_reader_list(&r, &x->v->guest->space, x->ranges, x->ranges_count, &use);

	if (err == 0)
		err = vm_io_activate(&r.io);
	if (err != 0)
		return err;
	err = vm_read_bytes(&r, &value, size);
	vm_io_dispose(&r.io);
	vm_io_remove(&r.io);
	if (err == 0)
		guest_port_out(x->v->guest, x->exit->io.port, size, value);
	return err;
}

static int element(struct string_io *x, uint64_t offset)
{
	uint64_t linear = 0;
	int err = linear_address(x, offset, &linear);

	if (err == 0)
		err = find(x, linear);
	if (err != 0)
		return err;
	err = x->exit->io.in ? move_in(x) : move_out(x);
	switch (err) {
	case 0:
		return 0;
	case -ENOMEM:
		return no_memory(x, linear);
	case -EBUSY: /* somebody else is at that memory */
	case -ENOSPC:
		return -EAGAIN;
	default:
		return stop(x, linear, "no memory there, or not with that right");
	}
}

/* --- all of them -------------------------------------------------------------------------- */

/* A byte of the instruction. The CPU has fetched it, but need not remember how: where the tables
 * say otherwise now, that counts. */
static int fetch(struct string_io *x, uint64_t rip, uint8_t *byte)
{
	struct gva_access access = { .kind = GVA_EXEC, .user = x->user };
	struct gva_result r;
	int err;

	if (gva_translate_again(&x->v->guest->space, &x->mode, gva(rip), access, &r, &x->pages) !=
	    GVA_OK)
		return refuse(x, rip, &r);
	err = vm_read_guest(&x->v->guest->space, r.gpa, byte, 1, &use);
	if (err == -EFAULT)
		return stop(x, rip, "the instruction cannot be read");
	if (err == -ENOMEM)
		return no_memory(x, rip);
	return err == 0 ? 0 : -EAGAIN;
}

static int read_prefixes(struct string_io *x)
{
	uint64_t rip = x->in_64 ? x->v->rip : x->s.cs.base + x->v->rip;

	for (unsigned i = 0; i + 1 < x->exit->len; i++) {
		uint8_t byte = 0;
		int err = fetch(x, x->in_64 ? rip + i : (rip + i) & UINT32_MAX, &byte);

		if (err != 0)
			return err;
		take_prefix(x, byte);
	}
	return 0;
}

static int decode(struct string_io *x)
{
	bool code_32 = !x->in_64 && (x->s.cs.attr & BIG) != 0;
	uint8_t bits = x->exit->io.bits;
	int err = 0;

	x->other_size = false;
	x->segment = x->exit->io.in ? SEGMENT_ES : SEGMENT_DS;
	if (bits != 0)
		x->segment = x->exit->io.in ? SEGMENT_ES : x->exit->io.segment % 6;
	else if (x->exit->len != 1u + x->exit->io.rep) /* more than the opcode, and REP */
		err = read_prefixes(x);
	if (bits == 0 && x->other_size)
		bits = code_32 ? 16 : 32;
	else if (bits == 0)
		bits = x->in_64 ? 64 : code_32 ? 32 : 16;
	x->mask = UINT64_MAX >> (64 - bits);
	return err;
}

static int prepare(struct string_io *x, struct vcpu *v, const struct vm_exit *exit)
{
	x->v = v;
	x->exit = exit;
	x->pages = (struct guest_pages){ 0 };
	hv_backend->get(v, &x->s);
	vcpu_gva_mode(v, &x->s, &x->mode);
	x->in_64 = (x->s.efer & EFER_LMA) != 0 && (x->s.cs.attr & CODE_64) != 0;
	x->user = hv_backend->cpl(v) == 3;
	return decode(x);
}

/* Registers of 32 bits clear what is above them. */
static void put(const struct string_io *x, uint64_t *reg, uint64_t value)
{
	uint64_t kept = x->mask == UINT32_MAX ? 0 : *reg & ~x->mask;

	*reg = kept | (value & x->mask);
}

int string_io(struct vcpu *v, const struct vm_exit *exit)
{
	uint64_t *index = &v->gpr[exit->io.in ? GPR_RDI : GPR_RSI], *count = &v->gpr[GPR_RCX];
	struct string_io x;
	int err = prepare(&x, v, exit);
	uint64_t step = x.s.rflags & RFLAGS_DF ? 0 - (uint64_t)exit->io.size : exit->io.size;

	for (unsigned done = 0; err == 0 && done < ITEMS_MAX; done++) {
		if (exit->io.rep && (*count & x.mask) == 0)
			break;
		err = element(&x, *index & x.mask);
		if (err != 0)
			break;
		put(&x, index, *index + step);
		if (!exit->io.rep)
			break;
		put(&x, count, *count - 1);
		if (tsc_read() >= v->turn_end)
			break;
	}
	if (err != 0)
		return err == RAISED ? 0 : err;
	if (!exit->io.rep || (*count & x.mask) == 0)
		v->rip += exit->len;
	return 0;
}
