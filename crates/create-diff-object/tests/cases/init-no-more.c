// The patch wants to call later what the running kernel has thrown away, and to read what is gone.
//@ refuse: KPB0401 g
#include "kernel.h"

#ifdef PATCHED
#undef __init
#define __init
#undef __initdata
#define __initdata
#endif

__initdata int boot = 4;

__init noinline int f(int x)
{
	return outside(x);
}

int g(int x)
{
#ifdef PATCHED
	return f(x);
#else
	return x;
#endif
}
