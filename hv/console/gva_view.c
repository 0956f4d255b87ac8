/* SPDX-License-Identifier: MPL-2.0 */
#include "hv/console/gva_view.h"

#include "base/epoch.h"
#include "base/x86/msr.h"
#include "hv/console/json.h"
#include "mm/pt_ops.h"

typedef unsigned long long ull;

static const char *const kind_names[] = { "absent", "reserved", "table", "page" };
static const char *const access_names[] = { "read", "write", "execute" };

static struct gva_access access_of(unsigned i)
{
	return (struct gva_access){ .kind = (enum gva_kind)(i % 3), .user = i >= 3, .probe = true };
}

static struct pt_hit stage2(struct vm_space *space, gpa_t at)
{
	struct pt_hit hit;

	epoch_enter();
	hit = vm_lookup(space, at);
	epoch_exit();
	return hit;
}

/* The tables alone, without the rules of rights: the last entry of the walk is a page. */
static void look_for_page(struct gva_view *v)
{
	struct gva_entry entry = { .is = GVA_ENTRY_ABSENT };

	if (v->trace.n == 0) {
		v->found = v->result[0].outcome == GVA_OK;
		v->gpa = v->result[0].gpa;
		v->rights = v->result[0].rights;
		return;
	}
	v->rights = PT_READ | PT_WRITE | PT_EXEC | PT_USER;
	for (unsigned i = 0; i < v->trace.n; i++) {
		entry = gva_decode(&v->mode, &v->trace.steps[i]);
		v->rights &= entry.attr | ~entry.has;
	}
	v->found = entry.is == GVA_ENTRY_PAGE;
	v->size = entry.size;
	v->gpa = gpa(entry.to.gpa | (v->at.gva & (entry.size - 1)));
}

void gva_look(struct vm_space *space, const struct gva_mode *mode, gva_t at, struct gva_view *out)
{
	*out = (struct gva_view){ .mode = *mode, .at = at };
	if ((mode->efer & EFER_LMA) == 0)
		out->at = gva(at.gva & UINT32_MAX);
	for (unsigned i = 0; i < GVA_ACCESSES; i++)
		gva_translate(space, mode, out->at, access_of(i), &out->result[i],
			      i == 0 ? &out->trace : NULL);
	for (unsigned i = 0; i < out->trace.n; i++)
		out->places[i] = stage2(space, out->trace.steps[i].at);
	look_for_page(out);
	if (out->found)
		out->page = stage2(space, out->gpa);
}

/* --- text --------------------------------------------------------------------------------- */

static const char *paging_name(const struct gva_mode *m)
{
	if ((m->cr0 & CR0_PG) == 0)
		return "none";
	if ((m->efer & EFER_LMA) != 0)
		return m->cr4 & CR4_LA57 ? "5-level" : "4-level";
	return m->cr4 & CR4_PAE ? "PAE" : "32-bit";
}

static void print_mode(const struct gva_mode *m, struct print_sink *out)
{
	print_to(out, "  paging %s, cr3 %llx%s%s%s%s%s%s%s\n", paging_name(m), (ull)m->cr3,
		 m->cr0 & CR0_WP ? ", WP" : "", m->cr4 & CR4_PSE ? ", PSE" : "",
		 m->efer & EFER_NXE ? ", NXE" : "", m->cr4 & CR4_SMEP ? ", SMEP" : "",
		 m->cr4 & CR4_SMAP ? ", SMAP" : "", m->rflags_ac ? ", AC" : "",
		 m->cr4 & CR4_PKE ? ", PKE" : "");
}

static void print_size(uint64_t size, struct print_sink *out)
{
	if (size >= UINT64_C(1) << 30)
		print_to(out, "%llu GiB", (ull)size >> 30);
	else if (size >= UINT64_C(1) << 20)
		print_to(out, "%llu MiB", (ull)size >> 20);
	else
		print_to(out, "%llu KiB", (ull)size >> 10);
}

