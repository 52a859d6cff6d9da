// A function that would vanish with the patch's own initialisation.
//@ refuse: KPB0401 f
#include "kernel.h"

#ifdef PATCHED
__init
#endif
int f(int x)
{
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
