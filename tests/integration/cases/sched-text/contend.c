// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two processes read the same terminal: n_tty_read() holds a mutex while it waits for input, so that
 * the second waits in mutex_lock_interruptible(). Says how many major page faults each of them counts
 * for its read, which is none, and what came of it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

static void nothing(int sig)
{
	(void)sig;
}

static long faults(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage))
		fail("getrusage");
	return usage.ru_majflt;
}

struct result {
	long faults;
	int error;
};

/* Starts a reader, which writes its result to the returned pipe, and waits until it sleeps. */
static pid_t reader(int terminal, int *pipe_end)
{
	struct sigaction action = { .sa_handler = nothing };
	char path[64], line[256], *state;
	int ends[2];
	pid_t pid;
	FILE *stat;

	if (pipe(ends))
		fail("pipe");
	pid = fork();
	if (pid < 0)
		fail("fork");
	if (pid == 0) {
		struct result result = { 0 };
		char text[16];
		long start;

		sigaction(SIGUSR1, &action, NULL);
		start = faults();
		if (write(ends[1], "x", 1) != 1)
			_exit(1);
		if (read(terminal, text, sizeof(text)) < 0)
			result.error = errno;
		result.faults = faults() - start;
		_exit(write(ends[1], &result, sizeof(result)) != sizeof(result));
	}
	close(ends[1]);
	if (read(ends[0], line, 1) != 1)
		fail("reader");
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	do {
		usleep(50000);
		stat = fopen(path, "r");
		if (!stat || !fgets(line, sizeof(line), stat))
			fail(path);
		fclose(stat);
		state = strrchr(line, ')');
	} while (!state || state[2] != 'S');
	*pipe_end = ends[0];
	return pid;
}

static struct result result_of(pid_t pid, int pipe_end)
{
	struct result result;

	if (read(pipe_end, &result, sizeof(result)) != sizeof(result))
		fail("result");
	close(pipe_end);
	waitpid(pid, NULL, 0);
	return result;
}

int main(void)
{
	struct result holder, waiter, interrupted;
	int master, slave, holder_pipe, waiter_pipe;
	pid_t holder_pid, waiter_pid;

	alarm(60);
	master = posix_openpt(O_RDWR | O_NOCTTY);
	if (master < 0 || grantpt(master) || unlockpt(master))
		fail("terminal");
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	if (slave < 0)
		fail("slave");

	holder_pid = reader(slave, &holder_pipe);
	waiter_pid = reader(slave, &waiter_pipe);
	kill(waiter_pid, SIGUSR1);
	interrupted = result_of(waiter_pid, waiter_pipe);
	if (interrupted.error != EINTR)
		fail("no interrupt");

	waiter_pid = reader(slave, &waiter_pipe);
	if (write(master, "one\n", 4) != 4)
		fail("write");
	holder = result_of(holder_pid, holder_pipe);
	if (write(master, "two\n", 4) != 4)
		fail("write");
	waiter = result_of(waiter_pid, waiter_pipe);
	if (holder.error || waiter.error)
		fail("read");
	printf("holder %ld, waiter %ld read, interrupted %ld\n", holder.faults, waiter.faults,
	       interrupted.faults);
	return 0;
}
