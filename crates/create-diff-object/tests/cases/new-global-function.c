//@ changed: f
//@ new: added
//@ new-globals: added
//@ exported: outside
//@ run: f(2) = 1007
#include "kernel.h"

#ifdef PATCHED
int added(int x)
{
	return outside(x) + 5;
}
#endif

int f(int x)
{
#ifdef PATCHED
	return added(x);
#else
	return x;
#endif
}
