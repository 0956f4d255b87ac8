/* SPDX-License-Identifier: MPL-2.0 */
/* INS and OUTS as the hypervisor does them, over a guest of a few pages and a backend of our own.
 */
#include <CUnit/CUnit.h>
#include <string.h>

#include "base/err.h"
#include "base/x86/msr.h"
#include "base/x86/regs.h"
#include "ept/stage2.h"
#include "hv/backend.h"
#include "hv/fpu.h"
#include "hv/string_io.h"
#include "mm/frame_alloc.h"
#include "tests/host/arena.h"
#include "tests/host/gva_shape.h"
#include "vmio/vmio.h"

#define PORT	0x3ff /* keeps what is written to it */
#define PAGES	16    /* of RAM; the upper half is brought in when it is touched */
#define ROOT	0x1000
#define TABLE	0x2000
#define PLAIN	0x4000 /* linear addresses of the guest are physical ones, where there is a page */
#define CODE_32 (1u << 10)
#define CODE_64 (1u << 9)

static struct guest guest;
static struct vcpu vcpu;
static struct vm_exit io;

/* --- the rest of the hypervisor ------------------------------------------------------------- */

static struct {
	struct vcpu_state_full s;
	unsigned cpl, injected;
	uint8_t vector;
	uint32_t error;
	uint64_t cr2;
	bool no_memory;
} fake;

static void fake_inject(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error)
{
	CU_ASSERT(v == &vcpu && has_error);
	fake.injected++;
	fake.vector = vector;
	fake.error = error;
}

static void fake_set_cr2(struct vcpu *v, uint64_t cr2)
{
	CU_ASSERT_PTR_EQUAL(v, &vcpu);
	fake.cr2 = cr2;
}

static void fake_get(struct vcpu *v, struct vcpu_state_full *out)
{
	*out = fake.s;
	out->rip = v->rip;
}

static unsigned fake_cpl(struct vcpu *v)
{
	(void)v;
	return fake.cpl;
}

static const struct hv_backend fake_backend = {
	.inject = fake_inject,
	.set_cr2 = fake_set_cr2,
	.get = fake_get,
	.cpl = fake_cpl,
};
const struct hv_backend svm_backend, *hv_backend = &fake_backend;

uint32_t fpu_pkru(const struct vcpu *v)
{
	return v->pkru;
}

/* --- the guest ------------------------------------------------------------------------------ */

static void bring_in(uint64_t at)
{
	struct frame *f = frame_alloc(0, FRAME_GUEST, ALLOC_ZERO);
	struct vm_cursor c;

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_EQUAL_FATAL(
		vm_cursor_open(&c, &guest.space, gpa(at), gpa(at + PAGE_SIZE), VM_CHANGE), 0);
	CU_ASSERT_EQUAL_FATAL(vm_map(&c, f, PT_RWX | PT_MEM_WB), 0);
	vm_cursor_close(&c);
}

static int fault(void *context, gpa_t at, pt_attr_t want)
{
	(void)context;
	(void)want;
	if (at.gpa >= PAGES * PAGE_SIZE)
		return -EFAULT;
	if (fake.no_memory)
		return -ENOMEM;
	bring_in(round_down(at.gpa, PAGE_SIZE));
	return 0;
}

static void begin(void)
{
	arena_init(UINT64_C(16) << 20);
	npt_setup(true, 46);
	memset(&guest, 0, sizeof(guest));
	memset(&vcpu, 0, sizeof(vcpu));
	memset(&fake, 0, sizeof(fake));
	guest.output_lock = (struct spinlock)SPINLOCK_INIT(LOCK_LEAF);
	CU_ASSERT_EQUAL_FATAL(vm_space_init(&guest.space, &npt_ops), 0);
	vm_space_set_fault_handler(&guest.space, fault, NULL);
	for (uint64_t at = 0; at < PAGES / 2 * PAGE_SIZE; at += PAGE_SIZE)
		bring_in(at);
	vcpu.guest = &guest;
	vcpu.turn_end = UINT64_MAX;
	vcpu.rip = 0x123;
	hv_backend = &fake_backend;
	/* Real mode, big enough for all tests. */
	fake.s.rflags = RFLAGS_FIXED;
	fake.s.es = fake.s.ds = fake.s.ss = (struct vcpu_seg){ .attr = 0x93, .limit = 0xffff };
	fake.s.cs = (struct vcpu_seg){ .attr = 0x9b, .limit = 0xffff };
}

