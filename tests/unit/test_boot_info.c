/* SPDX-License-Identifier: MPL-2.0 */
/* The boot information: what GRUB says, each way of being wrong, and cuts and noise everywhere. */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "boot/boot_info.h"

#define BUFFER 65536

static uint8_t buffer[BUFFER] __attribute__((aligned(8)));
static uint32_t used;
static struct boot_info info;
static char why[256];

/* --- building ------------------------------------------------------------------------------- */

static void put32(uint32_t at, uint32_t v)
{
	memcpy(buffer + at, &v, sizeof(v));
}

static void begin(void)
{
	memset(buffer, 0, sizeof(buffer));
	used = 8;
}

/* Adds a tag; returns its offset. */
static uint32_t tag(uint32_t type, const void *body, uint32_t len)
{
	uint32_t at = used;

	put32(at, type);
	put32(at + 4, 8 + len);
	memcpy(buffer + at + 8, body, len);
	used = at + 8 + ((len + 7) & ~7u);
	return at;
}

static uint32_t text_tag(uint32_t type, const char *text)
{
	return tag(type, text, (uint32_t)strlen(text) + 1);
}

static uint32_t module(uint32_t start, uint32_t end, const char *text)
{
	uint8_t body[8192];

	memcpy(body, &start, 4);
	memcpy(body + 4, &end, 4);
	memcpy(body + 8, text, strlen(text) + 1);
	return tag(3, body, 8 + (uint32_t)strlen(text) + 1);
}

struct entry {
	uint64_t start, len;
	uint32_t type, reserved;
};

static uint32_t memory(const struct entry *entries, unsigned n, uint32_t entry_size)
{
	static uint8_t body[BUFFER / 2];

	memset(body, 0, sizeof(body));
	memcpy(body, &entry_size, 4);
	for (unsigned i = 0; i < n; i++)
		memcpy(body + 8 + i * entry_size, &entries[i], sizeof(*entries));
	return tag(6, body, 8 + n * entry_size);
}

static uint32_t some_memory(void)
{
	static const struct entry ram = { 0, 0x9fc00, 1, 0 };

	return memory(&ram, 1, 24);
}

static void finish(void)
{
	tag(0, "", 0);
	put32(0, used);
}

/* Decodes a copy that ends exactly at the allocation's end: reading on is seen by the sanitizer. */
static int decode_max(size_t max)
{
	uint8_t *copy = malloc(max != 0 ? max : 1);
	int err;

	memcpy(copy, buffer, max);
	why[0] = '\0';
	err = boot_info_decode(copy, max, &info, why, sizeof(why));
	free(copy);
	return err;
}

static int decode(void)
{
	return decode_max(used);
}

/* The message says where (offset of the tag) and what. */
static void refused_at(int err, uint32_t at, const char *what)
{
	char place[32];

	snprintf(place, sizeof(place), "offset %u:", at);
	CU_ASSERT_EQUAL(decode(), err);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, place));
	CU_ASSERT_PTR_NOT_NULL(strstr(why, what));
	if (strstr(why, place) == NULL || strstr(why, what) == NULL)
		fprintf(stderr, "wanted '%s' at %u, got '%s'\n", what, at, why);
}

/* --- good ----------------------------------------------------------------------------------- */

static void build_typical(void)
{
	static const struct entry map[] = {
		{ 0, 0x9fc00, 1, 0 },
		{ 0x9fc00, 0x400, 2, 0 },
		{ 0x100000, 0x1fee0000, 1, 0 },
		{ 0x1ffe0000, 0x10000, 3, 0 },
		{ 0x1fff0000, 0x10000, 4, 0 },
		{ 0x20000000, 0x1000, 5, 0 },
		{ 0xfffffffffffff000, 0x2000, 9, 0 },
	};
	uint8_t rsdp[36];

	memset(rsdp, 0x11, sizeof(rsdp));
	begin();
	text_tag(1, "console=script log=debug");
	text_tag(2, "GRUB 2.06-13+deb12u1");
	module(0x800000, 0x812345, "tiny.elf name=tiny mem=16M");
	module(0x900000, 0x900000, "");
	memory(map, 7, 24);
	tag(4, "\1\2\3\4\5\6\7", 8); /* basic memory: not for us */
	tag(14, rsdp, 20);
	memset(rsdp, 0x22, sizeof(rsdp));
	tag(15, rsdp, 36);
	tag(0x1234, "unknown", 7);
	finish();
}

