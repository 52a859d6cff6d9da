// Without debug information a number is a line only where it is known to be one.
//@ changed: f g h i
//@ exported: __might_resched __btrfs_abort_transaction _printk report
//@ flags: -g0
#include "kernel.h"

void __might_resched(const char *file, int line, unsigned int offsets);
void __btrfs_abort_transaction(void *trans, const char *function, unsigned int line, int error);
int _printk(const char *format, ...);
int report(void *p, int x, unsigned int y, int line);
#ifdef PATCHED
#define MORE 110
#line 300
#else
#define MORE 10
#line 200
#endif

int f(int x)
{
	__might_resched("somewhere", __LINE__, MORE);
	return x;
}

int g(void *trans, int x)
{
	if (x < 0)
		__btrfs_abort_transaction(trans, __func__, __LINE__, MORE);
	return x;
}

int h(int x)
{
	if (x < 0)
		_printk("%s (%d)\n", "net/core/device", MORE);
	return x;
}

int i(void *p, int x)
{
	return report(p, x, 2, __LINE__);
}
