/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Touches the pages that its command line names, then obeys a mailbox, so that somebody outside can
 * look at mappings, change them, and see what a guest makes of it.
 *
 *   cmdline: pages=0x200000,0x345000w,0x400000x   each read; w: written; x: executed, too
 *            counter=0x600000                     page of the counters
 *            then=exit                            no mailbox
 *
 * The mailbox, struct mailbox at 0x7000: write `at` and `value`, then `command`; when it is done,
 * `result` is there, `done` is one more, and `command` is 0 again. It and the counters are there
 * before the line "touch: done N pages" is.
 *
 * Counters, 64 bits each, in the counter's page: the first vCPU increments the first one on each
 * turn of its loop, unless there is a second vCPU: that one increments the second for ever, without
 * ever leaving the guest by itself.
 */
#include "guest/tiny/tiny.h"

#define MAILBOX	    0x7000
#define RET	    0xc3
#define YIELD_TURNS 1000

enum { CMD_IDLE, CMD_READ, CMD_WRITE, CMD_EXEC, CMD_EXIT, CMD_SAY };

struct mailbox {
	uint32_t command, done;
	uint64_t at, value, result;
};

static uint64_t counter_page;

static void exec(uint64_t at)
{
	volatile uint8_t *code = (volatile uint8_t *)qword(at);

	if (*code != RET)
		*code = RET;
	((void (*)(void))(uint64_t)code)();
}

/* One item of pages=; returns where the next one starts. */
static const char *touch_item(const char *p, unsigned *count)
{
	uint64_t at = take_number(&p), value = *qword(at);

	say("touch: 0x%lx read 0x%lx", at, value);
	for (; *p == 'r' || *p == 'w' || *p == 'x'; p++) {
		if (*p == 'w') {
			*qword(at) = at;
			say(", written 0x%lx", at);
		} else if (*p == 'x') {
			exec(at);
			say(", executed");
		}
	}
	say("\n");
	(*count)++;
	return *p == ',' ? p + 1 : p;
}

static void touch_pages(void)
{
	char text[256];
	const char *p = text;
	unsigned count = 0;

	while (option_text("pages", text, sizeof(text)) && *p >= '0' && *p <= '9')
		p = touch_item(p, &count);
	if (*p != '\0' && count != 0)
		say("touch: cannot read \"%s\"\n", p);
	say("touch: done %u pages\n", count);
}

static void obey(volatile struct mailbox *box)
{
	uint64_t at = box->at;

	switch (box->command) {
	case CMD_READ:
		box->result = *qword(at);
		break;
	case CMD_WRITE:
		*qword(at) = box->value;
		break;
	case CMD_EXEC:
		exec(at);
		break;
	case CMD_EXIT:
		hypercall(HC_EXIT, (uint32_t)box->value, 0, 0);
		break;
	case CMD_SAY:
		say("touch: 0x%lx has 0x%lx\n", at, *qword(at));
		break;
	default:
		say("touch: unknown command %u\n", box->command);
	}
	box->done++;
	box->command = CMD_IDLE;
}

void ap_main(uint32_t vcpu)
{
	volatile uint64_t *mine = qword(counter_page + 8 * vcpu);

	for (;;)
		(*mine)++;
}

int main(void)
{
	volatile struct mailbox *box = (volatile struct mailbox *)qword(MAILBOX);
	bool alone = vcpu_count() == 1;
	char then[8];

	counter_page = option_number("counter", 0x600000);
	/* Who reads "done" may use the mailbox, and look at the counters, at once. */
	box->done = 0;
	*qword(counter_page) = 0;
	touch_pages();
	if (option_text("then", then, sizeof(then)) && then[0] == 'e')
		return 0;
	for (unsigned v = 1; v < vcpu_count(); v++)
		if (!tiny_start_vcpu(v))
			say("touch: vCPU %u does not start\n", v);
	for (unsigned turn = 0;; turn++) {
		if (alone)
			(*qword(counter_page))++;
		if (box->command != CMD_IDLE)
			obey(box);
		if (turn % YIELD_TURNS == 0)
			hypercall(HC_YIELD, 0, 0, 0);
	}
}
