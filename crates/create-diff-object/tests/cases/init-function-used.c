// What calls boot code can only be right while booting.
//@ refuse: KPB0401 f
#include "kernel.h"

__init noinline int early(int x)
{
	return x + 1;
}

int f(int x)
{
#ifdef PATCHED
	return early(x) + 2;
#else
	return x;
#endif
}
