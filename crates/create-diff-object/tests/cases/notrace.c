//@ refuse: KPB0403 f
#include "kernel.h"

notrace int f(int x)
{
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
