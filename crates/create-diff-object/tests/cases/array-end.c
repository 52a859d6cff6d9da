// The end of the one array is the start of the next, in the kernel as here; behind the other is nothing.
//@ changed: f
//@ placeholders: more values
//@ run: f(1) = 31
#include "kernel.h"

static int values[4] __read_mostly = { 1, 2, 3, 0 };
static int more[4] __read_mostly = { 4, 5, 6, 0 };

int *e(int x)
{
	return x ? &values[x] : &more[x];
}

int f(int x)
{
	int *p, sum = 0;

	for (p = values; p < &values[4]; p++) {
		asm("" : "+r" (p));
		sum += *p;
	}
	for (p = more; p < &more[4]; p++) {
		asm("" : "+r" (p));
		sum += *p;
	}
#ifdef PATCHED
	return sum + 10 * x;
#else
	return sum + x;
#endif
}
