// Code that may use the FPU takes constants from a section that linkers merge.
//@ flags: -msse2
//@ gcc-flags: -mhard-float
//@ changed: f
//@ run: f(4) = 6
#include "kernel.h"

int f(int x)
{
#ifdef PATCHED
	return (int)((double)x * 1.5);
#else
	return (int)((double)x * 2.5);
#endif
}

int g(int x)
{
	return (int)((double)x * 3.5);
}
