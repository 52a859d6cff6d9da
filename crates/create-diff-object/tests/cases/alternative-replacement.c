//@ changed: f
//@ holds: .altinstr_replacement 3
#include "kernel.h"

int e(int x)
{
	asm volatile(ALTERNATIVE("nop", "stac", 101));
	return x;
}

int f(int x)
{
#ifdef PATCHED
	asm volatile(ALTERNATIVE("nop", "clac", 101));
#else
	asm volatile(ALTERNATIVE("nop", "stac", 101));
#endif
	return x;
}
