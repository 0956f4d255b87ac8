/* SPDX-License-Identifier: MPL-2.0 */
#include "boot/acpi.h"

#include "base/err.h"
#include "base/string.h"

#define TABLE_MAX (1u << 20) /* larger tables are not believed */

struct acpi_header {
	char signature[4];
	uint32_t len;
	uint8_t revision, checksum;
	char oem[6], oem_table[8];
	uint32_t oem_revision, creator, creator_revision;
};

_Static_assert(sizeof(struct acpi_header) == 36, "ACPI 6.5, 5.2.6");

enum { MADT_LOCAL_APIC = 0, MADT_X2APIC = 9, MADT_ENABLED = 1 };
enum { RSDP_V1_SIZE = 20, RSDP_V2_SIZE = 36 };

/* Sent to these, a start-up message would reach every CPU. (SDM vol. 3, 11.6.2 and 11.12.9) */
#define APIC_BROADCAST	 UINT32_C(0xff)
#define X2APIC_BROADCAST UINT32_C(0xffffffff)

static bool sum_is_zero(const void *p, uint32_t len)
{
	const uint8_t *bytes = p;
	uint8_t sum = 0;

	for (uint32_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + bytes[i]);
	return sum == 0;
}

/* A whole table, or NULL. */
static const struct acpi_header *table_at(hpa_t at, acpi_map map)
{
	const struct acpi_header *h = map(at, sizeof(*h));

	if (h == NULL || h->len < sizeof(*h) || h->len > TABLE_MAX)
		return NULL;
	h = map(at, h->len);
	return h != NULL && sum_is_zero(h, h->len) ? h : NULL;
}

static const struct acpi_header *find_table(const struct acpi_header *root, unsigned entry_size,
					    const char *signature, acpi_map map)
{
	const uint8_t *entries = (const uint8_t *)(root + 1);

	for (uint32_t o = 0; o + entry_size <= root->len - sizeof(*root); o += entry_size) {
		uint64_t at = 0;
		const struct acpi_header *t;

		memcpy(&at, entries + o, entry_size);
		t = table_at(hpa(at), map);
		if (t != NULL && memcmp(t->signature, signature, 4) == 0)
			return t;
	}
	return NULL;
}

static const struct acpi_header *find_madt(const uint8_t *rsdp, unsigned len, acpi_map map)
{
	const struct acpi_header *root, *madt = NULL;
	uint32_t rsdt;
	uint64_t xsdt;

	if (len < RSDP_V1_SIZE || memcmp(rsdp, "RSD PTR ", 8) != 0 ||
	    !sum_is_zero(rsdp, RSDP_V1_SIZE))
		return NULL;
	/* The second version's fields have a checksum of their own. (ACPI 6.5, 5.2.5.3) */
	if (len >= RSDP_V2_SIZE && rsdp[15] >= 2 && sum_is_zero(rsdp, RSDP_V2_SIZE)) {
		memcpy(&xsdt, rsdp + 24, sizeof(xsdt));
		root = table_at(hpa(xsdt), map);
		if (root != NULL)
			madt = find_table(root, 8, "APIC", map);
	}
	if (madt != NULL)
		return madt;
	memcpy(&rsdt, rsdp + 16, sizeof(rsdt));
	root = table_at(hpa(rsdt), map);
	return root != NULL ? find_table(root, 4, "APIC", map) : NULL;
}

/* The APIC id in an entry of an enabled CPU. */
static bool entry_cpu(const uint8_t *e, uint8_t len, uint32_t *id)
{
	uint32_t flags, nobody = X2APIC_BROADCAST;

	if (e[0] == MADT_LOCAL_APIC && len >= 8) {
		memcpy(&flags, e + 4, 4);
		*id = e[3];
		nobody = APIC_BROADCAST;
	} else if (e[0] == MADT_X2APIC && len >= 16) {
		memcpy(&flags, e + 8, 4);
		memcpy(id, e + 4, 4);
	} else {
		return false;
	}
	return (flags & MADT_ENABLED) != 0 && *id != nobody;
}

static bool is_listed(const uint32_t *ids, unsigned count, uint32_t id)
{
	for (unsigned i = 0; i < count; i++)
		if (ids[i] == id)
			return true;
	return false;
}

int acpi_cpus(const uint8_t *rsdp, unsigned rsdp_len, acpi_map map, uint32_t *ids, unsigned max)
{
	const struct acpi_header *madt = find_madt(rsdp, rsdp_len, map);
	unsigned count = 0;

	if (madt == NULL)
		return -ENOENT;
	for (uint32_t o = sizeof(*madt) + 8; o + 2 <= madt->len && count < max;) {
		const uint8_t *e = (const uint8_t *)madt + o;
		uint8_t len = e[1];
		uint32_t id;

		if (len < 2 || len > madt->len - o)
			break;
		/* A CPU may be there in both forms, and must not be started twice. */
		if (entry_cpu(e, len, &id) && !is_listed(ids, count, id))
			ids[count++] = id;
		o += len;
	}
	return count != 0 ? (int)count : -ENOENT;
}
