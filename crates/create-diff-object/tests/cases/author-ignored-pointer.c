// kpatch's own header leaves a pointer to the function.
//@ changed: other
//@ lacks: .kpatch.ignore.functions
#include "kernel.h"
#include <linux/compiler.h>

noinline int ignored(int x)
{
#ifdef PATCHED
	x++;
#endif
	return outside(x);
}

int other(int x)
{
#ifdef PATCHED
	x++;
#endif
	return ignored(x);
}

#ifdef PATCHED
void *__kpatch_ignore_func_ignored __used __section(".kpatch.ignore.functions") = ignored;
#endif
