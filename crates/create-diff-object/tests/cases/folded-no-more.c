// Two functions were alike, and gcc had made one of them.
//@ changed: g
//@ exported: outside
//@ run: g(1) = 2004
#include "kernel.h"

int f(int x)
{
	return outside(x) + outside(x) + 1;
}

int g(int x)
{
#ifdef PATCHED
	return outside(x) + outside(x) + 2;
#else
	return outside(x) + outside(x) + 1;
#endif
}