/* Where stage 2 has a guest-physical address. */
static void print_stage2(const struct pt_hit *hit, gpa_t at, struct print_sink *out)
{
	uint64_t size;
	char rights[4];

	print_to(out, "           stage 2: ");
	if (hit->level == 0) {
		print_to(out, "nothing is mapped there\n");
		return;
	}
	size = pt_level_size(hit->level);
	print_to(out, "%llx, page of ", (ull)(hit->hpa.hpa | (at.gpa & (size - 1))));
	print_size(size, out);
	print_to(out, ", %s\n", pt_rights_text(hit->attr, rights));
}

/* A right or mark of an entry: its letter, '-' where it is off, nothing where there is none. */
static void print_bit(const struct gva_entry *e, pt_attr_t bit, char letter, struct print_sink *out)
{
	if ((e->has & bit) != 0)
		print_to(out, "%c", (e->attr & bit) != 0 ? letter : '-');
}

static void print_step(const struct gva_view *v, unsigned i, struct print_sink *out)
{
	const struct gva_step *s = &v->trace.steps[i];
	struct gva_entry e = gva_decode(&v->mode, s);

	print_to(out, "  level %u  %012llx = %016llx  %s", s->level, (ull)s->at.gpa, (ull)s->value,
		 kind_names[e.is]);
	if (e.is == GVA_ENTRY_TABLE || e.is == GVA_ENTRY_PAGE)
		print_to(out, " -> %llx", (ull)e.to.gpa);
	if (e.has != 0)
		print_to(out, " ");
	print_bit(&e, PT_WRITE, 'w', out);
	print_bit(&e, PT_USER, 'u', out);
	print_bit(&e, PT_EXEC, 'x', out);
	print_bit(&e, PT_ACCESSED, 'A', out);
	print_bit(&e, PT_DIRTY, 'D', out);
	if (e.key > 0)
		print_to(out, " key %d", e.key);
	print_to(out, "\n");
	print_stage2(&v->places[i], s->at, out);
}

static void print_page(const struct gva_view *v, struct print_sink *out)
{
	char rights[4];

	if (!v->found) {
		print_to(out, "  %llx leads to no page\n", (ull)v->at.gva);
		return;
	}
	print_to(out, "  %llx -> %llx", (ull)v->at.gva, (ull)v->gpa.gpa);
	if (v->size != 0) {
		print_to(out, ", page of ");
		print_size(v->size, out);
	}
	print_to(out, ", %s%s\n", pt_rights_text(v->rights, rights),
		 v->rights & PT_USER ? ", user" : "");
	print_stage2(&v->page, v->gpa, out);
}

/* What stage 2 adds to an access that the guest's tables allow. */
static const char *stage2_verdict(const struct gva_view *v, unsigned i)
{
	static const pt_attr_t wants[] = { PT_READ, PT_WRITE, PT_EXEC };

	if (v->page.level == 0)
		return "absent";
	return (v->page.attr & wants[i % 3]) != 0 ? "allowed" : "refused";
}

static void print_access(const struct gva_view *v, unsigned i, struct print_sink *out)
{
	const struct gva_result *r = &v->result[i];

	print_to(out, "  %-7s as %-10s  ", access_names[i % 3], i < 3 ? "supervisor" : "user");
	switch (r->outcome) {
	case GVA_OK:
		print_to(out, "allowed, by stage 2: %s\n", stage2_verdict(v, i));
		break;
	case GVA_PAGE_FAULT:
		print_to(out, "#PF, error code 0x%x, CR2 0x%llx\n", r->error, (ull)r->cr2);
		break;
	case GVA_NONCANONICAL:
		print_to(out, "#GP: the address is not canonical\n");
		break;
	default:
		print_to(out, "no memory is there for the table at %llx\n", (ull)r->gpa.gpa);
	}
}

void gva_print(const struct gva_view *view, struct print_sink *out)
{
	print_mode(&view->mode, out);
	for (unsigned i = 0; i < view->trace.n; i++)
		print_step(view, i, out);
	print_page(view, out);
	for (unsigned i = 0; i < GVA_ACCESSES; i++)
		print_access(view, i, out);
}

/* --- JSON --------------------------------------------------------------------------------- */

static void json_bit(struct json *j, const char *name, const struct gva_entry *e, pt_attr_t bit)
{
	if ((e->has & bit) != 0)
		json_bool(j, name, (e->attr & bit) != 0);
	else
		json_null(j, name);
}