static void end(void)
{
	vm_space_destroy(&guest.space);
	epoch_drain();
	arena_fini();
}

static const struct vm_use use = { .who = "test" };

static void put(uint64_t at, const void *bytes, size_t n)
{
	CU_ASSERT_EQUAL_FATAL(vm_write_guest(&guest.space, gpa(at), bytes, n, &use), 0);
}

static uint64_t word(uint64_t at)
{
	uint64_t value = 0;

	CU_ASSERT_EQUAL_FATAL(vm_read_guest(&guest.space, gpa(at), &value, 8, &use), 0);
	return value;
}

/* Protected mode with 32-bit tables: pages `first` to `last` are there, with all rights. */
static void paging(unsigned first, unsigned last)
{
	uint32_t entry = TABLE | G_P | G_W | G_U;

	put(ROOT, &entry, 4);
	for (unsigned page = 0; page < PAGES; page++) {
		entry = page >= first && page <= last ? page << 12 | G_P | G_W | G_U : 0;
		put(TABLE + 4 * page, &entry, 4);
	}
	fake.s.cr0 = CR0_PE | CR0_PG | CR0_WP;
	fake.s.cr3 = ROOT;
	fake.s.cs.attr |= CODE_32;
	fake.s.es.limit = fake.s.ds.limit = fake.s.ss.limit = UINT32_MAX;
}

static int run(bool in, bool rep, uint8_t size)
{
	int err;

	io = (struct vm_exit){ .reason = EXIT_PORT, .len = (uint8_t)(rep ? 2 : 1) };
	io.io.port = PORT;
	io.io.size = size;
	io.io.in = in;
	io.io.string = true;
	io.io.rep = rep;
	epoch_enter();
	err = string_io(&vcpu, &io);
	epoch_exit();
	return err;
}

static uint64_t *rdi(void)
{
	return &vcpu.gpr[GPR_RDI];
}

static uint64_t *rsi(void)
{
	return &vcpu.gpr[GPR_RSI];
}

static uint64_t *rcx(void)
{
	return &vcpu.gpr[GPR_RCX];
}

/* --- without faults ------------------------------------------------------------------------- */

static void test_one(void)
{
	uint8_t byte = 0x5a;

	begin();
	put(PLAIN + 7, &byte, 1);
	*rsi() = PLAIN + 7;
	CU_ASSERT_EQUAL(run(false, false, 1), 0);
	CU_ASSERT(*rsi() == PLAIN + 8 && vcpu.rip == 0x124);
	CU_ASSERT_EQUAL(guest_port_in(&guest, PORT, 1), 0x5a);
	*rdi() = UINT64_C(0xabcd0000) + PLAIN; /* what is above 16 bits stays, and does not count */
	CU_ASSERT_EQUAL(run(true, false, 1), 0);
	CU_ASSERT_EQUAL(*rdi(), UINT64_C(0xabcd0000) + PLAIN + 1);
	CU_ASSERT_EQUAL(word(PLAIN), UINT64_C(0x5a0000000000005a));
	*rdi() = PLAIN + 2;
	CU_ASSERT_EQUAL(run(true, false, 4), 0);
	CU_ASSERT_EQUAL(word(PLAIN), UINT64_C(0x5a00ffffffff005a));
	CU_ASSERT_EQUAL(fake.injected, 0);
	end();
}