static void typical(void)
{
	build_typical();
	CU_ASSERT_EQUAL_FATAL(decode(), 0);
	CU_ASSERT_STRING_EQUAL(info.cmdline, "console=script log=debug");
	CU_ASSERT_FALSE(info.cmdline_cut);
	CU_ASSERT_STRING_EQUAL(info.loader, "GRUB 2.06-13+deb12u1");
	CU_ASSERT_EQUAL(info.module_count, 2);
	CU_ASSERT_EQUAL(info.modules_left_out, 0);
	CU_ASSERT_EQUAL(info.modules[0].start.hpa, 0x800000);
	CU_ASSERT_EQUAL(info.modules[0].len, 0x12345);
	CU_ASSERT_STRING_EQUAL(info.modules[0].text, "tiny.elf name=tiny mem=16M");
	CU_ASSERT_EQUAL(info.modules[1].len, 0);
	CU_ASSERT_STRING_EQUAL(info.modules[1].text, "");
	CU_ASSERT_EQUAL(info.rsdp_len, 36);
	CU_ASSERT_EQUAL(info.rsdp[35], 0x22);
}

static void memory_kinds(void)
{
	static const enum mem_kind kinds[] = { MEM_RAM, MEM_RESERVED, MEM_RAM,	   MEM_RECLAIMABLE,
					       MEM_NVS, MEM_BAD,      MEM_RESERVED };

	build_typical();
	CU_ASSERT_EQUAL_FATAL(decode(), 0);
	CU_ASSERT_EQUAL_FATAL(info.map.count, 7);
	for (unsigned i = 0; i < 7; i++)
		CU_ASSERT_EQUAL(info.map.region[i].kind, kinds[i]);
	CU_ASSERT_EQUAL(info.map.region[1].start, 0x9fc00);
	CU_ASSERT_EQUAL(info.map.region[1].end, 0xa0000);
	/* A region that wraps ends at the end of all addresses. */
	CU_ASSERT_EQUAL(info.map.region[6].end, UINT64_MAX);
}

static void entries_may_be_longer(void)
{
	static const struct entry map[] = { { 0x1000, 0x2000, 1, 0 }, { 0x8000, 0x1000, 2, 0 } };

	begin();
	memory(map, 2, 40);
	finish();
	CU_ASSERT_EQUAL_FATAL(decode(), 0);
	CU_ASSERT_EQUAL(info.map.count, 2);
	CU_ASSERT_EQUAL(info.map.region[1].start, 0x8000);
}

static void old_root_pointer_does_not_replace_the_new_one(void)
{
	uint8_t rsdp[36];

	begin();
	some_memory();
	memset(rsdp, 0x22, sizeof(rsdp));
	tag(15, rsdp, 36);
	memset(rsdp, 0x11, sizeof(rsdp));
	tag(14, rsdp, 20);
	finish();
	CU_ASSERT_EQUAL_FATAL(decode(), 0);
	CU_ASSERT_EQUAL(info.rsdp_len, 36);
	CU_ASSERT_EQUAL(info.rsdp[0], 0x22);
	/* And one of a later version is cut to what we know. */
	begin();
	some_memory();
	tag(15, "0123456789012345678901234567890123456789", 40);
	finish();
	CU_ASSERT_EQUAL_FATAL(decode(), 0);
	CU_ASSERT_EQUAL(info.rsdp_len, 36);
}

/* --- too much of what the owner wrote --------------------------------------------------------- */

static void long_text(char *text, size_t len)
{
	memset(text, 'x', len);
	text[len] = '\0';
}

static void long_texts_are_cut_and_marked(void)
{
	static char text[4000];

	long_text(text, BOOT_TEXT_MAX - 1);
	begin();
	some_memory();
	text_tag(1, text);
	module(0x1000, 0x2000, text);
	finish();
	CU_ASSERT_EQUAL_FATAL(decode(), 0);
	CU_ASSERT_FALSE(info.cmdline_cut);
	CU_ASSERT_FALSE(info.modules[0].text_cut);
	CU_ASSERT_STRING_EQUAL(info.modules[0].text, text);

	long_text(text, BOOT_TEXT_MAX);
	begin();
	some_memory();
	text_tag(1, text);
	text_tag(2, text);
	module(0x1000, 0x2000, text);
	module(0x3000, 0x4000, "next");
	finish();
	CU_ASSERT_EQUAL_FATAL(decode(), 0);
	CU_ASSERT_TRUE(info.cmdline_cut);
	CU_ASSERT_EQUAL(strlen(info.cmdline), BOOT_TEXT_MAX - 1);
	CU_ASSERT_EQUAL(strlen(info.loader), sizeof(info.loader) - 1);
	CU_ASSERT_TRUE(info.modules[0].text_cut);
	CU_ASSERT_EQUAL(strlen(info.modules[0].text), BOOT_TEXT_MAX - 1);
	CU_ASSERT_FALSE(info.modules[1].text_cut);
	CU_ASSERT_STRING_EQUAL(info.modules[1].text, "next");
}

