// SPDX-License-Identifier: GPL-2.0-only
// churn FILE: forks children that read FILE, one after the other, until SIGTERM. Then it says how often, and
// what went wrong last: an errno, or the status of a child.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAUSE 20000

static volatile sig_atomic_t ends;

static void end(int signal)
{
	ends = signal;
}

/* 0, or what went wrong. */
static int reads(const char *name)
{
	int file = open(name, O_RDONLY | O_CLOEXEC);
	char text[512];
	ssize_t size = read(file, text, sizeof(text));

	if (size < 0)
		return errno;
	close(file);
	return size && text[size - 1] == '\n' ? 0 : 255;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = end, .sa_flags = SA_RESTART };
	unsigned long forks = 0, failed = 0;
	int error = 0, status;

	if (argc != 2)
		return 2;
	sigaction(SIGTERM, &action, NULL);
	while (!ends) {
		pid_t child = fork();

		if (!child)
			_exit(reads(argv[1]));
		status = reads(argv[1]);
		if (!status && child < 0)
			status = errno;
		if (!status && waitpid(child, &status, 0) != child)
			status = errno;
		if (status) {
			error = status;
			failed++;
		}
		forks++;
		/* While the kernel changes code, an emulated processor waits for the others, which must not be
		 * busy all the time for that. */
		usleep(PAUSE);
	}
	printf("forks=%lu failed=%lu error=%#x\n", forks, failed, error);
	return 0;
}
