/* SPDX-License-Identifier: MPL-2.0 */
#include "guest/guest.h"

#include "base/err.h"
#include "base/print.h"
#include "base/string.h"
#include "guest/boot_page.h"
#include "guest/elf.h"
#include "guest/memory.h"
#include "mm/frame_alloc.h"
#include "vmio/vmio.h"

/* A place in the table: taken while its guest is made, ready when it may be seen. */
enum place { PLACE_FREE, PLACE_TAKEN, PLACE_READY };

static struct guest guests[GUESTS_MAX];
static _Atomic enum place places[GUESTS_MAX]; /* changed under guests_lock */
static struct spinlock guests_lock = SPINLOCK_INIT(LOCK_GUESTS);
static void (*output_line)(const struct guest *g, const char *text);

struct guest *guest_at(unsigned index)
{
	return index < GUESTS_MAX && atomic_load(&places[index]) == PLACE_READY ? &guests[index]
										: NULL;
}

struct guest *guest_find(const char *name)
{
	for (unsigned i = 0; i < GUESTS_MAX; i++) {
		struct guest *g = guest_at(i);

		if (g != NULL && strcmp(g->config.name, name) == 0)
			return g;
	}
	return NULL;
}

static void guest_set_place(const struct guest *g, enum place place)
{
	spin_lock(&guests_lock);
	atomic_store(&places[g->index], place);
	spin_unlock(&guests_lock);
}

/* RAM that was promised to the guests there are and is not theirs yet: it comes when touched. */
static uint64_t promised(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < GUESTS_MAX; i++) {
		uint64_t has = atomic_load(&guests[i].pages_populated) << PAGE_SHIFT;

		if (atomic_load(&places[i]) != PLACE_FREE && has < guests[i].config.mem)
			sum += guests[i].config.mem - has;
	}
	return sum;
}

/* The index of a free place. Under the lock. */
static int find_place(const struct guest_config *config, char *why, size_t why_size)
{
	int found = -ENOSPC;

	for (unsigned i = GUESTS_MAX; i-- > 0;) {
		if (atomic_load(&places[i]) == PLACE_FREE) {
			found = (int)i;
		} else if (strcmp(guests[i].config.name, config->name) == 0) {
			format(why, why_size,
			       "guest '%s': there is one of that name: choose another with name=",
			       config->name);
			return -EEXIST;
		}
	}
	if (found < 0)
		format(why, why_size,
		       "guest '%s': there are %d guests already, the most there can be: remove one",
		       config->name, GUESTS_MAX);
	return found;
}

/* Is there memory for it, next to what others were promised? Under the lock. */
static int check_memory(const struct guest_config *config, char *why, size_t why_size)
{
	struct frame_account a;
	uint64_t free, others = promised();

	frame_account(&a);
	free = a.by_kind[FRAME_FREE] > others ? a.by_kind[FRAME_FREE] - others : 0;
	if (config->mem <= free)
		return 0;
	format(why, why_size,
	       "guest '%s': mem=%lluM is more than the %lluM that are free and not promised to "
	       "other guests: give the machine more memory or the guest less",
	       config->name, (unsigned long long)((config->mem + (1 << 20) - 1) >> 20),
	       (unsigned long long)(free >> 20));
	return -ENOMEM;
}

/* Takes a place for a guest, everything else of it zero. */
static int guest_claim(const struct guest_config *config, struct guest **out, char *why,
		       size_t why_size)
{
	int at;

	spin_lock(&guests_lock);
	at = find_place(config, why, why_size);
	if (at >= 0) {
		int err = check_memory(config, why, why_size);

		if (err != 0)
			at = err;
	}
	if (at >= 0) {
		memset(&guests[at], 0, sizeof(guests[at]));
		guests[at].config = *config;
		guests[at].index = (unsigned)at;
		guests[at].output_lock.class = LOCK_LEAF;
		atomic_store(&guests[at].state, config->start ? GUEST_RUNNING : GUEST_PAUSED);
		atomic_store(&places[at], PLACE_TAKEN);
		*out = &guests[at];
	}
	spin_unlock(&guests_lock);
	return at < 0 ? at : 0;
}

