// SPDX-License-Identifier: GPL-2.0-only
/*
 * userptr waitid|mincore good|unmapped|kernel|beyond: gives waitid() or mincore() such a pointer and
 * prints the error number that comes back, and what waitid() wrote as si_errno.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096

/* Beyond the end of user space with four and with five levels of page tables. */
#define BEYOND 0x0110000000000000UL
#define KERNEL 0xffff888000000000UL

int main(int argc, char **argv)
{
	unsigned char present;
	siginfo_t *info;
	void *pointer;
	char *pages;
	long result;
	pid_t pid;

	if (argc != 3)
		return 1;
	pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED || munmap(pages + PAGE, PAGE))
		return 1;
	info = (siginfo_t *)pages;
	if (!strcmp(argv[2], "unmapped"))
		pointer = pages + PAGE;
	else if (!strcmp(argv[2], "kernel"))
		pointer = (void *)KERNEL;
	else if (!strcmp(argv[2], "beyond"))
		pointer = (void *)BEYOND;
	else
		pointer = pages;

	if (!strcmp(argv[1], "mincore")) {
		*pages = 1;
		result = syscall(SYS_mincore, pointer, PAGE, &present);
		printf("%s: %d\n", argv[2], result < 0 ? errno : 0);
		return 0;
	}
	pid = fork();
	if (pid == 0)
		_exit(5);
	result = syscall(SYS_waitid, P_PID, pid, pointer, WEXITED, NULL);
	printf("%s: %d", argv[2], result < 0 ? errno : 0);
	if (result == 0)
		printf(" %d", info->si_status == 5 ? info->si_errno : -1);
	printf("\n");
	return 0;
}
