// New data lies as the compiler was promised.
//@ changed: f
//@ placeholders:
//@ run: f(0) = 0
#include "kernel.h"

#ifdef PATCHED
static char small = 1;
static int wide[4] __attribute__((aligned(64))) = { 1, 2, 3, 4 };
#endif

int f(int x)
{
#ifdef PATCHED
	int *p = wide;
	char *s = &small;

	asm volatile("" : "+r" (p), "+r" (s) : : "memory");
	return (int)((unsigned long)p & 63) + x + *s - 1;
#else
	return x;
#endif
}
