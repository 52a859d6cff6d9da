// Two clones of one function in another order; only one of them, and the function, have other code now.
//@ changed: work work.constprop
//@ placeholders:
//@ exported: outside
//@ only: gcc
//@ flags: -fipa-cp-clone
#include "kernel.h"

#ifdef PATCHED
#define FACTOR(y) ((y) == 3 ? 11 : (y) == 4 ? 6 : 5)
#else
#define FACTOR(y) ((y) == 3 ? 7 : (y) == 4 ? 6 : 5)
#endif

static __attribute__((__noinline__)) int work(int x, int y)
{
	int i, s = 0;

	for (i = 0; i < x; i++)
		s += outside(i) * FACTOR(y) + outside(y) / y;
	return s;
}

#ifdef PATCHED
int b(int x)
{
	return work(x, 4) + work(x + 1, 4);
}
#endif

int a(int x)
{
	return work(x, 3) + work(x + 1, 3);
}

#ifndef PATCHED
int b(int x)
{
	return work(x, 4) + work(x + 1, 4);
}
#endif

int c(int x, int y)
{
	return work(x, y) + work(y, x);
}