static void test_repeat(void)
{
	begin();
	guest_port_out(&guest, PORT, 1, 0x11);
	*rdi() = PLAIN + 3;
	*rcx() = 0xffff0003;
	CU_ASSERT_EQUAL(run(true, true, 1), 0);
	CU_ASSERT(*rdi() == PLAIN + 6 && *rcx() == 0xffff0000 && vcpu.rip == 0x125);
	CU_ASSERT_EQUAL(word(PLAIN), UINT64_C(0x111111000000));
	CU_ASSERT_EQUAL(run(true, true, 1), 0);
	CU_ASSERT(*rdi() == PLAIN + 6 && vcpu.rip == 0x127);
	/* Downwards, and around the end of 16 bits. */
	fake.s.rflags |= RFLAGS_DF;
	*rdi() = 1;
	*rcx() = 4;
	bring_in(0xf000);
	CU_ASSERT_EQUAL(run(true, true, 1), 0);
	CU_ASSERT(*rdi() == 0xfffd && *rcx() == 0);
	CU_ASSERT_EQUAL(word(0), 0x1111);
	CU_ASSERT_EQUAL(word(0xfff8), UINT64_C(0x1111000000000000));
	end();
}

/* No more than so many at a time; the rest when the guest comes again. */
static void test_many(void)
{
	begin();
	fake.s.cs.attr |= CODE_32;
	fake.s.cr0 = CR0_PE;
	fake.s.es.limit = UINT32_MAX;
	*rdi() = UINT64_C(0x700000000) + PLAIN;
	*rcx() = UINT64_C(0x500000000) + 5000;
	for (unsigned done = 512; done < 5000; done += 512) {
		CU_ASSERT_EQUAL(run(true, true, 1), 0);
		CU_ASSERT(*rdi() == PLAIN + done && *rcx() == 5000 - done && vcpu.rip == 0x123);
	}
	CU_ASSERT_EQUAL(run(true, true, 1), 0);
	CU_ASSERT(*rdi() == PLAIN + 5000 && *rcx() == 0 && vcpu.rip == 0x125);
	end();
}

/* Nor longer than its turn. */
static void test_turn_ends(void)
{
	begin();
	vcpu.turn_end = 0;
	*rdi() = PLAIN;
	*rcx() = 3;
	CU_ASSERT_EQUAL(run(true, true, 1), 0);
	CU_ASSERT(*rdi() == PLAIN + 1 && *rcx() == 2 && vcpu.rip == 0x123);
	end();
}

/* --- faults --------------------------------------------------------------------------------- */

static void raised(uint8_t vector, uint32_t error, uint64_t cr2)
{
	CU_ASSERT_EQUAL(fake.injected, 1);
	CU_ASSERT_EQUAL(fake.vector, vector);
	CU_ASSERT_EQUAL(fake.error, error);
	CU_ASSERT_EQUAL(fake.cr2, cr2);
	CU_ASSERT_EQUAL(vcpu.rip, 0x123);
	fake.injected = 0;
	fake.cr2 = 0;
}

static void test_page_faults(void)
{
	begin();
	paging(4, 4);
	*rdi() = PLAIN + PAGE_SIZE - 3;
	*rcx() = 10;
	CU_ASSERT_EQUAL(run(true, true, 1), 0);
	raised(14, 2, PLAIN + PAGE_SIZE);
	CU_ASSERT(*rdi() == PLAIN + PAGE_SIZE && *rcx() == 7);
	/* Over the end of the page: its last byte stays. */
	put(PLAIN + PAGE_SIZE - 8, "abcdefgh", 8);
	*rdi() = PLAIN + PAGE_SIZE - 2;
	CU_ASSERT_EQUAL(run(true, true, 4), 0);
	raised(14, 2, PLAIN + PAGE_SIZE);
	CU_ASSERT(*rdi() == PLAIN + PAGE_SIZE - 2 && *rcx() == 7);
	CU_ASSERT_EQUAL(word(PLAIN + PAGE_SIZE - 8), UINT64_C(0x6867666564636261));
	fake.cpl = 3;
	*rsi() = 0x6010;
	CU_ASSERT_EQUAL(run(false, false, 2), 0);
	raised(14, 4, 0x6010);
	CU_ASSERT_EQUAL(*rsi(), 0x6010);
	end();
}

