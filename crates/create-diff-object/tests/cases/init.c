//@ refuse: KPB0401 f
#include "kernel.h"

__init int f(int x)
{
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
