/* SPDX-License-Identifier: MPL-2.0 */
/* gva: a guest-virtual address through both dimensions. */
#include "base/err.h"
#include "base/parse.h"
#include "hv/backend.h"
#include "hv/console/console.h"
#include "hv/console/gva_view.h"
#include "hv/hv.h"
#include "hv/paging.h"

static int run_gva(struct command_call *call)
{
	struct guest *g = command_guest(call, call->argv[1]);
	struct vcpu_state_full s;
	struct gva_mode mode;
	struct gva_view view;
	unsigned id;
	uint64_t at;
	bool running;

	if (g == NULL)
		return -ENOENT;
	if (command_vcpu(call, 2, g, &id) != 0)
		return -EINVAL;
	if (parse_size(call->argv[3], &at) != 0)
		return command_error(call, -EINVAL, "gva: '%s': expected an address",
				     call->argv[3]);
	running = command_rest(g);
	hv_backend->get(hv_vcpu(g, id), &s);
	vcpu_gva_mode(hv_vcpu(g, id), &s, &mode);
	gva_look(&g->space, &mode, gva(at), &view);
	if (running)
		hv_resume(g);
	if (call->json)
		gva_print_json(&view, call->out);
	else
		gva_print(&view, call->out);
	return 0;
}

const struct command gva_commands[] = {
	{ "gva", "GUEST VCPU ADDR", "a linear address through the guest's tables and stage 2",
	  "  Each entry of the guest's tables: where it is, its value, what it says, and where "
	  "stage "
	  "2 has\n"
	  "  that place; the result; and what reads, writes and execution would do, as supervisor "
	  "and as\n"
	  "  user, with the fault that the guest would see. Nothing is changed by looking. A "
	  "running "
	  "guest\n"
	  "  rests meanwhile, with all its vCPUs: what is shown is one moment, and the registers "
	  "are "
	  "those\n"
	  "  of that moment, of whatever the guest was doing.",
	  3, 3, run_gva },
	{ 0 },
};
