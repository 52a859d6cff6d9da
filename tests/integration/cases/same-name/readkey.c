// SPDX-License-Identifier: GPL-2.0-only
/*
 * A key of five bytes: `add` makes it, `size` says how long the kernel says that it is. `sockets` opens
 * so many sockets that the kernel needs more memory for them.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KEY_SPEC_USER_KEYRING -4
#define KEYCTL_SEARCH 10
#define KEYCTL_READ 11

int main(int argc, char **argv)
{
	long key, size;

	if (argc == 2 && !strcmp(argv[1], "add")) {
		key = syscall(SYS_add_key, "user", "kpatch", "12345", 5, KEY_SPEC_USER_KEYRING);
		if (key < 0)
			perror("add_key");
		return key < 0;
	}
	if (argc == 2 && !strcmp(argv[1], "sockets")) {
		for (size = 0; size < 500; size++)
			if (socket(AF_UNIX, SOCK_STREAM, 0) < 0)
				break;
		printf("%ld\n", size);
		return 0;
	}
	key = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_USER_KEYRING, "user", "kpatch", 0);
	if (key < 0) {
		perror("search");
		return 1;
	}
	size = syscall(SYS_keyctl, KEYCTL_READ, key, NULL, 0);
	printf("%ld\n", size);
	return size < 0;
}
