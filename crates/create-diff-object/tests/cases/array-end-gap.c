// Between the end of the one array and the start of the next lies padding, which is nobody's.
//@ changed: f
//@ placeholders: more values
//@ run: f(1) = 31
#include "kernel.h"

static int values[3] __read_mostly = { 1, 2, 3 };
static int more[3] __read_mostly = { 4, 5, 6 };

int *e(int x)
{
	return x ? &values[x] : &more[x];
}

int f(int x)
{
	int *p, sum = 0;

	for (p = values; p < &values[3]; p++) {
		asm("" : "+r" (p));
		sum += *p;
	}
	for (p = more; p < &more[3]; p++) {
		asm("" : "+r" (p));
		sum += *p;
	}
#ifdef PATCHED
	return sum + 10 * x;
#else
	return sum + x;
#endif
}
