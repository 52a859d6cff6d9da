// Callers without ftrace entry are copied, too, up to those that have one. One of them calls itself.
//@ changed: h
//@ refers: h -> g
//@ refers: g -> f
//@ run: h(2) = 15
#include "kernel.h"

static notrace noinline int f(int x)
{
#ifdef PATCHED
	return x * 4;
#else
	return x * 3;
#endif
}

static notrace noinline int g(int x)
{
	return x > 2 ? g(x - 1) + 1 : f(x) + 2;
}

int h(int x)
{
	return g(x + 3) + 2;
}
