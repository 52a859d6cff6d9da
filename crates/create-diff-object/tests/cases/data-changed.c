//@ refuse: KPB0402 limit
#include "kernel.h"

#ifdef PATCHED
int limit = 5;
#else
int limit = 4;
#endif

int f(int x)
{
	return x + limit;
}
