/* SPDX-License-Identifier: MPL-2.0 */
/*
 * W8: copies between a guest and the hypervisor, beside memcpy of the same bytes and a plain walk
 * of the same tree. A guest's page i is the host's page i of one region, so that both copy the same
 * memory; mapped in 4 KiB leaves, or (the ids that end in .2m) in 2 MiB leaves. All in one epoch
 * section, as a CPU handles all that a guest's exit brings.
 */
#include <string.h>

#include "base/x86/msr.h"
#include "base/x86/regs.h"
#include "ept/stage2.h"
#include "mm/frame_alloc.h"
#include "mm/frame_block.h"
#include "tests/bench/mm/bench.h"
#include "vmio/virtual.h"

#define RW	(PT_RW | PT_MEM_WB | PT_ACCESSED | PT_DIRTY)
#define WORDS	UINT64_C(4194304)
#define CLAIMS	UINT64_C(1048576)
#define SMALL	UINT64_C(64)
#define BLOCKS	(BENCH_PAGES / 512)
#define ADDRESS UINT64_C(0x000ffffffffff000)

static const struct vm_use use = { .who = "bench" };
static struct vm_space space;
static struct vm_reader reader;
static struct vm_writer writer;
static uint8_t *region; /* where the guest's first page is */
static uint8_t buffer[SIZE_2M] __attribute__((aligned(4096)));

static void must(bool ok)
{
	if (!ok)
		panic("a copy failed");
}

#define PARTS 512 /* of a block that is split */

static struct frame *frames[BENCH_PAGES];

/* 1 GiB that lies together in the host. */
static struct frame *memory_take(void)
{
	struct frame *block = frame_alloc(FRAME_ORDER_1G, FRAME_GUEST, 0);

	must(block != NULL);
	region = frame_bytes(block);
	must(vm_space_init(&space, &ept_ops) == 0);
	must(frame_split(block) == 0);
	return block;
}

static void map_all(uint64_t n)
{
	struct vm_cursor c;
	uint64_t done;

	must(vm_cursor_open(&c, &space, gpa(BENCH_VA), gpa(BENCH_VA + SIZE_1G), VM_CHANGE) == 0);
	must(vm_map_frames(&c, frames, n, RW, &done) == 0);
	vm_cursor_close(&c);
}

static void map_small(void)
{
	struct frame *block = memory_take();

	for (uint64_t i = 0; i < BLOCKS; i++)
		must(frame_split(block + i * PARTS) == 0);
	for (uint64_t i = 0; i < BENCH_PAGES; i++)
		frames[i] = block + i;
	map_all(BENCH_PAGES);
}

static void map_large(void)
{
	struct frame *block = memory_take();

	for (uint64_t i = 0; i < BLOCKS; i++)
		frames[i] = block + i * PARTS;
	map_all(BLOCKS);
}

static void reader_ready(void)
{
	must(vm_reader_guest(&reader, &space, gpa(BENCH_VA), SIZE_1G, &use) == 0 &&
	     vm_io_activate(&reader.io) == 0);
	epoch_enter();
}

static void writer_ready(void)
{
	must(vm_writer_guest(&writer, &space, gpa(BENCH_VA), SIZE_1G, &use) == 0 &&
	     vm_io_activate(&writer.io) == 0);
	epoch_enter();
}

static void in_small(void)
{
	map_small();
	reader_ready();
}

static void in_small_w(void)
{
	map_small();
	writer_ready();
}

/* Other workloads have written to the memory before. */
static void in_small_zeros(void)
{
	in_small();
	memset(region, 0, SIZE_1G);
}

static void in_large(void)
{
	map_large();
	reader_ready();
}

static void in_large_w(void)
{
	map_large();
	writer_ready();
}

static void space_gone(void)
{
	vm_space_destroy(&space);
	epoch_drain();
}

static void gone(void)
{
	epoch_exit();
	vm_io_dispose(&reader.io);
	space_gone();
}

static void gone_w(void)
{
	epoch_exit();
	vm_io_dispose(&writer.io);
	space_gone();
}

/* --- words ------------------------------------------------------------------------------------ */

