// The clone is changed; who calls it passes arguments as ever, so it is the old function.
//@ changed: work
//@ exported: outside
#include "kernel.h"

#ifdef PATCHED
#define AS(suffix) asm("work" suffix)
#else
#define AS(suffix)
#endif

static noinline int work(int x) AS(".constprop.0");

int a(int x)
{
	return work(x + 1);
}

static noinline int work(int x)
{
#ifdef PATCHED
	return outside(x) + 4;
#else
	return outside(x) + 3;
#endif
}

int b(int x)
{
	return work(x + 2);
}
