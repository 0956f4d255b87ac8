/* SPDX-License-Identifier: MPL-2.0 */
#include "guest/elf.h"

#include "base/err.h"
#include "base/print.h"
#include "base/string.h"
#include "guest/boot_page.h"
#include "vmio/vmio.h"

#define SEGMENTS_MAX  32
#define REAL_MODE_END (UINT64_C(1) << 20)
#define HEADER_32     52
#define HEADER_64     64

enum { CLASS_32 = 1, CLASS_64 = 2, LITTLE_ENDIAN = 1, TYPE_EXEC = 2, PT_LOAD = 1 };
enum { MACHINE_386 = 3, MACHINE_X86_64 = 62 };

struct segment {
	uint64_t offset, at, file_size, mem_size;
	unsigned number; /* of its program header */
};

struct elf {
	const uint8_t *image;
	uint64_t len, entry;
	struct segment segment[SEGMENTS_MAX];
	unsigned segments;
	const struct guest *guest;
	char *why;
	size_t why_size;
};

__attribute__((format(printf, 3, 4))) static int refuse(struct elf *e, int err, const char *fmt,
							...)
{
	size_t used = format(e->why, e->why_size, "guest '%s': image: ", e->guest->config.name);
	va_list args;

	va_start(args, fmt);
	if (used < e->why_size)
		vformat(e->why + used, e->why_size - used, fmt, args);
	va_end(args);
	return err;
}

/* A little-endian field of `size` bytes at an offset that has been checked. */
static uint64_t field(const struct elf *e, uint64_t offset, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, e->image + offset, size);
	return v;
}

static bool inside(const struct elf *e, uint64_t offset, uint64_t size)
{
	return offset <= e->len && size <= e->len - offset;
}

/* Where the fields of a program header are, by class. */
static void read_segment(const struct elf *e, unsigned number, uint64_t at, bool wide,
			 struct segment *s)
{
	s->number = number;
	s->offset = wide ? field(e, at + 8, 8) : field(e, at + 4, 4);
	s->at = wide ? field(e, at + 24, 8) : field(e, at + 12, 4);
	s->file_size = wide ? field(e, at + 32, 8) : field(e, at + 16, 4);
	s->mem_size = wide ? field(e, at + 40, 8) : field(e, at + 20, 4);
}

/* Does it lie in the guest's memory, and apart from the boot page and the segments before it? */
static int check_place(struct elf *e, unsigned n, const struct segment *s)
{
	uint64_t end, mem = e->guest->config.mem;
	unsigned long long at = s->at, size = s->mem_size;

	if (__builtin_add_overflow(s->at, s->mem_size, &end))
		return refuse(e, -EINVAL,
			      "segment %u (0x%llx+0x%llx) wraps around the end of memory: link it "
			      "inside the guest's 0x%llx bytes",
			      n, at, size, (unsigned long long)mem);
	if (end > mem)
		return refuse(e, -EINVAL,
			      "segment %u (0x%llx+0x%llx) exceeds the guest's memory of 0x%llx "
			      "bytes: give it more with mem=, or link it lower",
			      n, at, size, (unsigned long long)mem);
	if (s->at < GUEST_BOOT_PAGE + sizeof(struct guest_boot_page) && end > GUEST_BOOT_PAGE)
		return refuse(e, -EINVAL,
			      "segment %u (0x%llx+0x%llx) covers 0x%x, where the guest is told "
			      "about itself: link it elsewhere",
			      n, at, size, GUEST_BOOT_PAGE);
	for (unsigned i = 0; i < e->segments; i++) {
		const struct segment *o = &e->segment[i];

		if (s->at < o->at + o->mem_size && o->at < end)
			return refuse(e, -EINVAL,
				      "segment %u (0x%llx+0x%llx) overlaps segment %u "
				      "(0x%llx+0x%llx): link them apart",
				      n, at, size, o->number, (unsigned long long)o->at,
				      (unsigned long long)o->mem_size);
	}
	return 0;
}

static int check_segment(struct elf *e, unsigned n, const struct segment *s)
{
	if (s->file_size > s->mem_size)
		return refuse(e, -ENOEXEC,
			      "segment %u has 0x%llx bytes in the file, more than its 0x%llx in "
			      "memory: link it again",
			      n, (unsigned long long)s->file_size, (unsigned long long)s->mem_size);
	if (!inside(e, s->offset, s->file_size))
		return refuse(e, -ENOEXEC,
			      "segment %u (file bytes 0x%llx+0x%llx) is cut off: the file has "
			      "0x%llx bytes; copy it again",
			      n, (unsigned long long)s->offset, (unsigned long long)s->file_size,
			      (unsigned long long)e->len);
	return s->mem_size == 0 ? 0 : check_place(e, n, s);
}