static void modules_beyond_the_last_are_counted(void)
{
	begin();
	some_memory();
	for (unsigned i = 0; i < BOOT_MODULES_MAX + 3; i++)
		module(i << 12, (i + 1) << 12, "m");
	finish();
	CU_ASSERT_EQUAL_FATAL(decode(), 0);
	CU_ASSERT_EQUAL(info.module_count, BOOT_MODULES_MAX);
	CU_ASSERT_EQUAL(info.modules_left_out, 3);
	CU_ASSERT_EQUAL(info.modules[BOOT_MODULES_MAX - 1].start.hpa, (BOOT_MODULES_MAX - 1) << 12);
}

/* --- wrong ---------------------------------------------------------------------------------- */

static void bad_total_size(void)
{
	static const uint32_t totals[] = { 0, 7, UINT32_MAX };

	for (unsigned i = 0; i < 3; i++) {
		build_typical();
		put32(0, totals[i]);
		refused_at(-EINVAL, 0, "total size");
	}
	build_typical();
	put32(0, used + 1);
	refused_at(-EINVAL, 0, "total size");
	CU_ASSERT_EQUAL(decode_max(7), -EINVAL);
	CU_ASSERT_EQUAL(decode_max(0), -EINVAL);
}

static void bad_tag_size(void)
{
	static const uint32_t sizes[] = { 0, 7, 0x7fffffff, UINT32_MAX - 6, UINT32_MAX };

	for (unsigned i = 0; i < 5; i++) {
		uint32_t at;

		begin();
		some_memory();
		at = text_tag(2, "loader");
		finish();
		put32(at + 4, sizes[i]);
		refused_at(-EINVAL, at, "size reaches out");
	}
}

static void no_end(void)
{
	begin();
	some_memory();
	put32(0, used);
	refused_at(-EINVAL, used, "no end tag");
	/* The last tag's padding would lie beyond the end. */
	begin();
	some_memory();
	text_tag(2, "abc");
	put32(0, used - 4);
	CU_ASSERT_EQUAL(decode(), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "no end tag"));
}

static void no_memory_map(void)
{
	uint32_t at;

	begin();
	text_tag(2, "loader");
	at = used;
	finish();
	refused_at(-EINVAL, at, "no memory map");
}

static void text_without_end(void)
{
	static const uint32_t types[] = { 1, 2, 3 };

	for (unsigned i = 0; i < 3; i++) {
		uint32_t at;

		begin();
		some_memory();
		at = tag(types[i], "12345678abcdefgh", 16);
		finish();
		refused_at(-EINVAL, at, "without an end");
	}
	for (unsigned i = 0; i < 2; i++) {
		uint32_t at;

		begin();
		some_memory();
		at = tag(types[i], "", 0);
		finish();
		refused_at(-EINVAL, at, "without an end");
	}
}

static void bad_modules(void)
{
	uint32_t at;

	begin();
	some_memory();
	at = module(0x2000, 0x1fff, "m");
	finish();
	refused_at(-EINVAL, at, "ends before it starts");
	for (uint32_t len = 0; len <= 8; len++) {
		begin();
		some_memory();
		at = tag(3, "\0\0\0\0\0\0\0\0", len);
		finish();
		refused_at(-EINVAL, at, "module is cut off");
	}
}

static void bad_memory_maps(void)
{
	static const struct entry ram = { 0, 0x1000, 1, 0 };
	static const uint32_t sizes[] = { 0, 1, 16, 23, 4097, UINT32_MAX };
	static struct entry many[MEMMAP_MAX + 1];
	uint32_t at;

	for (unsigned i = 0; i < 6; i++) {
		begin();
		at = memory(&ram, 1, 24);
		finish();
		put32(at + 8, sizes[i]);
		refused_at(-EINVAL, at, "impossible size");
	}
	for (uint32_t len = 0; len < 8; len++) {
		begin();
		at = tag(6, "\30\0\0\0\0\0\0\0", len);
		finish();
		refused_at(-EINVAL, at, "memory map is cut off");
	}
	for (unsigned i = 0; i <= MEMMAP_MAX; i++)
		many[i] = (struct entry){ (uint64_t)i << 13, 0x1000, 1, 0 };
	begin();
	at = memory(many, MEMMAP_MAX + 1, 24);
	finish();
	refused_at(-E2BIG, at, "too many entries");
	begin();
	memory(many, MEMMAP_MAX, 24);
	finish();
	CU_ASSERT_EQUAL(decode(), 0);
}

