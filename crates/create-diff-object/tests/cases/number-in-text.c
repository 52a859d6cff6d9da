// Other numbers of a text count, behind a colon, too.
//@ changed: f g
//@ exported: __warn_printk
#include "kernel.h"

int __warn_printk(const char *format, ...);
#ifdef PATCHED
#define NUMBER "42"
#else
#define NUMBER "7"
#endif

int f(int x)
{
	if (x > 8)
		__warn_printk("error:" NUMBER);
	return x;
}

int g(int x)
{
	if (x > 8)
		__warn_printk("dcache.c:12: " NUMBER);
	return x;
}
