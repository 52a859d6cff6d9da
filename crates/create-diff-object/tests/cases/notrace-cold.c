// A call from the cold part of a function is a call from the function.
//@ changed: g
//@ run: g(2) = 3
//@ run: g(-2) = 1007
//@ only: padded
#include "kernel.h"

static notrace __attribute__((cold)) noinline int f(int x)
{
#ifdef PATCHED
	return outside(x + 9);
#else
	return outside(x + 8);
#endif
}

int g(int x)
{
	if (__builtin_expect(x < 0, 0))
		return f(x) + outside(-1000);
	return x + 1;
}
