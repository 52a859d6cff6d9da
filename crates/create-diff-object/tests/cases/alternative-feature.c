// The same code and the same replacement, for another CPU feature.
//@ changed: f
#include "kernel.h"

int f(int x)
{
#ifdef PATCHED
	asm volatile(ALTERNATIVE("nop", "stac", 100));
#else
	asm volatile(ALTERNATIVE("nop", "stac", 101));
#endif
	return x;
}
