/* SPDX-License-Identifier: MPL-2.0 */
/* guests, guest, exits, regs, pause, resume, stop. */
#include "base/err.h"
#include "base/parse.h"
#include "base/x86/apic.h"
#include "hv/backend.h"
#include "hv/console/console.h"
#include "hv/console/json.h"
#include "hv/hv.h"

typedef unsigned long long ull;

struct totals {
	uint64_t exits, guest_cycles, host_cycles;
};

static struct totals guest_totals(const struct guest *g)
{
	struct totals t = { 0 };

	for (unsigned i = 0; i < g->config.vcpus; i++) {
		const struct vcpu *v = hv_vcpu(g, i);

		for (unsigned r = 0; v != NULL && r < EXIT_REASONS; r++) {
			t.exits += v->exits[r].count;
			t.host_cycles += v->exits[r].cycles;
		}
		t.guest_cycles += v != NULL ? v->guest_cycles : 0;
	}
	return t;
}

static void guest_row(struct command_call *call, const struct guest *g)
{
	struct totals t = guest_totals(g);
	enum guest_state state = atomic_load(&g->state);
	struct json j;

	if (!call->json) {
		print_to(call->out,
			 "%-12s %-8s %u vCPU%s on CPU %u, %llu MiB, %llu KiB touched, %llu exits",
			 g->config.name, guest_state_name(state), g->config.vcpus,
			 g->config.vcpus == 1 ? "" : "s", hv_vcpu(g, 0)->cpu,
			 (ull)g->config.mem >> 20, (ull)atomic_load(&g->pages_populated) * 4,
			 (ull)t.exits);
		if (state == GUEST_DONE)
			print_to(call->out, ", status %u", g->status);
		if (state == GUEST_STOPPED)
			print_to(call->out, ": %s", g->why);
		print_to(call->out, "\n");
		return;
	}
	json_begin(&j, call->out);
	json_text(&j, "guest", g->config.name);
	json_text(&j, "state", guest_state_name(state));
	json_number(&j, "vcpus", g->config.vcpus);
	json_number(&j, "cpu", hv_vcpu(g, 0)->cpu);
	json_number(&j, "memory", g->config.mem);
	json_number(&j, "touched", atomic_load(&g->pages_populated) * PAGE_SIZE);
	json_number(&j, "faults", atomic_load(&g->faults_served));
	json_number(&j, "exits", t.exits);
	json_number(&j, "us", t.guest_cycles * 1000 / tsc_per_ms);
	json_number(&j, "status", g->status);
	json_text(&j, "why", g->why);
	json_end(&j);
}

static int run_guests(struct command_call *call)
{
	unsigned shown = 0;

	for (unsigned i = 0; i < GUESTS_MAX; i++) {
		const struct guest *g = guest_at(i);

		if (g != NULL) {
			guest_row(call, g);
			shown++;
		}
	}
	if (shown == 0 && !call->json)
		print_to(call->out, "no guests%s%s\n", hv_why[0] != '\0' ? ": " : "", hv_why);
	return 0;
}

static const char *vcpu_state_text(const struct vcpu *v)
{
	static const char *const names[] = {
		[VCPU_WAIT_START] = "not started",
		[VCPU_READY] = "ready",
		[VCPU_HALTED] = "halted",
	};

	return names[atomic_load(&v->state)];
}

static int run_guest(struct command_call *call)
{
	struct guest *g = command_guest(call, call->argv[1]);
	struct json j;

	if (g == NULL)
		return -ENOENT;
	guest_row(call, g);
	for (unsigned i = 0; i < g->config.vcpus; i++) {
		const struct vcpu *v = hv_vcpu(g, i);

		if (!call->json) {
			print_to(call->out,
				 "  vCPU %u: %s, CPU %u, %llu us in the guest, first entered %llu "
				 "cycles after the hand-over\n",
				 i, vcpu_state_text(v), v->cpu,
				 (ull)(v->guest_cycles * 1000 / tsc_per_ms),
				 (ull)(v->started != 0 ? v->started - hv_start_tsc : 0));
			continue;
		}
		json_begin(&j, call->out);
		json_number(&j, "vcpu", i);
		json_text(&j, "state", vcpu_state_text(v));
		json_number(&j, "cpu", v->cpu);
		json_number(&j, "started", v->started != 0 ? v->started - hv_start_tsc : 0);
		json_end(&j);
	}
	for (unsigned i = 0; i < GUEST_REPORTS; i++) {
		if (g->report[i] == 0)
			continue;
		if (!call->json) {
			print_to(call->out, "  report %u: %u\n", i, g->report[i]);
			continue;
		}
		json_begin(&j, call->out);
		json_number(&j, "report", i);
		json_number(&j, "value", g->report[i]);
		json_end(&j);
	}
	return 0;
}

static void exits_of(struct command_call *call, const struct guest *g)
{
	for (unsigned r = 0; r < EXIT_REASONS; r++) {
		uint64_t count = 0, cycles = 0;
		struct json j;

		for (unsigned i = 0; i < g->config.vcpus; i++) {
			count += hv_vcpu(g, i)->exits[r].count;
			cycles += hv_vcpu(g, i)->exits[r].cycles;
		}
		if (count == 0)
			continue;
		if (!call->json) {
			print_to(call->out, "%-12s %-12s %10llu exits %14llu cycles %8llu each\n",
				 g->config.name, exit_reason_name((enum exit_reason)r), (ull)count,
				 (ull)cycles, (ull)(cycles / count));
			continue;
		}
		json_begin(&j, call->out);
		json_text(&j, "guest", g->config.name);
		json_text(&j, "reason", exit_reason_name((enum exit_reason)r));
		json_number(&j, "count", count);
		json_number(&j, "cycles", cycles);
		json_end(&j);
	}
}

