/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Tries everything that must be contained, says what came of it, and ends in a triple fault.
 *
 *   cmdline: probe=NAME   only that one of the probes that end the guest (hostile_stop.c);
 *                         probe=list names them
 *            end=exit     ends by HC_EXIT in place of the triple fault
 */
#include "guest/tiny/hostile.h"

struct insn {
	const char *name;
	void (*code)(void *memory);
	uint64_t outcome;
};

extern const struct insn insns[], insns_end[];

static unsigned probes, breaches;
static uint8_t memory[4096] __attribute__((aligned(4096)));

static const char *vector_name(int vector)
{
	static const char *const names[] = {
		[VECTOR_DE] = "#DE", [VECTOR_DB] = "#DB", [VECTOR_BP] = "#BP", [VECTOR_UD] = "#UD",
		[VECTOR_NM] = "#NM", [VECTOR_DF] = "#DF", [VECTOR_TS] = "#TS", [VECTOR_NP] = "#NP",
		[VECTOR_SS] = "#SS", [VECTOR_GP] = "#GP", [VECTOR_PF] = "#PF",
	};

	if (vector == TRY_DONE)
		return "done";
	if (vector < 0 || vector > VECTOR_PF || names[vector] == NULL)
		return "another exception";
	return names[vector];
}

void judge(const char *name, bool contained)
{
	probes++;
	if (contained)
		return;
	breaches++;
	say("hostile: BREACH: %s\n", name);
}

int probe_quietly(const char *name, enum outcome must, void (*f)(void *), void *arg)
{
	int vector = try_call(f, arg);

	judge(name, must == EITHER || vector != TRY_DONE);
	return vector;
}

int probe(const char *name, enum outcome must, void (*f)(void *), void *arg)
{
	int vector = probe_quietly(name, must, f, arg);

	say("hostile: %s: %s\n", name, vector_name(vector));
	return vector;
}

void hostile_instructions(const char *when, bool aloud)
{
	unsigned faults = 0, all = 0;

	for (const struct insn *i = insns; i < insns_end; i++, all++) {
		int vector = (aloud ? probe : probe_quietly)(i->name, (enum outcome)i->outcome,
							     i->code, memory);

		faults += vector != TRY_DONE;
	}
	say("hostile: instructions%s: %u of %u fault\n", when, faults, all);
}

int main(void)
{
	char name[32];
	bool exits = option_text("end", name, sizeof(name)) && name[0] == 'e';

	if (option_text("probe", name, sizeof(name))) {
		hostile_stop(name);
		return 1;
	}
	hostile_instructions("", true);
	hostile_registers();
	hostile_instructions(" with everything on", false);
	hostile_msrs();
	hostile_ports();
	hostile_hypercalls();
	hostile_code();
	hostile_user();
	if (breaches != 0)
		say("hostile: FAIL: %u of %u probes broke out\n", breaches, probes);
	else
		say("hostile: contained %u probes\n", probes);
	if (breaches == 0 && !exits)
		hostile_stop("triple-fault");
	return breaches != 0;
}
