/* SPDX-License-Identifier: MPL-2.0 */
/* help, mem, tlb, audit, log, quit. */
#include "base/err.h"
#include "base/fixup.h"
#include "base/log.h"
#include "base/string.h"
#include "base/x86/percpu.h"
#include "hv/console/console.h"
#include "hv/console/json.h"
#include "hv/hv.h"
#include "mm/frame_alloc.h"
#include "mm/kspace.h"
#include "vmio/owner.h"

typedef unsigned long long ull;

static int help_one(struct command_call *call, const char *name)
{
	const struct command *c;

	for (unsigned n = 0; (c = command_at(n)) != NULL; n++) {
		if (strcmp(c->name, name) != 0)
			continue;
		print_to(call->out, "%s %s\n  %s\n", c->name, c->args, c->summary);
		if (c->help != NULL)
			print_to(call->out, "%s\n", c->help);
		return 0;
	}
	return command_error(call, -ENOENT, "help: no command '%s': `help` lists them", name);
}

static int run_help(struct command_call *call)
{
	const struct command *c;

	if (call->argc == 2)
		return help_one(call, call->argv[1]);
	for (unsigned n = 0; (c = command_at(n)) != NULL; n++)
		print_to(call->out, "  %-8s %-34s %s\n", c->name, c->args, c->summary);
	print_to(call->out, "Commands that print data take --json. `help COMMAND` says more.\n");
	return 0;
}

static int run_mem(struct command_call *call)
{
	struct frame_account a;

	frame_account(&a);
	for (unsigned kind = 0; kind < FRAME_KINDS; kind++) {
		struct json j;

		if (!call->json) {
			print_to(call->out, "  %-13s %10llu KiB\n",
				 frame_kind_name((enum frame_kind)kind),
				 (ull)a.by_kind[kind] >> 10);
			continue;
		}
		json_begin(&j, call->out);
		json_text(&j, "use", frame_kind_name((enum frame_kind)kind));
		json_number(&j, "bytes", a.by_kind[kind]);
		json_end(&j);
	}
	if (call->json) {
		struct json j;

		json_begin(&j, call->out);
		json_text(&j, "use", "total");
		json_number(&j, "bytes", a.total);
		json_number(&j, "zeroed", a.zeroed);
		json_number(&j, "largest_free", a.largest_free);
		json_end(&j);
		return 0;
	}
	print_to(call->out,
		 "  %-13s %10llu KiB, %llu KiB of the free zeroed, largest free block %llu KiB\n",
		 "total", (ull)a.total >> 10, (ull)a.zeroed >> 10, (ull)a.largest_free >> 10);
	return 0;
}

static int run_tlb(struct command_call *call)
{
	for (unsigned i = 0; i < GUESTS_MAX; i++) {
		struct guest *g = guest_at(i);
		struct tlb_domain *d;
		struct json j;

		if (g == NULL)
			continue;
		d = &g->space.pt.tlb;
		if (call->json) {
			json_begin(&j, call->out);
			json_text(&j, "guest", g->config.name);
			json_number(&j, "generation", atomic_load(&d->generation));
			json_address(&j, "inside", atomic_load(&d->inside));
			json_number(&j, "flushes", atomic_load(&d->flushes));
			json_number(&j, "kicks", atomic_load(&d->kicks));
			json_end(&j);
			continue;
		}
		print_to(call->out,
			 "%s: generation %llu, %llu flushes, %llu kicks; CPUs have seen:",
			 g->config.name, (ull)atomic_load(&d->generation),
			 (ull)atomic_load(&d->flushes), (ull)atomic_load(&d->kicks));
		for (unsigned cpu = 0; cpu < cpu_count; cpu++)
			print_to(call->out, " %llu", (ull)atomic_load(&d->seen[cpu]));
		print_to(call->out, "\n");
	}
	return 0;
}

static struct command_call *audit_call;

static void audit_report(const char *text)
{
	struct json j;

	if (!audit_call->json) {
		print_to(audit_call->out, "violation: %s\n", text);
		return;
	}
	json_begin(&j, audit_call->out);
	json_text(&j, "violation", text);
	json_end(&j);
}

static void audit_row(struct command_call *call, const char *what, uint64_t nodes, uint64_t leaves,
		      uint64_t violations)
{
	struct json j;

	if (!call->json) {
		print_to(call->out, "%s: %llu tables, %llu mappings, %llu violations\n", what,
			 (ull)nodes, (ull)leaves, (ull)violations);
		return;
	}
	json_begin(&j, call->out);
	json_text(&j, "what", what);
	json_number(&j, "tables", nodes);
	json_number(&j, "mappings", leaves);
	json_number(&j, "violations", violations);
	json_end(&j);
}

static int run_audit(struct command_call *call)
{
	uint64_t violations, sum;
	struct pt_audit host;

	audit_call = call;
	sum = violations = fixup_audit(audit_report);
	audit_row(call, "faults", 0, 0, violations);
	sum += violations = frame_audit(audit_report);
	audit_row(call, "frames", 0, 0, violations);
	sum += kspace_audit(&host, audit_report);
	audit_row(call, "host", host.nodes, host.leaves[1] + host.leaves[2] + host.leaves[3],
		  host.violations);
	for (unsigned i = 0; i < GUESTS_MAX; i++) {
		struct guest *g = guest_at(i);
		struct vm_audit a;

		if (g == NULL)
			continue;
		vm_audit(&g->space, &a, audit_report);
		a.violations += owner_audit(&g->space, audit_report);
		audit_row(call, g->config.name, a.nodes, a.leaves[1] + a.leaves[2] + a.leaves[3],
			  a.violations);
		sum += a.violations;
	}
	return sum == 0 ? 0 : command_error(call, -EIO, "audit: %llu violations", (ull)sum);
}

static int run_log(struct command_call *call)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };

	struct json j;

	if (call->argc == 1 && !call->json) {
		print_to(call->out, "%s\n", names[log_get_level()]);
		return 0;
	}
	if (call->argc == 1) {
		json_begin(&j, call->out);
		json_text(&j, "level", names[log_get_level()]);
		json_end(&j);
		return 0;
	}
	for (unsigned i = 0; i < 4; i++) {
		if (strcmp(call->argv[1], names[i]) == 0) {
			log_set_level((enum log_level)i);
			return 0;
		}
	}
	return command_error(call, -EINVAL, "log: '%s': expected error, warn, info or debug",
			     call->argv[1]);
}

static int run_quit(struct command_call *call)
{
	(void)call;
	hv_power_off(!console_failed());
}

const struct command system_commands[] = {
	{ "mem", "", "host memory by use", NULL, 0, 0, run_mem },
	{ "tlb", "", "flush generations of each guest", NULL, 0, 0, run_tlb },
	{ "audit", "", "checks every structure, prints each violation",
	  "  Free lists and accounts; Nestling's own tables, and that nothing in them is writable "
	  "and\n"
	  "  executable; each guest's tables (levels, counts, alignment, references).",
	  0, 0, run_audit },
	{ "log", "[LEVEL]", "shows or sets the level: error, warn, info, debug", NULL, 0, 1,
	  run_log },
	{ "help", "[COMMAND]", "lists the commands, or explains one", NULL, 0, 1, run_help },
	{ "quit", "", "powers the machine off",
	  "  The bed is told success unless a command has failed.", 0, 0, run_quit },
	{ 0 },
};
