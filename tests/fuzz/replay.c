/* SPDX-License-Identifier: MPL-2.0 */
/* Runs one stored input through a target, without a fuzzer: replay FILE. */
#include "tests/fuzz/input.h"

int main(int argc, char **argv)
{
	static uint8_t data[1 << 16];
	FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
	size_t size;

	if (file == NULL) {
		fprintf(stderr, "usage: replay FILE\n");
		return 2;
	}
	size = fread(data, 1, sizeof(data), file);
	fclose(file);
	return LLVMFuzzerTestOneInput(data, size);
}