static void half_an_entry_is_not_read(void)
{
	static const struct entry ram[] = { { 0x1000, 0x1000, 1, 0 }, { 0x5000, 0x1000, 1, 0 } };
	uint32_t at;

	begin();
	at = memory(ram, 2, 24);
	finish();
	put32(at + 4, 16 + 24 + 23);
	CU_ASSERT_EQUAL_FATAL(decode(), 0);
	CU_ASSERT_EQUAL(info.map.count, 1);
}

static void bad_root_pointer(void)
{
	for (uint32_t len = 0; len < 20; len++) {
		uint32_t at;

		begin();
		some_memory();
		at = tag(14, "RSD PTR RSD PTR RSD PTR", len);
		finish();
		refused_at(-EINVAL, at, "ACPI pointer is cut off");
	}
}

/* --- everywhere ----------------------------------------------------------------------------- */

/* Whatever the decoder says about it, what it hands out lies within its own bounds. */
static void sane(void)
{
	CU_ASSERT(info.module_count <= BOOT_MODULES_MAX);
	CU_ASSERT(info.map.count <= MEMMAP_MAX);
	CU_ASSERT(info.rsdp_len == 0 || (info.rsdp_len >= 20 && info.rsdp_len <= 36));
	CU_ASSERT(strnlen(info.cmdline, BOOT_TEXT_MAX) < BOOT_TEXT_MAX);
	CU_ASSERT(strnlen(info.loader, sizeof(info.loader)) < sizeof(info.loader));
	for (unsigned i = 0; i < info.module_count; i++)
		CU_ASSERT(strnlen(info.modules[i].text, BOOT_TEXT_MAX) < BOOT_TEXT_MAX);
}

/* Cut anywhere, with the total size as it was and with one that fits: refused, nothing read beyond.
 */
static void cut_at_every_byte(void)
{
	for (uint32_t len = 0;; len++) {
		build_typical();
		if (len >= used - 8)
			break;
		CU_ASSERT_EQUAL(decode_max(len), -EINVAL);
		put32(0, len);
		CU_ASSERT_EQUAL(decode_max(len), -EINVAL);
		CU_ASSERT(why[0] != '\0');
	}
}

static void every_byte_changed(void)
{
	static const uint8_t values[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };

	build_typical();
	for (uint32_t at = 0, end = used; at < end; at++) {
		for (unsigned v = 0; v < sizeof(values); v++) {
			build_typical();
			buffer[at] = values[v];
			if (decode() == 0)
				sane();
			else
				CU_ASSERT(why[0] != '\0');
		}
	}
}

static void noise(void)
{
	unsigned seed = 20261121;

	printf("[seed %u] ", seed);
	srand(seed);
	for (unsigned round = 0; round < 20000; round++) {
		build_typical();
		for (unsigned i = 0, n = 1 + (unsigned)rand() % 6; i < n; i++) {
			uint32_t at = 8 + (uint32_t)rand() % (used - 8);

			buffer[at] = rand() % 3 == 0 ? (uint8_t)(rand() % 48) : (uint8_t)rand();
		}
		if (decode() == 0)
			sane();
	}
}

static void message_fits_any_buffer(void)
{
	char small[8];

	begin();
	finish();
	CU_ASSERT_EQUAL(boot_info_decode(buffer, used, &info, small, sizeof(small)), -EINVAL);
	CU_ASSERT_EQUAL(strlen(small), 7);
	CU_ASSERT_EQUAL(boot_info_decode(buffer, used, &info, NULL, 0), -EINVAL);
}

void suite_boot_info(void);

void suite_boot_info(void)
{
	CU_pSuite s = CU_add_suite("boot_info", NULL, NULL);

	CU_ADD_TEST(s, typical);
	CU_ADD_TEST(s, memory_kinds);
	CU_ADD_TEST(s, entries_may_be_longer);
	CU_ADD_TEST(s, old_root_pointer_does_not_replace_the_new_one);
	CU_ADD_TEST(s, long_texts_are_cut_and_marked);
	CU_ADD_TEST(s, modules_beyond_the_last_are_counted);
	CU_ADD_TEST(s, bad_total_size);
	CU_ADD_TEST(s, bad_tag_size);
	CU_ADD_TEST(s, no_end);
	CU_ADD_TEST(s, no_memory_map);
	CU_ADD_TEST(s, text_without_end);
	CU_ADD_TEST(s, bad_modules);
	CU_ADD_TEST(s, bad_memory_maps);
	CU_ADD_TEST(s, half_an_entry_is_not_read);
	CU_ADD_TEST(s, bad_root_pointer);
	CU_ADD_TEST(s, cut_at_every_byte);
	CU_ADD_TEST(s, every_byte_changed);
	CU_ADD_TEST(s, noise);
	CU_ADD_TEST(s, message_fits_any_buffer);
}
