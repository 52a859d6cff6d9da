// SPDX-License-Identifier: GPL-2.0-only
// churn FILE: forks children that read FILE, one after the other, until SIGTERM. Then it says how often.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t ends;

static void end(int signal)
{
	ends = signal;
}

static int reads(const char *name)
{
	int file = open(name, O_RDONLY | O_CLOEXEC);
	char text[256];
	ssize_t size = read(file, text, sizeof(text));

	return size <= 0 || text[size - 1] != '\n';
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = end, .sa_flags = SA_RESTART };
	unsigned long count = 0, failed = 0;

	if (argc != 2)
		return 2;
	sigaction(SIGTERM, &action, NULL);
	while (!ends) {
		pid_t child = fork();
		int status;

		if (!child)
			_exit(reads(argv[1]));
		if (child < 0 || waitpid(child, &status, 0) != child || status || reads(argv[1]))
			failed++;
		count++;
	}
	printf("count=%lu failed=%lu\n", count, failed);
	return 0;
}
