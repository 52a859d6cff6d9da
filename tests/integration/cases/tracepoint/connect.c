/* SPDX-License-Identifier: GPL-2.0-only */
/* Knocks at a port of the loopback transport where nobody listens. */
#include <errno.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
	struct sockaddr_vm address = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_LOCAL,
		.svm_port = 77,
	};
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (fd < 0) {
		perror("socket");
		return 1;
	}
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		puts("connected");
	else
		puts(strerror(errno));
	return 0;
}
