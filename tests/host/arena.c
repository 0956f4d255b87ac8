/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/host/arena.h"

#include <arch/layout.h>
#include <arch/pt_store.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/panic.h"
#include "mm/frame_alloc.h"

__thread unsigned host_cpu;
void (*host_pt_store)(const volatile void *entry, uint64_t raw);

static uint64_t arena_bytes;
static int panic_pipe = -1; /* in a child of panics(): where the text goes */

static void map_at(uint64_t at, uint64_t bytes)
{
	void *p = mmap((void *)at, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (p != (void *)at) {
		perror("arena");
		exit(2);
	}
}

static uint64_t meta_bytes(uint64_t bytes)
{
	return round_up(bytes / PAGE_SIZE * sizeof(struct frame), PAGE_SIZE);
}

void arena_init(uint64_t bytes)
{
	map_at(LINEAR_BASE, bytes);
	map_at(META_BASE, meta_bytes(bytes));
	arena_bytes = bytes;
	frame_init_region(hpa(0), bytes);
	frame_alloc_add(hpa(PAGE_SIZE), bytes - PAGE_SIZE);
}

void arena_fini(void)
{
	frame_alloc_forget();
	frame_forget_regions();
	munmap((void *)LINEAR_BASE, arena_bytes);
	munmap((void *)META_BASE, meta_bytes(arena_bytes));
}

void panic(const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (panic_pipe >= 0) {
		if (write(panic_pipe, text, strlen(text)) < 0)
			_exit(3);
		_exit(42);
	}
	fprintf(stderr, "PANIC: %s\n", text);
	abort();
}

bool panics(void (*f)(void *context), void *context, const char *text)
{
	char got[513];
	ssize_t len;
	int fd[2], status;
	pid_t child;

	if (pipe(fd) != 0)
		return false;
	fflush(NULL);
	child = fork();
	if (child == 0) {
		close(fd[0]);
		panic_pipe = fd[1];
		f(context);
		_exit(0);
	}
	close(fd[1]);
	len = read(fd[0], got, sizeof(got) - 1);
	got[len > 0 ? len : 0] = '\0';
	close(fd[0]);
	if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 42)
		return false;
	return strstr(got, text) != NULL;
}
