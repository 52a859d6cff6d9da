// SPDX-License-Identifier: GPL-2.0-only
/* Opens a directory that is to be created by that, which the kernel never does, and says the error. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FLAGS (O_DIRECTORY | O_CREAT)
#define NAME "/tmp/opendir"

static int by_io_uring(void)
{
	struct io_uring_params params = { 0 };
	int ring = syscall(SYS_io_uring_setup, 1, &params);
	struct io_uring_sqe *entry;
	struct io_uring_cqe *done;
	char *queues;

	if (ring < 0)
		return errno;
	queues = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring,
		      IORING_OFF_SQ_RING);
	entry = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring,
		     IORING_OFF_SQES);
	if (queues == MAP_FAILED || entry == MAP_FAILED)
		return errno;
	memset(entry, 0, sizeof(*entry));
	entry->opcode = IORING_OP_OPENAT;
	entry->fd = AT_FDCWD;
	entry->addr = (unsigned long)NAME;
	entry->open_flags = FLAGS;
	entry->len = 0700;
	(*(volatile unsigned int *)(queues + params.sq_off.tail))++;
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		return errno;
	done = (struct io_uring_cqe *)(queues + params.cq_off.cqes);
	return -done->res;
}

int main(int count, char **arguments)
{
	int error;

	if (count == 2 && !strcmp(arguments[1], "io_uring"))
		error = by_io_uring();
	else
		error = open(NAME, FLAGS, 0700) < 0 ? errno : 0;
	printf("%s %d\n", count == 2 ? arguments[1] : "", error);
	return 0;
}
