// SPDX-License-Identifier: GPL-2.0-only
/*
 * sigframe good|bad: returns from a signal handler, with the FPU state in the frame where the kernel
 * put it, or moved so that its first 256 bytes lie on a page that cannot be read while all that the
 * kernel looks at first (software bytes, header, end marker) can. Says what became of it.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE 4096
#define UNREADABLE 256

static int bad;

static void handler(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	uint32_t size = *(uint32_t *)((char *)uc->uc_mcontext.fpregs + 468); /* extended_size */
	char *pages;

	(void)sig;
	(void)info;
	if (!bad)
		return;
	pages = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED || size > 3 * PAGE)
		_exit(3);
	memcpy(pages + PAGE - UNREADABLE, uc->uc_mcontext.fpregs, size);
	if (mprotect(pages, PAGE, PROT_NONE))
		_exit(4);
	uc->uc_mcontext.fpregs = (void *)(pages + PAGE - UNREADABLE);
}

int main(int argc, char **argv)
{
	int status;
	pid_t pid;

	bad = argc > 1 && !strcmp(argv[1], "bad");
	pid = fork();
	if (pid == 0) {
		struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
		uint64_t in = 0x6b7061746368ULL, out = 0;

		sigaction(SIGUSR1, &action, NULL);
		/* One asm: no other code may use the register between the signal and the look at it. */
		asm volatile("movq %[in], %%xmm15\n\t"
			     "syscall\n\t"
			     "movq %%xmm15, %[out]"
			     : [out] "=r"(out)
			     : [in] "r"(in), "a"(62L /* kill */), "D"((long)getpid()), "S"((long)SIGUSR1)
			     : "rcx", "r11", "memory", "xmm15");
		_exit(out == in ? 0 : out == 0 ? 1 : 2);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 1;
	if (WIFSIGNALED(status))
		printf("killed by signal %d\n", WTERMSIG(status));
	else if (WEXITSTATUS(status) < 2)
		printf("returned, state %s\n", WEXITSTATUS(status) ? "fresh" : "kept");
	else
		printf("exit code %d\n", WEXITSTATUS(status));
	return 0;
}
