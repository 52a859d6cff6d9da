// gcc made a clone of the function once, and not now: the same code is the same function.
//@ same
#include "kernel.h"

#ifdef PATCHED
#define AS(suffix)
#else
#define AS(suffix) asm("work" suffix)
#endif

static noinline int work(int x) AS(".isra.0");

int a(int x)
{
	return work(x + 1);
}

static noinline int work(int x)
{
	return outside(x) + 3;
}

int b(int x)
{
	return work(x + 2);
}
