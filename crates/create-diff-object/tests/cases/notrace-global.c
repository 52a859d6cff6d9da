// A caller that other objects know and that nothing can redirect goes on with the old function.
//@ refuse: KPB0403 f
#include "kernel.h"

static notrace noinline int f(int x)
{
#ifdef PATCHED
	return x * 4;
#else
	return x * 3;
#endif
}

notrace int g(int x)
{
	return f(x) + 1;
}

int h(int x)
{
	return f(x) + 2;
}
