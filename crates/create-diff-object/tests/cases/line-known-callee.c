// Without debug information: functions of the kernel that take a line, and a line behind a file's name.
//@ same
//@ flags: -g0
#include "kernel.h"

void __might_sleep(const char *file, int line);
void __btrfs_abort_transaction(void *trans, const char *function, unsigned int line, int error);
int _printk(const char *format, ...);
#ifdef PATCHED
#line 300
#endif

int f(int x)
{
	__might_sleep("somewhere", __LINE__);
	return x;
}

int g(void *trans, int x)
{
	if (x < 0)
		__btrfs_abort_transaction(trans, __func__, __LINE__, -5);
	return x;
}

int h(int x)
{
	if (x < 0)
		_printk("assertion failed at %s (%d)\n", "net/core/dev.c", __LINE__);
	return x;
}
