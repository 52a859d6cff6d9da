// The new function is in another object of the patch.
//@ changed: f g h
//@ new-elsewhere: added handler
//@ outlives: f -> added
//@ outlives: h -> handler
//@ exported: added handler outside
#include "kernel.h"

int added(int x);
int handler(int x);

int f(int x)
{
#ifdef PATCHED
	return added(x);
#else
	return outside(x);
#endif
}

int g(int x)
{
#ifdef PATCHED
	x += added(x);
#endif
	return outside(x) + x;
}

int (*h(void))(int)
{
#ifdef PATCHED
	return handler;
#else
	return outside;
#endif
}
