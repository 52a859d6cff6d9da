// A function without ftrace entry is taken along as a copy, which the kernel does not look for either.
//@ changed: g h
//@ outlives: h -> f
//@ run: g(2) = 9
//@ run: h(2) = 8
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