static void read_page(void)
{
	uint64_t sum = 0, value;

	for (uint64_t i = 0; i < WORDS; i += 512) {
		must(vm_io_seek(&reader.io, 0) == 0);
		for (unsigned j = 0; j < 512; j++) {
			must(vm_read_val(&reader, &value) == 0);
			sum += value;
		}
	}
	bench_sink = sum;
}

static void write_page(void)
{
	for (uint64_t i = 0; i < WORDS; i += 512) {
		must(vm_io_seek(&writer.io, 0) == 0);
		for (uint64_t j = 0; j < 512; j++)
			must(vm_write_val(&writer, &j) == 0);
	}
}

static void limit_read_page(void)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < WORDS; i += 512)
		for (unsigned j = 0; j < 512; j++)
			sum += *(volatile uint64_t *)(region + j * 8);
	bench_sink = sum;
}

static uint64_t random_at(uint64_t i)
{
	const uint32_t *at = bench_lookups();

	return (uint64_t)at[i] * PAGE_SIZE + at[i] % 512 * 8;
}

static void read_random(void)
{
	uint64_t sum = 0, value;

	for (uint64_t i = 0; i < BENCH_LOOKUPS; i++) {
		must(vm_io_seek(&reader.io, random_at(i)) == 0);
		must(vm_read_val(&reader, &value) == 0);
		sum += value;
	}
	bench_sink = sum;
}

static inline uint64_t plain_read(uint64_t va)
{
	const volatile uint64_t *table = space.pt.top;

	for (unsigned level = 4; level > 1; level--)
		table = hpa_ptr(hpa(table[pt_index(va, level)] & ADDRESS));
	table = hpa_ptr(hpa(table[pt_index(va, 1)] & ADDRESS));
	return table[va % PAGE_SIZE / 8];
}

static void limit_read_random(void)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < BENCH_LOOKUPS; i++)
		sum += plain_read(BENCH_VA + random_at(i));
	bench_sink = sum;
}

/* The same where each address depends on what the one before gave (nothing: the memory is zeros).
 */
static void read_chained(void)
{
	uint64_t value = 0;

	for (uint64_t i = 0; i < BENCH_LOOKUPS; i++) {
		must(vm_io_seek(&reader.io, random_at(i) + value) == 0);
		must(vm_read_val(&reader, &value) == 0);
	}
	bench_sink = value;
}

static void limit_read_chained(void)
{
	uint64_t value = 0;

	for (uint64_t i = 0; i < BENCH_LOOKUPS; i++)
		value = plain_read(BENCH_VA + random_at(i) + value);
	bench_sink = value;
}

/* --- bulk: `total` bytes in copies of `size` over a window ------------------------------------ */

struct shape {
	uint64_t size, window, total;
};

#define SHAPE_64 ((struct shape){ SMALL, 8 * PAGE_SIZE, WORDS * SMALL / 4 })
#define SHAPE_4K ((struct shape){ PAGE_SIZE, 64 * PAGE_SIZE, UINT64_C(1) << 30 })
#define SHAPE_1M ((struct shape){ SIZE_2M / 2, 4 * SIZE_2M, UINT64_C(1) << 31 })

static inline void read_all(struct shape s)
{
	for (uint64_t done = 0; done < s.total; done += s.window) {
		must(vm_io_seek(&reader.io, 0) == 0);
		for (uint64_t at = 0; at < s.window; at += s.size)
			must(vm_read_bytes(&reader, buffer, s.size) == 0);
	}
}

static inline void write_all(struct shape s)
{
	for (uint64_t done = 0; done < s.total; done += s.window) {
		must(vm_io_seek(&writer.io, 0) == 0);
		for (uint64_t at = 0; at < s.window; at += s.size)
			must(vm_write_bytes(&writer, buffer, s.size) == 0);
	}
}

static void *(*volatile copy)(void *, const void *, size_t) = memcpy;

static void limit_read(struct shape s)
{
	for (uint64_t done = 0; done < s.total; done += s.window)
		for (uint64_t at = 0; at < s.window; at += s.size)
			copy(buffer, region + at, s.size);
}

