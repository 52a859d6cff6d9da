// Likewise with functions that only this file knows: the one that goes is called by the other's name.
//@ changed: h
//@ gcc-run: h(1) = 4006
// clang leaves both.
//@ clang-changed: g
//@ clang-run: g(1) = 2003
//@ exported: outside
#include "kernel.h"

static __attribute__((__noinline__)) int f(int x)
{
	return outside(x) + outside(x) + 1;
}

static __attribute__((__noinline__)) int g(int x)
{
#ifdef PATCHED
	return outside(x) + outside(x) + 1;
#else
	return outside(x) + outside(x) + 2;
#endif
}

int h(int x)
{
	return f(x) + g(x);
}
