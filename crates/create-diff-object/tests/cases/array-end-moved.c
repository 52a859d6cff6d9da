// Now a new variable begins where the array ends.
//@ refuse: KPB0408 e
//@ refuse: KPB0408 f
#include "kernel.h"

// gcc writes them from the last to the first.
#ifdef PATCHED
static int more[4] __read_mostly = { 4, 5, 6, 0 };
#endif
static int values[4] __read_mostly = { 1, 2, 3, 0 };

int *e(int x)
{
#ifdef PATCHED
	return x ? &values[x] : &more[x];
#else
	return &values[x];
#endif
}

int f(int x)
{
	int *p, sum = 0;

	for (p = values; p < &values[4]; p++) {
		asm("" : "+r" (p));
		sum += *p;
	}
#ifdef PATCHED
	return sum + 10 * x;
#else
	return sum + x;
#endif
}