static void limit_write(struct shape s)
{
	for (uint64_t done = 0; done < s.total; done += s.window)
		for (uint64_t at = 0; at < s.window; at += s.size)
			copy(region + at, buffer, s.size);
}

#define SHAPE_512 ((struct shape){ 512, 64 * PAGE_SIZE, UINT64_C(1) << 28 })

#define BULK(name, shape)                \
	static void read_##name(void)    \
	{                                \
		read_all(shape);         \
	}                                \
	static void write_##name(void)   \
	{                                \
		write_all(shape);        \
	}                                \
	static void limit_r_##name(void) \
	{                                \
		limit_read(shape);       \
	}                                \
	static void limit_w_##name(void) \
	{                                \
		limit_write(shape);      \
	}

BULK(64, SHAPE_64)
BULK(4k, SHAPE_4K)
BULK(1m, SHAPE_1M)
BULK(512, SHAPE_512)

/* Over the ends of pages: each copy is two pieces. */
#define OFF 64

static void read_4k_off(void)
{
	struct shape s = SHAPE_4K;

	for (uint64_t done = 0; done < s.total; done += s.window) {
		must(vm_io_seek(&reader.io, OFF) == 0);
		for (uint64_t at = 0; at < s.window; at += s.size)
			must(vm_read_bytes(&reader, buffer, s.size) == 0);
	}
}

static void limit_r_4k_off(void)
{
	struct shape s = SHAPE_4K;

	for (uint64_t done = 0; done < s.total; done += s.window)
		for (uint64_t at = 0; at < s.window; at += s.size)
			copy(buffer, region + OFF + at, s.size);
}

/* With vm_copy, of a size that is not known beforehand. */
static void copy_all(struct shape s)
{
	struct vm_writer w = vm_writer_of(&buffer);
	volatile uint64_t size = s.size;

	for (uint64_t done = 0; done < s.total; done += s.window) {
		must(vm_io_seek(&reader.io, 0) == 0);
		for (uint64_t at = 0; at < s.window; at += s.size) {
			must(vm_io_seek(&w.io, 0) == 0);
			must(vm_copy(&reader, &w, size, NULL) == 0);
		}
	}
}

static void copy_64(void)
{
	copy_all(SHAPE_64);
}

static void copy_4k(void)
{
	copy_all(SHAPE_4K);
}

/* Cold: at random places of 1 GiB, aligned to their size. */
#define COLD(name, size, places, ops)                                                           \
	static void cold_##name(void)                                                           \
	{                                                                                       \
		const uint32_t *at = bench_lookups();                                           \
		for (uint64_t i = 0; i < (ops); i++) {                                          \
			must(vm_io_seek(&reader.io, at[i] % (places) * (SIZE_1G / (places))) == \
			     0);                                                                \
			must(vm_read_bytes(&reader, buffer, size) == 0);                        \
		}                                                                               \
	}                                                                                       \
	static void limit_cold_##name(void)                                                     \
	{                                                                                       \
		const uint32_t *at = bench_lookups();                                           \
		for (uint64_t i = 0; i < (ops); i++)                                            \
			copy(buffer, region + at[i] % (places) * (SIZE_1G / (places)), size);   \
	}

#define COLD_64 (BENCH_LOOKUPS / 2)
#define COLD_4K (BENCH_LOOKUPS / 8)
#define COLD_1M UINT64_C(2048)
COLD(64, SMALL, BENCH_PAGES, COLD_64)
COLD(4k, PAGE_SIZE, BENCH_PAGES, COLD_4K)
COLD(1m, SIZE_2M / 2, 1024, COLD_1M)

/* --- owners ----------------------------------------------------------------------------------- */

static void owners(void)
{
	struct vm_reader r;

	for (uint64_t i = 0; i < CLAIMS; i++) {
		must(vm_reader_guest(&r, &space, gpa(i), 4096, &use) == 0);
		must(vm_io_activate(&r.io) == 0);
		vm_io_dispose(&r.io);
	}
}

static void space_only(void)
{
	must(vm_space_init(&space, &ept_ops) == 0);
}

#define OTHERS 8
static struct vm_reader others[OTHERS];

