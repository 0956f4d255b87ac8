/* SPDX-License-Identifier: MPL-2.0 */
/* device: memory of real devices, given to a guest. */
#include "base/err.h"
#include "base/parse.h"
#include "base/string.h"
#include "hv/console/args.h"
#include "hv/console/console.h"
#include "hv/console/json.h"
#include "mm/vm_device.h"

typedef unsigned long long ull;

static void print_device(struct command_call *call, const struct guest *g,
			 const struct vm_device *d)
{
	struct json j;

	if (!call->json) {
		print_to(call->out, "%012llx-%012llx -> %012llx  %llu KiB\n", (ull)d->gpa.gpa,
			 (ull)(d->gpa.gpa + d->len), (ull)d->hpa.hpa, (ull)d->len >> 10);
		return;
	}
	json_begin(&j, call->out);
	json_text(&j, "guest", g->config.name);
	json_address(&j, "gpa", d->gpa.gpa);
	json_address(&j, "hpa", d->hpa.hpa);
	json_number(&j, "len", d->len);
	json_end(&j);
}

static int list(struct command_call *call, struct guest *g)
{
	struct vm_device d;
	unsigned n = 0;

	while (vm_device_nth(&g->space, n, &d)) {
		print_device(call, g, &d);
		n++;
	}
	if (!call->json)
		print_to(call->out, "%u of at most %u devices\n", n, VM_DEVICES);
	return 0;
}

/* What a person can do about an error of vm_device_map. */
static const char *advice(int err)
{
	switch (err) {
	case -EBUSY:
		return "part of it is RAM of this machine: only device memory can be given away";
	case -EEXIST:
		return "the guest has something mapped there: unmap it, or choose another place";
	case -ENOSPC:
		return "the guest has as many devices as it can have: take one out first";
	case -ERANGE:
		return "beyond the addresses of the guest's table or of this machine";
	case -EINVAL:
		return "the guest-physical address is not a multiple of 4 KiB, or the table cannot "
		       "express these rights";
	default:
		return err_name(err);
	}
}

static int give(struct command_call *call, struct guest *g, gpa_t at)
{
	pt_attr_t rights = PT_RW;
	uint64_t start, end;
	int err;

	if (args_range(call->argv[3], &start, &end) != 0)
		return command_error(call, -EINVAL,
				     "device: '%s': expected a host range such as 0xfed00000+4K",
				     call->argv[3]);
	if (call->argc == 5 && args_rights(call->argv[4], &rights) != 0)
		return command_error(call, -EINVAL, "device: '%s': expected rights such as rw or r",
				     call->argv[4]);
	err = vm_device_map(&g->space, at, hpa(start), end - start, rights | PT_MEM_UC);
	if (err != 0)
		return command_error(call, err, "device: %s at 0x%llx: %s", call->argv[3],
				     (ull)at.gpa, advice(err));
	return 0;
}

static int run_device(struct command_call *call)
{
	struct guest *g = command_guest(call, call->argv[1]);
	uint64_t at;
	int err;

	if (g == NULL)
		return -ENOENT;
	if (call->argc == 2)
		return list(call, g);
	if (parse_size(call->argv[2], &at) != 0)
		return command_error(call, -EINVAL, "device: '%s': expected an address",
				     call->argv[2]);
	if (call->argc == 3)
		return command_error(call, -EINVAL,
				     "device: what is to be at 0x%llx? A host range, or none",
				     (ull)at);
	if (strcmp(call->argv[3], "none") != 0)
		return give(call, g, gpa(at));
	err = vm_device_unmap(&g->space, gpa(at));
	if (err == -ENOENT)
		return command_error(call, err, "device: none begins at 0x%llx", (ull)at);
	return err == 0 ? 0 : command_error(call, err, "device: %s", err_name(err));
}

const struct command device_commands[] = {
	{ "device", "GUEST [GPA HPA+LEN|none [RIGHTS]]",
	  "gives a guest the memory of a real device",
	  "  Mapped uncached, rw when no rights are given; none takes it away again. Without an\n"
	  "  address: what the guest has. The guest reaches the hardware itself, and a device "
	  "that\n"
	  "  writes to memory by itself reaches all of it: give only to guests that you trust.",
	  1, 4, run_device },
	{ 0 },
};
