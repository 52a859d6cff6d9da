//@ changed: e
//@ lacks: __bug_table
//@ exported: outside
#include "kernel.h"

int e(int x)
{
#ifdef PATCHED
	x++;
	x *= outside(0);
#line 10
#endif
	return x;
}

int f(int x)
{
	if (x == 3)
		WARN();
	return x + 1;
}