static void test_segments(void)
{
	static const struct {
		bool in;
		uint16_t attr;
		uint32_t limit, at;
		uint8_t size;
		bool fault;
	} rows[] = {
		{ true, 0x93, 99, 99, 1, false },
		{ true, 0x93, 99, 100, 1, true },
		{ true, 0x93, 99, 97, 4, true },
		{ true, 0x93, 99, 96, 4, false },
		{ true, 0x91, 99, 0, 1, true },
		{ false, 0x91, 99, 0, 1, false },
		{ true, 0x9b, 99, 0, 1, true },
		{ false, 0x9b, 99, 0, 1, false },
		{ false, 0x99, 99, 0, 1, true },
		{ true, 0x13, 99, 0, 1, true },
		{ true, 0x97, 99, 99, 1, true },
		{ true, 0x97, 99, 100, 1, false },
		{ true, 0x97, 99, 0xffff, 1, false },
		{ true, 0x97, 99, 0xffff, 2, true },
		{ true, 0x93, 0xffffffff, 0xffffffff, 2, true },
		{ true, 0x93, 99, 0xffffffff, 1, true },
	};

	begin();
	fake.s.cs.attr |= CODE_32;
	bring_in(0xf000);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fake.s.cr0 = CR0_PE;
		fake.s.es = fake.s.ds = (struct vcpu_seg){ .attr = rows[i].attr,
							   .limit = rows[i].limit };
		*rdi() = *rsi() = rows[i].at;
		vcpu.rip = 0x123;
		CU_ASSERT_EQUAL(run(rows[i].in, false, rows[i].size), 0);
		if (rows[i].fault)
			raised(13, 0, 0);
		CU_ASSERT_EQUAL(fake.injected, 0);
		CU_ASSERT_EQUAL(vcpu.rip, rows[i].fault ? 0x123 : 0x124);
	}
	end();
}

/* Prefixes, where the CPU says nothing of them, and where it does. */
static void test_prefixes(void)
{
	begin();
	fake.s.ss.base = 0x1000;
	fake.s.ss.limit = 0xff;
	put(0x123, "\x36\x67\x6e", 3); /* by SS, an address of 32 bits: OUTSB */
	put(0x1080, "s", 1);
	put(0x80, "d", 1);
	*rsi() = 0x80;
	io = (struct vm_exit){ .reason = EXIT_PORT, .len = 3 };
	io.io.port = PORT;
	io.io.size = 1;
	io.io.string = true;
	epoch_enter();
	CU_ASSERT_EQUAL(string_io(&vcpu, &io), 0);
	CU_ASSERT_EQUAL(guest_port_in(&guest, PORT, 1), 's');
	*rsi() = UINT64_C(0x10080);
	vcpu.rip = 0x123;
	CU_ASSERT_EQUAL(string_io(&vcpu, &io), 0);
	raised(12, 0, 0);
	io.io.bits = 16;
	io.io.segment = 3;
	CU_ASSERT_EQUAL(string_io(&vcpu, &io), 0);
	CU_ASSERT_EQUAL(guest_port_in(&guest, PORT, 1), 'd');
	epoch_exit();
	CU_ASSERT_EQUAL(fake.injected, 0);
	end();
}

/* The tables no longer allow the fetch. */
static void test_fetch_faults(void)
{
	begin();
	paging(4, 4);
	io = (struct vm_exit){ .reason = EXIT_PORT, .len = 2 };
	io.io.port = PORT;
	io.io.size = 1;
	io.io.string = true;
	*rsi() = PLAIN;
	epoch_enter();
	CU_ASSERT_EQUAL(string_io(&vcpu, &io), 0);
	epoch_exit();
	raised(14, 0, 0x123);
	end();
}

