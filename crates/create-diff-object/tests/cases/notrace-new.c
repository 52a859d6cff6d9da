// Nothing has to redirect a new function.
//@ changed: f
//@ new: added
//@ run: f(3) = 9
#include "kernel.h"

#ifdef PATCHED
static notrace noinline int added(int x)
{
	return x * 3;
}
#else
#define added(x) x
#endif

int f(int x)
{
	return added(x);
}
