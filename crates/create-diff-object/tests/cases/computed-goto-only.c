// The code stays, its table of labels has them in another order.
//@ changed: f
//@ run: f(0) = 21
//@ run: f(1) = 11
#include "kernel.h"

int f(int x)
{
#ifdef PATCHED
	static const void *const table[] = { &&second, &&first };
#else
	static const void *const table[] = { &&first, &&second };
#endif
	goto *table[x];
first:
	return x + 10;
second:
	return x + 21;
}
