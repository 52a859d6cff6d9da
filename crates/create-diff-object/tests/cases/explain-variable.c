//@ changed: f
//@ explains: f: data: it refers to `second`, not to `first`
//@ exported: outside
#include "kernel.h"

int first, second;

int f(int x)
{
#ifdef PATCHED
	second = x;
#else
	first = x;
#endif
	return outside(3) + 1;
}

int uses(void)
{
	return first + second;
}
