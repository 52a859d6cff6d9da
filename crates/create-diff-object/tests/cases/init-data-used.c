//@ refuse: KPB0401 g
#include "kernel.h"

__initdata int boot[4] = { 1, 2, 3 };

__init int f(int x)
{
	return boot[x];
}

int g(int x)
{
#ifdef PATCHED
	return x + boot[1];
#else
	return x;
#endif
}
