// FORTIFY_SOURCE tells file and line in a text of its own.
//@ same
#include "kernel.h"

int __warn_printk(const char *format, ...);
#define TEXT(line) #line
#define STRING(line) TEXT(line)
#ifdef PATCHED
#line 12345
#endif

int f(int x)
{
	if (x > 8)
		__warn_printk("%s", "field \"p\" at " "fs/dcache.c" ":" STRING(__LINE__));
	return x;
}
