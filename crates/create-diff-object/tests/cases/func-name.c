// __func__ is the function's own string, numbered by gcc.
//@ changed: e
//@ exported: outside
//@ run: e(0) = 101
#include "kernel.h"

noinline int name(const char *s)
{
	return s[0];
}

int e(int x)
{
#ifdef PATCHED
	return name(__func__) + x;
#else
	return x;
#endif
}

int f(int x)
{
	return name(__func__) + x;
}