static int read_segments(struct elf *e, bool wide)
{
	uint64_t table = wide ? field(e, 32, 8) : field(e, 28, 4);
	uint64_t size = field(e, wide ? 54 : 42, 2), count = field(e, wide ? 56 : 44, 2);

	if (size < (wide ? 56 : 32) || !inside(e, table, size * count))
		return refuse(e, -ENOEXEC,
			      "its program headers (%u of %u bytes at 0x%llx) are cut off: the "
			      "file has 0x%llx bytes; copy it again",
			      (unsigned)count, (unsigned)size, (unsigned long long)table,
			      (unsigned long long)e->len);
	for (unsigned n = 0; n < count; n++) {
		uint64_t at = table + n * size;
		struct segment s;
		int err;

		if (field(e, at, 4) != PT_LOAD)
			continue;
		read_segment(e, n, at, wide, &s);
		err = check_segment(e, n, &s);
		if (err != 0)
			return err;
		if (s.mem_size == 0)
			continue;
		if (e->segments == SEGMENTS_MAX)
			return refuse(e, -ENOEXEC, "it has more than %d segments: link it again",
				      SEGMENTS_MAX);
		e->segment[e->segments++] = s;
	}
	if (e->segments == 0)
		return refuse(e, -ENOEXEC, "it has no segment to load: link it again");
	return 0;
}

static int read_header(struct elf *e, bool *wide)
{
	uint64_t machine;

	if (e->len == 0)
		return refuse(
			e, -ENOEXEC,
			"the file is empty, or was not found: give a static ELF file for x86");
	if (e->len < 4 || memcmp(e->image, "\177ELF", 4) != 0)
		return refuse(e, -ENOEXEC, "not an ELF file: give a static ELF file for x86");
	if (e->len < HEADER_32)
		return refuse(e, -ENOEXEC, "its ELF header is cut off: copy it again");
	*wide = e->image[4] == CLASS_64;
	if ((!*wide && e->image[4] != CLASS_32) || e->image[5] != LITTLE_ENDIAN)
		return refuse(e, -ENOEXEC,
			      "ELF class %u, byte order %u: give a static ELF file for x86",
			      e->image[4], e->image[5]);
	if (*wide && e->len < HEADER_64)
		return refuse(e, -ENOEXEC, "its ELF header is cut off: copy it again");
	machine = field(e, 18, 2);
	if (field(e, 16, 2) != TYPE_EXEC || (machine != MACHINE_386 && machine != MACHINE_X86_64))
		return refuse(e, -ENOEXEC,
			      "ELF type %u for machine %u: give an executable for x86, linked "
			      "statically",
			      (unsigned)field(e, 16, 2), (unsigned)machine);
	e->entry = *wide ? field(e, 24, 8) : field(e, 24, 4);
	return 0;
}

static int check_entry(struct elf *e)
{
	if (e->entry >= REAL_MODE_END)
		return refuse(e, -EINVAL,
			      "entry 0x%llx is not below 1 MiB: a guest starts in real mode, "
			      "link its start there",
			      (unsigned long long)e->entry);
	for (unsigned i = 0; i < e->segments; i++)
		if (e->entry - e->segment[i].at < e->segment[i].mem_size)
			return 0;
	return refuse(e, -EINVAL, "entry 0x%llx lies in no segment: link it again",
		      (unsigned long long)e->entry);
}

static int write_segment(struct elf *e, struct guest *g, const struct segment *s)
{
	static const struct vm_use use = { .who = "image loader" };
	/* What follows the file's bytes is zero already: memory is brought in as zeros. */
	int err = vm_write_guest(&g->space, gpa(s->at), e->image + s->offset, s->file_size, &use);

	if (err != 0)
		return refuse(e, err,
			      "the host has no memory for segment %u (0x%llx+0x%llx): stop another "
			      "guest or give the machine more",
			      s->number, (unsigned long long)s->at,
			      (unsigned long long)s->mem_size);
	return 0;
}

int guest_elf_load(struct guest *g, const void *image, uint64_t len, char *why, size_t why_size)
{
	struct elf e = { .image = image, .len = len, .guest = g, .why = why, .why_size = why_size };
	bool wide = false;
	int err = read_header(&e, &wide);

	if (err == 0)
		err = read_segments(&e, wide);
	if (err == 0)
		err = check_entry(&e);
	for (unsigned i = 0; i < e.segments && err == 0; i++)
		err = write_segment(&e, g, &e.segment[i]);
	if (err == 0)
		g->start.entry = (uint32_t)e.entry;
	return err;
}
