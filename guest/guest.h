/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A guest as data: what was asked for, its memory map, its memory, its devices. How it runs is
 * hv/'s.
 */
#ifndef GUEST_GUEST_H
#define GUEST_GUEST_H

#include "base/lock.h"
#include "ept/stage2.h"
#include "guest/uart.h"
#include "mm/vm_space.h"

#define GUEST_NAME_MAX 24
#define GUEST_VCPUS    8
#define GUESTS_MAX     16
#define GUEST_REPORTS  8
#define GUEST_LINE_MAX 160 /* longer lines are cut into pieces */

/* What the owner asked for, on the module's line: "name=tiny mem=16M cpus=1 page=4k cpu=auto". */
struct guest_config {
	char name[GUEST_NAME_MAX];
	uint64_t mem;	   /* bytes of RAM, a multiple of 4 KiB */
	unsigned vcpus;	   /* 1 .. GUEST_VCPUS */
	unsigned page;	   /* level of the pages that RAM is brought in with: 1, 2 or 3 */
	int cpu;	   /* physical CPU of vCPU 0, the others follow; -1: any */
	bool start;	   /* false: created paused ("start=no") */
	char cmdline[256]; /* for the guest: "cmdline=..." */
};

/*
 * Reads the module line (first word: the file, skipped; it gives the default name). -EINVAL with a
 * message in `why` that names the option, the value and what was expected.
 */
int guest_config_parse(const char *line, struct guest_config *out, char *why, size_t why_size);

/*
 * How the first vCPU starts: in 16-bit real mode at the ELF entry, a linear address below 1 MiB,
 * with CS.base = entry & 0xf0000 and IP = entry & 0xffff. It finds RAM from 0 to its size, without
 * holes, and the boot page (guest/boot_page.h) at 0x500; RAM that the image does not fill is zero.
 */
struct guest_start {
	uint32_t entry;
};

enum guest_state {
	GUEST_RUNNING,
	GUEST_PAUSED,
	GUEST_DONE,    /* said so itself (HC_EXIT, or all vCPUs halted for good) */
	GUEST_STOPPED, /* by Nestling, `why` says for what */
};

struct guest {
	struct guest_config config;
	unsigned index; /* 0 .. GUESTS_MAX - 1 */
	struct vm_space space;
	struct guest_start start;
	_Atomic enum guest_state state;
	char why[256];	 /* of GUEST_STOPPED: set once, before the state */
	uint32_t status; /* of HC_EXIT */
	uint32_t report[GUEST_REPORTS];
	struct guest_uart uart;
	char line[GUEST_LINE_MAX]; /* the console line that is being collected */
	unsigned line_len;
	struct spinlock output_lock; /* line, uart (LOCK_LEAF) */
	_Atomic uint64_t faults_served, pages_populated;
};

/*
 * Creates the guest: space, memory map, devices, image loaded. `image` is the module as GRUB loaded
 * it. On failure everything is given back and `why` says in one line what was wrong with what and
 * what to do: -ENOEXEC (not a loadable ELF), -EINVAL, -EEXIST (the name is taken), -ENOSPC
 * (GUESTS_MAX), -ENOMEM (less is free than it asks for and others were promised).
 */
int guest_create(const struct guest_config *config, const void *image, uint64_t image_len,
		 const struct pt_ops *ops, struct guest **out, char *why, size_t why_size);

/* Precondition: no vCPU of it runs or will run again, nobody reads or writes its memory. */
void guest_destroy(struct guest *g);

/* By name or index; NULL if there is none. */
struct guest *guest_find(const char *name);
struct guest *guest_at(unsigned index);

/* The first stop wins; later ones are ignored. May be called from any CPU. */
__attribute__((format(printf, 2, 3))) void guest_stop(struct guest *g, const char *fmt, ...);
void guest_done(struct guest *g, uint32_t status);

const char *guest_state_name(enum guest_state state);

/*
 * A stage-2 violation. 0: served, run on. -EFAULT: no RAM there, or the mapping does not allow it
 * and that is what the owner wants; *why says so. -ENOMEM: the host has no memory left. Called
 * inside an epoch section, without locks.
 */
int guest_fault(struct guest *g, const struct stage2_fault *fault, char *why, size_t why_size);

/* Port I/O of `size` 1, 2 or 4 bytes. Ports that nobody has read as all ones; writes are dropped.
 */
uint32_t guest_port_in(struct guest *g, uint16_t port, unsigned size);
void guest_port_out(struct guest *g, uint16_t port, unsigned size, uint32_t value);

/* A character of the guest's console. Whole lines go to the output set here, marked by the guest.
 */
void guest_putc(struct guest *g, char c);
void guest_set_output(void (*line)(const struct guest *g, const char *text));

#endif