/* Elsewhere. */
static void space_others(void)
{
	space_only();
	for (unsigned i = 0; i < OTHERS; i++)
		must(vm_reader_guest(&others[i], &space, gpa(SIZE_1G + i * PAGE_SIZE), PAGE_SIZE,
				     &use) == 0 &&
		     vm_io_activate(&others[i].io) == 0);
}

static void space_others_gone(void)
{
	for (unsigned i = 0; i < OTHERS; i++)
		vm_io_dispose(&others[i].io);
	space_gone();
}

/* --- guest-virtual ---------------------------------------------------------------------------- */

#define VIRTUAL UINT64_C(0x0000123456789000)

static struct gva_mode mode;
static struct gva_result fault;
static struct vm_virtual virt = { .mode = &mode, .fault = &fault };
static struct vm_reader virtual_reader;

/* Five pages in stage-2 leaves of 4 KiB: the data, and tables of four levels with all marks. */
static void in_virtual(void)
{
	struct vm_cursor c;

	must(vm_space_init(&space, &ept_ops) == 0);
	must(vm_cursor_open(&c, &space, gpa(BENCH_VA), gpa(BENCH_VA + SIZE_1G), VM_CHANGE) == 0);
	for (unsigned level = 0; level <= 4; level++) {
		struct frame *f = frame_alloc(FRAME_ORDER_4K, FRAME_GUEST, ALLOC_ZERO);
		uint64_t *table = frame_bytes(f);

		if (level != 0)
			table[pt_index(VIRTUAL, level)] = (BENCH_VA + (level - 1) * PAGE_SIZE) |
							  0x67;
		must(vm_map(&c, f, RW) == 0);
	}
	vm_cursor_close(&c);
	mode = (struct gva_mode){
		.cr0 = CR0_PG | CR0_PE,
		.cr3 = BENCH_VA + 4 * PAGE_SIZE,
		.cr4 = CR4_PAE,
		.efer = EFER_LMA | EFER_LME,
		.maxphyaddr = 46,
	};
	virt.pages = (struct guest_pages){ 0 };
	vm_reader_virtual(&virtual_reader, &space, gva(VIRTUAL), PAGE_SIZE, &virt, &use);
	must(vm_io_activate(&virtual_reader.io) == 0);
	epoch_enter();
}

static void virtual_gone(void)
{
	epoch_exit();
	vm_io_dispose(&virtual_reader.io);
	vm_space_destroy(&space);
	epoch_drain();
}

static void read_virtual(void)
{
	uint64_t sum = 0, value;

	for (uint64_t i = 0; i < CLAIMS; i++) {
		must(vm_io_seek(&virtual_reader.io, i % 512 * 8) == 0);
		must(vm_read_val(&virtual_reader, &value) == 0);
		sum += value;
	}
	bench_sink = sum;
}

/* As an emulated instruction does: nothing is known of the tables, and it claims what it reads. */
static void read_virtual_once(void)
{
	uint64_t sum = 0, value;

	for (uint64_t i = 0; i < CLAIMS; i++) {
		struct vm_reader r;

		virt.pages = (struct guest_pages){ 0 };
		vm_reader_virtual(&r, &space, gva(VIRTUAL + i % 512 * 8), 8, &virt, &use);
		must(vm_io_activate(&r.io) == 0);
		must(vm_read_val(&r, &value) == 0);
		vm_io_dispose(&r.io);
		sum += value;
	}
	bench_sink = sum;
}

#define COPIES_64  (WORDS / 4)
#define COPIES_4K  UINT64_C(262144)
#define COPIES_1M  UINT64_C(2048)
#define COPIES_512 (UINT64_C(1) << 19)

