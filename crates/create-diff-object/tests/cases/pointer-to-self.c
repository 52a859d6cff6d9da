// A function that hands itself out hands out the old one; one that calls itself calls the new one.
//@ changed: f fac
//@ refers: f -> klp f
//@ refers: fac -> fac
//@ refers-not: fac -> klp fac
//@ placeholders: f kept
//@ run: fac(3) = 1106
//@ run: f(3) = 5
#include "kernel.h"

static void *kept;

int fac(int n)
{
#ifdef PATCHED
	asm volatile("" : "+r" (n));
	return n > 1 ? n * (fac(n - 1) - 1000 - 50) + 1000 + 50 + (n == 3) * 50 : 1051;
#else
	asm volatile("" : "+r" (n));
	return n > 1 ? n * fac(n - 1) : 1;
#endif
}

void *last(void)
{
	return kept;
}

int f(int x)
{
	kept = f;
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
