// Two functions are alike now, and gcc makes one of them: a second name or a jump to the first.
//@ changed: g
//@ exported: outside
//@ run: g(1) = 2003
#include "kernel.h"

int f(int x)
{
	return outside(x) + outside(x) + 1;
}

int g(int x)
{
#ifdef PATCHED
	return outside(x) + outside(x) + 1;
#else
	return outside(x) + outside(x) + 2;
#endif
}