const struct work copy_works[] = {
	{ "limit.W8.read8", NULL, WORDS, in_small, limit_read_page, gone },
	{ "limit.W8.random8", NULL, BENCH_LOOKUPS, in_small, limit_read_random, gone },
	{ "limit.W8.chained8", NULL, BENCH_LOOKUPS, in_small_zeros, limit_read_chained, gone },
	{ "limit.W8.read64", NULL, COPIES_64, in_small, limit_r_64, gone },
	{ "limit.W8.write64", NULL, COPIES_64, in_small, limit_w_64, gone },
	{ "limit.W8.read4k", NULL, COPIES_4K, in_small, limit_r_4k, gone },
	{ "limit.W8.write4k", NULL, COPIES_4K, in_small, limit_w_4k, gone },
	{ "limit.W8.read1m", NULL, COPIES_1M, in_small, limit_r_1m, gone },
	{ "limit.W8.write1m", NULL, COPIES_1M, in_small, limit_w_1m, gone },
	{ "limit.W8.read512", NULL, COPIES_512, in_small, limit_r_512, gone },
	{ "limit.W8.read4k.off", NULL, COPIES_4K, in_small, limit_r_4k_off, gone },
	{ "limit.W8.cold64", NULL, COLD_64, in_small, limit_cold_64, gone },
	{ "limit.W8.cold4k", NULL, COLD_4K, in_small, limit_cold_4k, gone },
	{ "limit.W8.cold1m", NULL, COLD_1M, in_small, limit_cold_1m, gone },
	{ "W8.read8", "limit.W8.read8", WORDS, in_small, read_page, gone },
	{ "W8.write8", "limit.W8.read8", WORDS, in_small_w, write_page, gone_w },
	{ "W8.random8", "limit.W8.random8", BENCH_LOOKUPS, in_small, read_random, gone },
	{ "W8.chained8", "limit.W8.chained8", BENCH_LOOKUPS, in_small_zeros, read_chained, gone },
	{ "W8.read64", "limit.W8.read64", COPIES_64, in_small, read_64, gone },
	{ "W8.write64", "limit.W8.write64", COPIES_64, in_small_w, write_64, gone_w },
	{ "W8.read64.2m", "limit.W8.read64", COPIES_64, in_large, read_64, gone },
	{ "W8.read4k", "limit.W8.read4k", COPIES_4K, in_small, read_4k, gone },
	{ "W8.read4k.2m", "limit.W8.read4k", COPIES_4K, in_large, read_4k, gone },
	{ "W8.write4k", "limit.W8.write4k", COPIES_4K, in_small_w, write_4k, gone_w },
	{ "W8.write4k.2m", "limit.W8.write4k", COPIES_4K, in_large_w, write_4k, gone_w },
	{ "W8.read1m", "limit.W8.read1m", COPIES_1M, in_small, read_1m, gone },
	{ "W8.read1m.2m", "limit.W8.read1m", COPIES_1M, in_large, read_1m, gone },
	{ "W8.write1m", "limit.W8.write1m", COPIES_1M, in_small_w, write_1m, gone_w },
	{ "W8.write1m.2m", "limit.W8.write1m", COPIES_1M, in_large_w, write_1m, gone_w },
	{ "limit.W8.write512", NULL, COPIES_512, in_small, limit_w_512, gone },
	{ "W8.write512", "limit.W8.write512", COPIES_512, in_small_w, write_512, gone_w },
	{ "W8.read512", "limit.W8.read512", COPIES_512, in_small, read_512, gone },
	{ "W8.read4k.off", "limit.W8.read4k.off", COPIES_4K, in_small, read_4k_off, gone },
	{ "W8.copy64", "limit.W8.read64", COPIES_64, in_small, copy_64, gone },
	{ "W8.copy4k", "limit.W8.read4k", COPIES_4K, in_small, copy_4k, gone },
	{ "W8.cold64", "limit.W8.cold64", COLD_64, in_small, cold_64, gone },
	{ "W8.cold4k", "limit.W8.cold4k", COLD_4K, in_small, cold_4k, gone },
	{ "W8.cold1m", "limit.W8.cold1m", COLD_1M, in_small, cold_1m, gone },
	{ "W8.owner", NULL, CLAIMS, space_only, owners, space_gone },
	{ "W8.owner.others", NULL, CLAIMS, space_others, owners, space_others_gone },
	{ "W8.virtual8", NULL, CLAIMS, in_virtual, read_virtual, virtual_gone },
	{ "W8.virtual8.once", NULL, CLAIMS, in_virtual, read_virtual_once, virtual_gone },
	{ 0 },
};