static void json_size(struct json *j, const char *name, uint64_t size)
{
	if (size != 0)
		json_number(j, name, size);
	else
		json_null(j, name);
}

static void json_stage2(struct json *j, const struct pt_hit *hit, gpa_t at)
{
	uint64_t size = hit->level != 0 ? pt_level_size(hit->level) : 0;

	if (size == 0)
		json_null(j, "hpa");
	else
		json_address(j, "hpa", hit->hpa.hpa | (at.gpa & (size - 1)));
	json_size(j, "stage2_page", size);
	json_bool(j, "stage2_r", (hit->attr & PT_READ) != 0);
	json_bool(j, "stage2_w", (hit->attr & PT_WRITE) != 0);
	json_bool(j, "stage2_x", (hit->attr & PT_EXEC) != 0);
}

static void step_json(const struct gva_view *v, unsigned i, struct print_sink *out)
{
	const struct gva_step *s = &v->trace.steps[i];
	struct gva_entry e = gva_decode(&v->mode, s);
	struct json j;

	json_begin(&j, out);
	json_number(&j, "level", s->level);
	json_address(&j, "gpa", s->at.gpa);
	json_address(&j, "raw", s->value);
	json_text(&j, "kind", kind_names[e.is]);
	if (e.is == GVA_ENTRY_TABLE || e.is == GVA_ENTRY_PAGE)
		json_address(&j, "to", e.to.gpa);
	else
		json_null(&j, "to");
	json_size(&j, "page", e.size);
	json_bool(&j, "present", e.is != GVA_ENTRY_ABSENT);
	json_bit(&j, "w", &e, PT_WRITE);
	json_bit(&j, "user", &e, PT_USER);
	json_bit(&j, "x", &e, PT_EXEC);
	json_bit(&j, "accessed", &e, PT_ACCESSED);
	json_bit(&j, "dirty", &e, PT_DIRTY);
	if (e.key >= 0)
		json_number(&j, "key", (uint64_t)e.key);
	else
		json_null(&j, "key");
	json_stage2(&j, &v->places[i], s->at);
	json_end(&j);
}

static void page_json(const struct gva_view *v, struct print_sink *out)
{
	struct json j;

	json_begin(&j, out);
	json_address(&j, "gva", v->at.gva);
	json_text(&j, "paging", paging_name(&v->mode));
	if (v->found) {
		json_address(&j, "gpa", v->gpa.gpa);
		json_size(&j, "page", v->size);
		json_bool(&j, "w", (v->rights & PT_WRITE) != 0);
		json_bool(&j, "user", (v->rights & PT_USER) != 0);
		json_bool(&j, "x", (v->rights & PT_EXEC) != 0);
		json_stage2(&j, &v->page, v->gpa);
	} else {
		json_null(&j, "gpa");
	}
	json_end(&j);
}

static void access_json(const struct gva_view *v, unsigned i, struct print_sink *out)
{
	const struct gva_result *r = &v->result[i];
	bool raised = r->outcome == GVA_PAGE_FAULT || r->outcome == GVA_NONCANONICAL;
	struct json j;

	json_begin(&j, out);
	json_text(&j, "access", access_names[i % 3]);
	json_bool(&j, "as_user", i >= 3);
	json_text(&j, "outcome", r->outcome == GVA_OK ? "allowed" : raised ? "fault" : "no-table");
	if (raised) {
		json_number(&j, "vector", r->vector);
		json_number(&j, "error", r->error);
	} else {
		json_null(&j, "vector");
		json_null(&j, "error");
	}
	if (r->outcome == GVA_PAGE_FAULT)
		json_address(&j, "cr2", r->cr2);
	else
		json_null(&j, "cr2");
	if (r->outcome == GVA_OK)
		json_text(&j, "stage2", stage2_verdict(v, i));
	else
		json_null(&j, "stage2");
	json_end(&j);
}

void gva_print_json(const struct gva_view *view, struct print_sink *out)
{
	for (unsigned i = 0; i < view->trace.n; i++)
		step_json(view, i, out);
	page_json(view, out);
	for (unsigned i = 0; i < GVA_ACCESSES; i++)
		access_json(view, i, out);
}
