// SPDX-License-Identifier: GPL-2.0-only
// pairs FILE: reads two numbers from FILE, over and over, each time by one system call, until SIGTERM. Then
// it says how often it read them, how often both were 1 or 2, and how often they differed.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t ends;

static void end(int signal)
{
	ends = signal;
}

int main(int argc, char **argv)
{
	int file = argc > 1 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
	unsigned long ones = 0, twos = 0, mixed = 0, failed = 0;
	char text[16];

	if (file < 0)
		return 1;
	signal(SIGTERM, end);
	while (!ends) {
		if (pread(file, text, sizeof(text), 0) != 4)
			failed++;
		else if (!memcmp(text, "1 1\n", 4))
			ones++;
		else if (!memcmp(text, "2 2\n", 4))
			twos++;
		else
			mixed++;
	}
	printf("rounds=%lu ones=%lu twos=%lu mixed=%lu failed=%lu\n", ones + twos + mixed, ones, twos,
	       mixed, failed);
	return 0;
}