static int run_exits(struct command_call *call)
{
	if (call->argc == 2) {
		struct guest *g = command_guest(call, call->argv[1]);

		if (g == NULL)
			return -ENOENT;
		exits_of(call, g);
		return 0;
	}
	for (unsigned i = 0; i < GUESTS_MAX; i++)
		if (guest_at(i) != NULL)
			exits_of(call, guest_at(i));
	return 0;
}

bool command_rest(struct guest *g)
{
	bool running = atomic_load(&g->state) == GUEST_RUNNING;

	/* One that has just ended may still be on its way out of its CPU. */
	hv_pause(g);
	return running;
}

int command_vcpu(struct command_call *call, int arg, const struct guest *g, unsigned *id)
{
	uint64_t number;

	if (parse_u64(call->argv[arg], &number) != 0 || number >= g->config.vcpus)
		return command_error(call, -EINVAL, "%s: vCPU '%s': expected 0 to %u",
				     call->argv[0], call->argv[arg], g->config.vcpus - 1);
	*id = (unsigned)number;
	return 0;
}

static void print_regs(struct command_call *call, struct vcpu *v)
{
	static const char *const names[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp",
					       "rsi", "rdi", "r8",  "r9",  "r10", "r11",
					       "r12", "r13", "r14", "r15" };
	struct vcpu_state_full s;
	struct json j;

	hv_backend->get(v, &s);
	if (call->json) {
		json_begin(&j, call->out);
		json_number(&j, "vcpu", v->id);
		json_address(&j, "rip", s.rip);
		json_address(&j, "rflags", s.rflags);
		for (unsigned i = 0; i < 16; i++)
			json_address(&j, names[i], i == GPR_RSP ? s.rsp : v->gpr[i]);
		json_address(&j, "cs_base", s.cs.base);
		json_address(&j, "cr0", s.cr0);
		json_address(&j, "cr2", s.cr2);
		json_address(&j, "cr3", s.cr3);
		json_address(&j, "cr4", s.cr4);
		json_address(&j, "efer", s.efer);
		json_end(&j);
		return;
	}
	print_to(call->out, "vCPU %u: rip %04x:%016llx rflags %llx\n", v->id, s.cs.selector,
		 (ull)s.rip, (ull)s.rflags);
	for (unsigned i = 0; i < 16; i++)
		print_to(call->out, "  %-3s %016llx%s", names[i],
			 (ull)(i == GPR_RSP ? s.rsp : v->gpr[i]), i % 4 == 3 ? "\n" : "");
	print_to(call->out, "  cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx\n", (ull)s.cr0,
		 (ull)s.cr2, (ull)s.cr3, (ull)s.cr4, (ull)s.efer);
}

static int run_regs(struct command_call *call)
{
	struct guest *g = command_guest(call, call->argv[1]);
	unsigned id = 0;
	bool running;

	if (g == NULL)
		return -ENOENT;
	if (call->argc == 3 && command_vcpu(call, 2, g, &id) != 0)
		return -EINVAL;
	running = command_rest(g);
	print_regs(call, hv_vcpu(g, id));
	if (running)
		hv_resume(g);
	return 0;
}

static int run_pause(struct command_call *call)
{
	struct guest *g = command_guest(call, call->argv[1]);

	if (g == NULL)
		return -ENOENT;
	if (atomic_load(&g->state) != GUEST_RUNNING)
		return command_error(call, -EBUSY, "pause: guest '%s' is %s", g->config.name,
				     guest_state_name(atomic_load(&g->state)));
	hv_pause(g);
	return 0;
}

static int run_resume(struct command_call *call)
{
	struct guest *g = command_guest(call, call->argv[1]);

	if (g == NULL)
		return -ENOENT;
	if (atomic_load(&g->state) != GUEST_PAUSED)
		return command_error(call, -EBUSY, "resume: guest '%s' is %s, not paused",
				     g->config.name, guest_state_name(atomic_load(&g->state)));
	hv_resume(g);
	return 0;
}

static int run_stop(struct command_call *call)
{
	struct guest *g = command_guest(call, call->argv[1]);

	if (g == NULL)
		return -ENOENT;
	hv_remove(g);
	return 0;
}

const struct command guest_commands[] = {
	{ "guests", "", "the guests: state, memory, exits", NULL, 0, 0, run_guests },
	{ "guest", "NAME", "one guest: its vCPUs, what it reported", NULL, 1, 1, run_guest },
	{ "exits", "[GUEST]", "exits by reason: how many, how long outside", NULL, 0, 1,
	  run_exits },
	{ "regs", "GUEST [VCPU]", "a vCPU's registers",
	  "  A running guest rests for the moment in which they are read.", 1, 2, run_regs },
	{ "pause", "GUEST", "lets it rest; its memory can still be looked at", NULL, 1, 1,
	  run_pause },
	{ "resume", "GUEST", "lets a paused guest go on", NULL, 1, 1, run_resume },
	{ "stop", "GUEST", "ends it and takes all of its memory back", NULL, 1, 1, run_stop },
	{ 0 },
};
