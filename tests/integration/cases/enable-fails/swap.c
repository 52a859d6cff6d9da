// SPDX-License-Identifier: GPL-2.0-only
// swap IN OUT OLD NEW: copies a file, with the string NEW for each string OLD, which must be there and must not
// be shorter. Only what ends where OLD ends is one.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	static char data[1 << 24];
	FILE *in = argc == 5 ? fopen(argv[1], "rb") : NULL, *out;
	size_t size, length, found = 0;

	if (!in || strlen(argv[4]) > strlen(argv[3]))
		return 2;
	size = fread(data, 1, sizeof(data), in);
	length = strlen(argv[3]) + 1;
	for (size_t at = 0; at + length <= size; at++) {
		if (!memcmp(data + at, argv[3], length)) {
			memset(data + at, 0, length);
			strcpy(data + at, argv[4]);
			found++;
		}
	}
	out = found ? fopen(argv[2], "wb") : NULL;
	return !out || fwrite(data, 1, size, out) != size || fclose(out);
}