static void test_64_bits(void)
{
	const struct gva_shape *s = &gva_shapes[6];
	uint64_t page;

	begin();
	for (unsigned level = 4; level >= 2; level--) {
		/* Tables in pages 1 to 3, one page of 2 MiB at 0. */
		uint64_t value = level == 2 ? G_P | G_W | G_PS
					    : (uint64_t)(level - 2) << 12 | G_P | G_W;
		uint64_t index = GVA_SHAPE_VA >> gva_shape_shift(s, level) & 511;

		put(((uint64_t)(level - 1) << 12) + 8 * index, &value, 8);
	}
	fake.s.cr0 = CR0_PE | CR0_PG;
	fake.s.cr3 = 0x3000;
	fake.s.cr4 = CR4_PAE;
	fake.s.efer = EFER_LMA | EFER_LME;
	fake.s.cs.attr |= CODE_64;
	fake.s.ds = (struct vcpu_seg){ 0 };
	*rsi() = round_down(GVA_SHAPE_VA, UINT64_C(1) << 21) + PLAIN;
	put(PLAIN, "x", 1);
	CU_ASSERT_EQUAL(run(false, false, 1), 0);
	CU_ASSERT_EQUAL(guest_port_in(&guest, PORT, 1), 'x');
	CU_ASSERT_EQUAL(fake.injected, 0);
	/* By FS, which the prefix of DS after it does not take back. */
	put(0x123, "\x64\x3e\x6e", 3);
	put(PLAIN + 0x40, "f", 1);
	vcpu.rip = round_down(GVA_SHAPE_VA, UINT64_C(1) << 21) + 0x123;
	fake.s.fs.base = 0x40;
	*rsi() = round_down(GVA_SHAPE_VA, UINT64_C(1) << 21) + PLAIN;
	io = (struct vm_exit){ .reason = EXIT_PORT, .len = 3 };
	io.io.port = PORT;
	io.io.size = 1;
	io.io.string = true;
	epoch_enter();
	CU_ASSERT_EQUAL(string_io(&vcpu, &io), 0);
	epoch_exit();
	CU_ASSERT_EQUAL(guest_port_in(&guest, PORT, 1), 'f');
	CU_ASSERT_EQUAL(fake.injected, 0);
	/* It is fetched, not read: from a page of data it cannot be. */
	page = G_P | G_W | G_PS | G_NX;
	put(0x1000 + 8 * (GVA_SHAPE_VA >> gva_shape_shift(s, 2) & 511), &page, 8);
	fake.s.efer |= EFER_NXE;
	vcpu.rip = round_down(GVA_SHAPE_VA, UINT64_C(1) << 21) + 0x123;
	epoch_enter();
	CU_ASSERT_EQUAL(string_io(&vcpu, &io), 0);
	epoch_exit();
	CU_ASSERT(fake.injected == 1 && fake.vector == 14 && fake.error == 0x11);
	CU_ASSERT_EQUAL(fake.cr2, round_down(GVA_SHAPE_VA, UINT64_C(1) << 21) + 0x123);
	fake.injected = 0;
	fake.cr2 = 0;
	fake.s.efer &= ~(uint64_t)EFER_NXE;
	page = G_P | G_W | G_PS;
	put(0x1000 + 8 * (GVA_SHAPE_VA >> gva_shape_shift(s, 2) & 511), &page, 8);
	vcpu.rip = 0x123;
	*rsi() = UINT64_C(0x7fffffffffff);
	CU_ASSERT_EQUAL(run(false, false, 2), 0);
	raised(13, 0, 0);
	*rsi() = UINT64_C(1) << 63;
	CU_ASSERT_EQUAL(run(false, false, 1), 0);
	raised(13, 0, 0);
	end();
}

/* --- what is nobody's fault but the host's -------------------------------------------------- */

