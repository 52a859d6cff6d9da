// SPDX-License-Identifier: GPL-2.0-only
// finit FILE [PARAMETER]: loads a module. busybox' insmod tries twice when the kernel refuses.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0 || syscall(SYS_finit_module, fd, argc > 2 ? argv[2] : "", 0)) {
		fprintf(stderr, "finit: %s\n", strerror(errno));
		return 1;
	}
	return 0;
}
