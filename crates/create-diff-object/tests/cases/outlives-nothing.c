// What a changed function calls returns into it, and so does all that is called or jumped to from there.
//@ changed: f
//@ new: added last next
//@ outlives: none
//@ exported: outside
//@ run: f(2) = 2010
#include "kernel.h"

#ifdef PATCHED
static noinline int last(int x)
{
	return outside(x) * 2;
}

static noinline int next(int x)
{
	return last(x + 2);
}

static noinline int added(int x)
{
	return next(x);
}
#endif

int f(int x)
{
#ifdef PATCHED
	x += added(x);
#endif
	return x;
}
