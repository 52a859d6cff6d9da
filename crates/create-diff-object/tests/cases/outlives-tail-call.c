// A jump leaves nothing behind on the stack to which the new function returns.
//@ changed: f g
//@ new: added other
//@ outlives: f -> added
//@ run: f(2) = 6
//@ run: g(2) = 12
#include "kernel.h"

#ifdef PATCHED
static noinline int added(int x)
{
	return x * 3;
}

static noinline int other(int x)
{
	return x * 5;
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

int g(int x)
{
#ifdef PATCHED
	x += other(x);
#endif
	return x;
}
