/* SPDX-License-Identifier: MPL-2.0 */
/* Runs stored inputs through a target, without a fuzzer: replay FILE... */
#include "tests/fuzz/input.h"

static int replay(const char *path)
{
	static uint8_t data[1 << 16];
	FILE *file = fopen(path, "rb");
	size_t size;

	if (file == NULL) {
		perror(path);
		return 2;
	}
	size = fread(data, 1, sizeof(data), file);
	fclose(file);
	return LLVMFuzzerTestOneInput(data, size);
}

int main(int argc, char **argv)
{
	int err = argc < 2 ? 2 : 0;

	if (err != 0)
		fprintf(stderr, "usage: replay FILE...\n");
	for (int i = 1; i < argc && err == 0; i++)
		err = replay(argv[i]);
	return err;
}
