// A new first function brings its special sections into the file in another order than before; the
// others have what they had.
//@ changed: e
//@ lacks: __ex_table
#include "kernel.h"

int e(int x)
{
#ifdef PATCHED
	if (x == 3)
		WARN();
#endif
	return x;
}

int f(int *p)
{
	int x;

	asm volatile("1: movl (%1), %0\n2:\n" EXTABLE(1b, 2b) : "=r" (x) : "r" (p));
	if (x == 3)
		WARN();
	return x;
}