static void test_somebody_else(void)
{
	struct vm_writer w;

	begin();
	CU_ASSERT_EQUAL(vm_writer_guest(&w, &guest.space, gpa(PLAIN), 8, &use), 0);
	CU_ASSERT_EQUAL(vm_io_activate(&w.io), 0);
	*rdi() = PLAIN - 2;
	*rcx() = 5;
	CU_ASSERT_EQUAL(run(true, true, 1), -EAGAIN);
	CU_ASSERT(*rdi() == PLAIN && *rcx() == 3 && vcpu.rip == 0x123);
	vm_io_dispose(&w.io);
	vm_io_remove(&w.io);
	CU_ASSERT_EQUAL(run(true, true, 1), 0);
	CU_ASSERT(*rdi() == PLAIN + 3 && *rcx() == 0 && fake.injected == 0);
	end();
}

/* So many are there that there is no room for one more. */
static void test_no_room(void)
{
	static struct vm_reader others[OWNER_SLOTS];

	begin();
	*rdi() = PLAIN;
	for (unsigned i = 0; i < OWNER_SLOTS; i++) {
		CU_ASSERT_EQUAL(vm_reader_guest(&others[i], &guest.space, gpa(0), 1, &use), 0);
		CU_ASSERT_EQUAL(vm_io_activate(&others[i].io), 0);
	}
	CU_ASSERT_EQUAL(run(true, false, 1), -EAGAIN);
	CU_ASSERT(*rdi() == PLAIN && vcpu.rip == 0x123 && fake.injected == 0);
	for (unsigned i = 0; i < OWNER_SLOTS; i++)
		vm_io_dispose(&others[i].io);
	CU_ASSERT_EQUAL(run(true, false, 1), 0);
	CU_ASSERT(*rdi() == PLAIN + 1);
	end();
}

static void test_no_memory(void)
{
	begin();
	*rdi() = PAGES / 2 * PAGE_SIZE;
	fake.no_memory = true;
	CU_ASSERT_EQUAL(epoch_pending(), 0);
	CU_ASSERT_EQUAL(run(true, false, 1), -EFAULT);
	CU_ASSERT_EQUAL(atomic_load(&guest.state), GUEST_STOPPED);
	CU_ASSERT_STRING_EQUAL(guest.why,
			       "INS or OUTS at linear 0x8000: the host has no memory left");
	end();
}

static void test_nowhere(void)
{
	begin();
	fake.s.es.base = PAGES * PAGE_SIZE;
	CU_ASSERT_EQUAL(run(true, false, 1), -EFAULT);
	CU_ASSERT_STRING_EQUAL(guest.why,
			       "INS or OUTS at linear 0x10000: no memory there, or not with that "
			       "right");
	end();
	begin();
	paging(0, 15);
	fake.s.cr3 = PAGES * PAGE_SIZE;
	CU_ASSERT_EQUAL(run(false, false, 1), -EFAULT);
	CU_ASSERT_STRING_EQUAL(
		guest.why, "INS or OUTS at linear 0x0: a page table lies where there is no memory");
	CU_ASSERT_EQUAL(fake.injected, 0);
	end();
}

void suite_string_io(void);
void suite_string_io(void)
{
	CU_pSuite s = CU_add_suite("INS and OUTS", NULL, NULL);

	CU_add_test(s, "one element", test_one);
	CU_add_test(s, "REP", test_repeat);
	CU_add_test(s, "many elements", test_many);
	CU_add_test(s, "a turn ends", test_turn_ends);
	CU_add_test(s, "page faults", test_page_faults);
	CU_add_test(s, "segments", test_segments);
	CU_add_test(s, "prefixes", test_prefixes);
	CU_add_test(s, "a fetch that faults", test_fetch_faults);
	CU_add_test(s, "64 bits", test_64_bits);
	CU_add_test(s, "somebody else's memory", test_somebody_else);
	CU_add_test(s, "no room", test_no_room);
	CU_add_test(s, "no memory", test_no_memory);
	CU_add_test(s, "nowhere", test_nowhere);
}
