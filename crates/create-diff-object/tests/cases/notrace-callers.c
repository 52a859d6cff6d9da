// Nothing can redirect a function without ftrace entry, but its callers can be, when all of them are
// known: they call a copy, also from where they are cold and by jumps.
//@ changed: g h k
//@ explains: g: in `f`, which it calls and nothing can redirect
//@ explains: g: notrace-callers.c:
//@ refers: g -> f
//@ refers: h -> f
//@ run: g(2) = 9
//@ run: h(2) = 8
//@ run: k(2) = 10
#include "kernel.h"

static notrace noinline int f(int x)
{
#ifdef PATCHED
	return x * 4;
#else
	return x * 3;
#endif
}

int g(int x)
{
	return f(x) + 1;
}

int h(int x)
{
	return f(x);
}

int k(int x)
{
#ifdef PATCHED
	return f(x) + 2;
#else
	return f(x) + 3;
#endif
}

int alone(int x)
{
	return x + 1;
}