/* What the guest is told about itself; see guest/boot_page.h. */
static int write_boot_page(struct guest *g)
{
	struct guest_boot_page page = { .magic = GUEST_BOOT_MAGIC,
					.mem_pages = (uint32_t)(g->config.mem >> PAGE_SHIFT),
					.vcpus = g->config.vcpus };
	static const struct vm_use use = { .who = "boot page" };

	memcpy(page.cmdline, g->config.cmdline, sizeof(page.cmdline));
	return vm_write_guest(&g->space, gpa(GUEST_BOOT_PAGE), &page, sizeof(page), &use);
}

static int guest_fill(struct guest *g, const void *image, uint64_t len, char *why, size_t why_size)
{
	int err = guest_elf_load(g, image, len, why, why_size);

	if (err == 0 && write_boot_page(g) != 0) {
		format(why, why_size, "guest '%s': no memory for its boot page", g->config.name);
		err = -ENOMEM;
	}
	return err;
}

int guest_create(const struct guest_config *config, const void *image, uint64_t image_len,
		 const struct pt_ops *ops, struct guest **out, char *why, size_t why_size)
{
	struct guest *g;
	int err = guest_claim(config, &g, why, why_size);

	if (err != 0)
		return err;
	err = vm_space_init(&g->space, ops);
	if (err != 0) {
		format(why, why_size,
		       "guest '%s': the host has no memory for its page tables: stop another guest "
		       "or give the machine more",
		       config->name);
		guest_set_place(g, PLACE_FREE);
		return err;
	}
	vm_space_set_fault_handler(&g->space, guest_memory_fault, g);
	err = guest_fill(g, image, image_len, why, why_size);
	if (err != 0) {
		guest_destroy(g);
		return err;
	}
	guest_set_place(g, PLACE_READY);
	*out = g;
	return 0;
}

void guest_destroy(struct guest *g)
{
	/* Out of sight first. */
	guest_set_place(g, PLACE_TAKEN);
	vm_space_destroy(&g->space);
	guest_set_place(g, PLACE_FREE);
}

/* Moves the line that was collected to `line`. Under the output lock. */
static void take_line(struct guest *g, char line[GUEST_LINE_MAX])
{
	memcpy(line, g->line, g->line_len);
	line[g->line_len] = '\0';
	g->line_len = 0;
}

/* Ends the guest once; the first end wins. `why` is complete before the state can be seen. */
static void guest_end(struct guest *g, enum guest_state end, uint32_t status, const char *why)
{
	char line[GUEST_LINE_MAX];
	enum guest_state state;
	bool rest = false;

	spin_lock(&g->output_lock);
	state = atomic_load(&g->state);
	if (state == GUEST_RUNNING || state == GUEST_PAUSED) {
		g->status = status;
		format(g->why, sizeof(g->why), "%s", why);
		atomic_store(&g->state, end);
		rest = g->line_len != 0;
	}
	if (rest)
		take_line(g, line);
	spin_unlock(&g->output_lock);
	/* What it said last, even without the end of the line. */
	if (rest && output_line != NULL)
		output_line(g, line);
}

void guest_stop(struct guest *g, const char *fmt, ...)
{
	char why[sizeof(g->why)];
	va_list args;

	va_start(args, fmt);
	vformat(why, sizeof(why), fmt, args);
	va_end(args);
	guest_end(g, GUEST_STOPPED, 0, why);
}

void guest_done(struct guest *g, uint32_t status)
{
	guest_end(g, GUEST_DONE, status, "");
}

const char *guest_state_name(enum guest_state state)
{
	static const char *const names[] = {
		[GUEST_RUNNING] = "running",
		[GUEST_PAUSED] = "paused",
		[GUEST_DONE] = "done",
		[GUEST_STOPPED] = "stopped",
	};

	return names[state];
}

void guest_set_output(void (*line)(const struct guest *g, const char *text))
{
	output_line = line;
}

void guest_putc(struct guest *g, char c)
{
	char line[GUEST_LINE_MAX];
	bool ready;

	if (c == '\r' || c == '\0')
		return;
	spin_lock(&g->output_lock);
	/* Nothing that a terminal would obey. */
	if (c == '\t')
		c = ' ';
	if (c != '\n')
		g->line[g->line_len++] = c >= ' ' && c < 0x7f ? c : '?';
	ready = c == '\n' || g->line_len == sizeof(g->line) - 1;
	if (ready)
		take_line(g, line);
	spin_unlock(&g->output_lock);
	/* Outside the lock: the console takes its own. */
	if (ready && output_line != NULL)
		output_line(g, line);
}
